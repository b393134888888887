"""What the tagger reads: sentences as indices, packed the way recurrent layers want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy from the CPU, without waiting for what a GPU is computing."""
    return values.to(device, non_blocking=device.type == "cuda")


def take(table: Tensor, index: Tensor) -> Tensor:
    """The rows of a table [rows, width] at an index [...]: [..., width].

    As `table[index]`, whose gradients however are added up in whatever order the threads of a CPU
    come to them: two runs would differ in the last bits.
    """
    return embedding(index, table)


def within(time: int, lengths: Tensor) -> Tensor:
    """Which of `time` positions lie within the lengths [n]: [n, time]."""
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(1)


@dataclass(frozen=True)
class Packed:
    """Ragged sequences, time-major, longest first (the layout of torch's `PackedSequence`).

    `data` [items, ...] holds step 0 of every sequence, then step 1 of those that have one, and so
    on; `batch_sizes` [time] (int64, on the CPU) says how many sequences reach each step.
    """

    data: Tensor
    batch_sizes: Tensor

    def with_data(self, data: Tensor) -> Packed:
        """The same layout around other items."""
        return Packed(data, self.batch_sizes)

    def select(self, ranks: Sequence[int]) -> Packed:
        """The sequences at these positions in the sorted order, which must rise."""
        wanted = torch.zeros(int(self.batch_sizes[0]), dtype=torch.bool)
        wanted[list(ranks)] = True
        sizes = wanted.cumsum(0)[self.batch_sizes - 1]
        kept = torch.cat([wanted[:size] for size in self.batch_sizes.tolist()])
        return Packed(self.data[kept], sizes[sizes > 0])

    def index(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Where the items of some sequences lie in `data`.

        Args:
            ranks: [n] positions in the sorted order, on the CPU.

        Returns:
            [n, time] indices into `data` (0 at padding), on its device, and [n] lengths, on the
            CPU, where time is the longest of the n.
        """
        # All on the CPU: to learn a shape from a GPU is to wait for it.
        sizes = self.batch_sizes
        lengths = (sizes[None, :] > ranks[:, None]).sum(dim=1)
        sizes = sizes[: int(lengths.max())]
        starts = torch.cumsum(sizes, dim=0) - sizes
        inside = sizes[None, :] > ranks[:, None]
        index = torch.where(inside, starts[None, :] + ranks[:, None], 0)
        return send(index, self.data.device), lengths


@dataclass(frozen=True)
class TokenBatch:
    """Sentences over their distinct words, so that each word is encoded once.

    Attributes:
        words: for every token the index of its distinct word, packed.
        characters: for every distinct word its character ids, packed; a distinct word's index is
            its rank here, so words are ordered by descending length in characters.
        rows: [distinct] rows of the trained word embeddings; 0 is the unknown word.
        static_index: [static] distinct words that are looked up in static vectors instead.
        static: [static, width] those vectors.
        keys: [distinct] numbers that stand for the words in other batches too; None without.
        features: [tokens, features] inputs of the CRF beside the hidden states, packed; None
            without.
        vectors: [tokens, width] what stands in for the embeddings of words, packed; None without.
    """

    words: Packed
    characters: Packed
    rows: Tensor
    static_index: Tensor
    static: Tensor
    keys: Sequence[int] | None = None
    features: Tensor | None = None
    vectors: Tensor | None = None


class Segments(NamedTuple):
    """How tags make up segments: spans, or single tokens where tags are plain."""

    counted: Tensor
    """[labels]: is the tag part of a segment? O is not."""
    continues: Tensor
    """[labels, labels]: does the tag of the column go on with the segment of the row's?"""
    temperature: float = 1.0
    """What all scores are divided by before they are probabilities."""


@dataclass(frozen=True)
class TaskPart:
    """The sentences of one task within a `TokenBatch`.

    Attributes:
        task: its name.
        ranks: [n] positions of its sentences in the sorted order of the batch, on the CPU.
        tags: [n, time] gold tag ids (anything at padding), or None to predict.
        partial: whether some of them, -1, are not known.
        segments: how tags make up segments, where their posteriors are asked for beside the tags.
        total: how many sentences of the task all processes have together; None for n.
        weights: [n] of the CRF losses of the sentences, on the CPU; None where all are 1.
        barred: [n, time, labels] tags that tokens cannot have; None where all can have any.
    """

    task: str
    ranks: Tensor
    tags: Tensor | None = None
    partial: bool = False
    segments: Segments | None = None
    total: int | None = None
    weights: Tensor | None = None
    barred: Tensor | None = None


@dataclass(frozen=True)
class GroupBatch:
    """Sentences that go through one word encoder together, and the tasks they belong to."""

    tokens: TokenBatch
    parts: list[TaskPart]
