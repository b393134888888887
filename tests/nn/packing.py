"""Ragged sequences in and out of the packed layout, one sequence at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from spacy_transfer.nn.batch import Packed


def pack(sequences: list[Tensor]) -> Packed:
    """Sequences [time, ...], longest first."""
    longest = len(sequences[0])
    steps = [[s[time] for s in sequences if len(s) > time] for time in range(longest)]
    items = [item for step in steps for item in step]
    return Packed(torch.stack(items), torch.tensor([len(step) for step in steps]))


def unpack(packed: Packed) -> list[Tensor]:
    """The sequences again, longest first."""
    sequences: list[list[Tensor]] = [[] for _ in range(int(packed.batch_sizes[0]))]
    items = iter(packed.data)
    for size in packed.batch_sizes.tolist():
        for sequence in sequences[:size]:
            sequence.append(next(items))
    return [torch.stack(sequence) for sequence in sequences]
