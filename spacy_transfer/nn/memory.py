"""What prediction keeps from batch to batch: the character-level vectors of words met before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from spacy_transfer.nn.batch import Packed

CAPACITY = 100_000
"""Words that are remembered: 64 MB at the width of Yang et al. 2017, taken as they come."""
WORTH_IT = 128
"""Words in a batch from which on looking for them takes less time than encoding them."""


class WordMemory:
    """Vectors of words by key, for as long as the weights that made them have the same values.

    Threads may share it: no two get the same row, and a key appears after its row is written.
    Copying and pickling it gives an empty one, of other weights.
    """

    def __init__(self, weights: Sequence[Tensor] = (), width: int = 0) -> None:
        self._weights = [weight.detach().clone() for weight in weights]
        self._vectors = self._weights[0].new_empty(CAPACITY, width) if weights else None
        self._rows: dict[int, int] = {}
        self._free = itertools.count()

    def __reduce__(self) -> tuple[type[WordMemory], tuple[()]]:
        return WordMemory, ()

    def is_of(self, weights: Sequence[Tensor]) -> bool:
        """Whether these weights would give the same vectors."""
        # By value: optimizers, averages and loading change weights in ways that leave no mark.
        # numpy compares them in little more than half of torch's time.
        return len(weights) == len(self._weights) and all(
            kept.dtype == weight.dtype and np.array_equal(kept.numpy(), weight.detach().numpy())
            for kept, weight in zip(self._weights, weights, strict=True)
        )

    def recall(
        self, keys: Sequence[int], characters: Packed, encode: Callable[[Packed], Tensor]
    ) -> Tensor | None:
        """[distinct, width] vectors of words, of which `encode` gives those not yet known.

        Args:
            keys: [distinct] the words, in the order of their ranks.
            characters: their character ids.
            encode: character ids to vectors.

        Returns:
            the vectors, or None where there is no room for the new ones.
        """
        assert self._vectors is not None
        rows = [self._rows.get(key, -1) for key in keys]
        new = [rank for rank, row in enumerate(rows) if row < 0]
        if new:
            free = list(itertools.islice(self._free, len(new)))
            if free[-1] >= len(self._vectors):
                return None
            self._vectors.index_copy_(0, torch.tensor(free), encode(characters.select(new)))
            for rank, row in zip(new, free, strict=True):
                rows[rank] = self._rows[keys[rank]] = row
        return self._vectors.index_select(0, torch.tensor(rows))
