"""Maximum mean discrepancy (MMD) between source and target hidden states, plain and label-aware."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import one_hot

AUTHOR_WIDTHS: tuple[float, ...] = (
    *(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    *(1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0),
    *(1e2, 1e3, 1e4, 1e5, 1e6),
)
"""The widths that the authors of La-DTL use, in the units of a squared distance."""


def mmd2(
    source: Tensor,
    target: Tensor,
    widths: Sequence[float] = AUTHOR_WIDTHS,
    limit: int | None = None,
) -> Tensor:
    """The squared MMD of source [n, hidden] and target [m, hidden], a scalar.

    Wang et al. 2018, Eq. 4: the biased estimator, with the kernel of the authors' code,
    k(x, y) = sum over widths w of exp(-||x - y||^2 / (2 w)). Of a side with more than `limit` rows,
    so many are drawn, from torch's random numbers. ValueError when a side is empty.
    """
    n, m = len(source), len(target)
    if not n or not m:
        raise ValueError(f"MMD needs samples on both sides, got {n} of source and {m} of target")
    one_label = torch.zeros(n + m, dtype=torch.int64, device=source.device)
    return label_aware_mmd(source, one_label[:n], target, one_label[n:], [(0, 0)], widths, limit)


def label_aware_mmd(
    source_hidden: Tensor,
    source_tags: Tensor,
    target_hidden: Tensor,
    target_tags: Tensor,
    matched: Tensor | Sequence[tuple[int, int]],
    widths: Sequence[float] = AUTHOR_WIDTHS,
    limit: int | None = None,
) -> Tensor:
    """The squared MMD between tokens of the same label, summed over the matched labels: a scalar.

    Wang et al. 2018, Eq. 5 with every mu = 1, and mmd2 for each label. Hidden states are [tokens,
    hidden] and tags [tokens], without padding; matched is [pairs, 2], (source tag, target tag). A
    pair that lacks tokens on either side is left out; of one with more than `limit` tokens on a
    side, so many are drawn.
    """
    pairs = torch.as_tensor(matched, dtype=torch.int64, device=source_tags.device).view(-1, 2)
    present = torch.isin(pairs[:, 0], source_tags) & torch.isin(pairs[:, 1], target_tags)
    source, target = pairs[present].T.unsqueeze(2)
    source_groups, source_rows = _members(source_tags == source, limit)
    target_groups, target_rows = _members(target_tags == target, limit)
    weights = torch.cat([_shares(source_groups), -_shares(target_groups)])
    groups, order = torch.cat([source_groups, target_groups]).sort(stable=True)
    rows = torch.cat([source_rows, target_rows + len(source_hidden)])[order]
    hidden = torch.cat([source_hidden, target_hidden]).index_select(0, rows)
    return _kernel_sum(hidden, weights[order], groups, widths)


def _members(belongs: Tensor, limit: int | None) -> tuple[Tensor, Tensor]:
    """The group (ascending) and the row of each member; of large groups, `limit` drawn members.

    `belongs` is [groups, rows].
    """
    groups, rows = belongs.nonzero().unbind(1)
    if limit is None:
        return groups, rows
    shuffled = torch.randperm(len(groups), device=groups.device)
    groups, order = groups[shuffled].sort(stable=True)
    sizes = belongs.sum(1)
    first = (sizes.cumsum(0) - sizes)[groups]
    drawn = torch.arange(len(groups), device=groups.device) - first < limit
    return groups[drawn], rows[shuffled][order][drawn]


def _shares(groups: Tensor) -> Tensor:
    """For each member of a group, 1 / the size of the group."""
    return groups.bincount()[groups].double().reciprocal()


def _kernel_sum(x: Tensor, weights: Tensor, groups: Tensor, widths: Sequence[float]) -> Tensor:
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if not len(x):
        return x.sum()
    with torch.autocast(x.device.type, enabled=False):
        total: Tensor = _KernelSum.apply(x, weights, groups, widths)  # type: ignore[no-untyped-call]
    return total


class _KernelSum(torch.autograd.Function):
    """Sum of weights_i weights_j k(x_i, x_j) over all i and j of the same group: a scalar.

    x is [tokens, hidden], weights and groups (ascending) are [tokens]. The gradient is made along
    with the value, for a block of tokens at a time: no matrix of all pairs is ever held.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: Tensor, groups: Tensor, widths: Sequence[float]
    ) -> Tensor:
        # The smallest widths ask for exact small distances: hence the centre, and float64 for the
        # products. What is below their rounding error is the distance of equal rows.
        centred = x.to(torch.float64, copy=True)
        centred -= centred.mean(0)
        squares = torch.linalg.vector_norm(centred, dim=1).square()
        smallest = 1e-14 * squares.max().item()
        x = centred.to(x.dtype)
        members = (one_hot(groups) * weights.unsqueeze(1)).to(x.dtype)

        total = centred.new_zeros(())
        gradient, degrees = torch.zeros_like(x), x.new_zeros(len(x))
        # On a CPU a block should stay in the cache; on a GPU it should be one large launch.
        size = 64 if x.device.type == "cpu" else 1024
        starts = range(0, len(x), size)
        # A block meets the tokens before it that share a group with its first, and itself.
        firsts = torch.searchsorted(groups, groups[::size].contiguous()).tolist()
        for first, start in zip(firsts, starts, strict=True):
            rows, columns = slice(first, start + size), slice(start, start + size)
            distances = squares[rows, None] + squares[columns]
            distances.addmm_(centred[rows], centred[columns].T, alpha=-2)
            distances = torch.threshold_(distances, smallest, 0).to(x.dtype)
            kernel, slope = _kernel(distances, widths)
            pairs = members[rows] @ members[columns].T
            pairs[: start - first] *= 2  # for their mirror images too
            total += (pairs * kernel).sum()
            # Equal rows have no gradient, and must not leave the rounding error of a steep slope.
            slope *= pairs * distances.sign()
            degrees[rows] += slope.sum(1)
            degrees[columns] += slope.sum(0)
            gradient[rows].addmm_(slope, x[columns], alpha=-1)
            gradient[columns].addmm_(slope.T, x[rows], alpha=-1)
        ctx.save_for_backward(gradient.addcmul_(degrees.unsqueeze(1), x).mul_(2))
        return total.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return weight * gradient, None, None, None


def _kernel(distances: Tensor, widths: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The kernel at squared distances, and its derivative by them."""
    kernel, slope = torch.zeros_like(distances), torch.zeros_like(distances)
    term = torch.empty_like(distances)
    factors = distances.new_tensor([-0.5 / width for width in widths])
    # exp is a hundred times slower where its result underflows.
    lowest = 0.9 * math.log(torch.finfo(distances.dtype).tiny)
    for width, factor in zip(widths, factors, strict=True):
        torch.mul(distances, factor, out=term).clamp_(min=lowest).exp_()
        kernel += term
        slope.add_(term, alpha=-0.5 / width)
    return kernel, slope
