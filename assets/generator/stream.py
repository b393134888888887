"""A stream of random decisions that is the same on every platform and Python version."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Stream:
    """Decisions drawn from `random.Random(seed)`.

    Only `random()` is used: Python promises its stream for a given seed, but not those of
    `choice`, `shuffle` or `sample`.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def below(self, bound: int) -> int:
        """A whole number from 0 to `bound` - 1."""
        return int(self._random() * bound)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, all equally likely."""
        return items[self.below(len(items))]

    def pick_weighted(self, items: Sequence[T], cumulative: Sequence[float]) -> T:
        """One of the items; `cumulative` holds the running sums of their weights."""
        return items[bisect_right(cumulative, self._random() * cumulative[-1], hi=len(items) - 1)]
