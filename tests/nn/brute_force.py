"""The definitions, written out: slow, obvious, and independent of the package."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Chain(NamedTuple):
    """The scores of one sequence, with -inf for what is forbidden."""

    emissions: list[list[float]]
    start: list[float]
    transitions: list[list[float]]
    end: list[float]

    @classmethod
    def of(cls, emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Chain:
        rows, first, moves, last = (
            x.detach().double().tolist() for x in (emissions, start, transitions, end)
        )
        return cls(rows, first, moves, last)

    def paths(self) -> list[tuple[int, ...]]:
        return list(itertools.product(range(len(self.start)), repeat=len(self.emissions)))

    def score(self, path: Sequence[int]) -> float:
        return (
            self.start[path[0]]
            + sum(row[label] for row, label in zip(self.emissions, path, strict=True))
            + sum(self.transitions[a][b] for a, b in itertools.pairwise(path))
            + self.end[path[-1]]
        )

    def log_partition(self) -> float:
        return log_sum_exp([self.score(path) for path in self.paths()])

    def softmax_margin(self, gold: Sequence[int], cost: float) -> float:
        augmented = [
            self.score(path) + cost * sum(a != b for a, b in zip(path, gold, strict=True))
            for path in self.paths()
        ]
        return log_sum_exp(augmented) - self.score(gold)

    def partial_margin(self, known: Sequence[int], cost: float) -> float:
        """The loss of what is known of the gold, -1 for nothing."""

        def wrong(path: Sequence[int]) -> int:
            return sum(b not in (-1, a) for a, b in zip(path, known, strict=True))

        paths = self.paths()
        augmented = [self.score(path) + cost * wrong(path) for path in paths]
        agreeing = [self.score(path) for path in paths if not wrong(path)]
        return log_sum_exp(augmented) - log_sum_exp(agreeing)

    def distribution(self) -> dict[tuple[int, ...], float]:
        log_z = self.log_partition()
        return {path: math.exp(self.score(path) - log_z) for path in self.paths()}

    def marginals(self) -> list[list[float]]:
        sums = [[0.0] * len(self.start) for _ in self.emissions]
        for path, probability in self.distribution().items():
            for time, label in enumerate(path):
                sums[time][label] += probability
        return sums

    def best(self) -> list[int]:
        """Of the paths of the highest score, the one with the lowest last label, then the lowest
        label before it, and so on."""
        highest = max(self.score(path) for path in self.paths())
        backwards = min(path[::-1] for path in self.paths() if self.score(path) == highest)
        return list(backwards[::-1])


def log_sum_exp(values: Sequence[float]) -> float:
    highest = max(values)
    if highest == -math.inf:
        return highest
    return highest + math.log(math.fsum(math.exp(value - highest) for value in values))


def kl_divergence(p: dict[tuple[int, ...], float], q: dict[tuple[int, ...], float]) -> float:
    return math.fsum(p[path] * math.log(p[path] / q[path]) for path in p)


def kernel(x: Sequence[float], y: Sequence[float], widths: Sequence[float]) -> float:
    distance = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return sum(math.exp(-distance / (2 * width)) for width in widths)


def mmd2(source: Tensor, target: Tensor, widths: Sequence[float]) -> float:
    """Wang et al. 2018, Eq. 4: three sums over pairs."""
    xs, ys = source.detach().double().tolist(), target.detach().double().tolist()
    within_source = math.fsum(kernel(a, b, widths) for a in xs for b in xs)
    within_target = math.fsum(kernel(a, b, widths) for a in ys for b in ys)
    across = math.fsum(kernel(a, b, widths) for a in xs for b in ys)
    n, m = len(xs), len(ys)
    return within_source / n**2 + within_target / m**2 - 2 * across / (n * m)


def differentiable_mmd2(source: Tensor, target: Tensor, widths: Sequence[float]) -> Tensor:
    """The same with plain tensor operations, for the gradient."""

    def mean_kernel(x: Tensor, y: Tensor) -> Tensor:
        distances = (x[:, None] - y[None]).square().sum(2)
        return torch.stack([torch.exp(-distances / (2 * width)) for width in widths]).sum(0).mean()

    across = mean_kernel(source, target)
    return mean_kernel(source, source) + mean_kernel(target, target) - 2 * across
