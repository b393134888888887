"""Data-parallel training: several processes, each with its share of every batch.

What the tasks share, such as an MMD over all tokens of the batch, every process computes whole and
weighs by 1 / processes: gradients and values are then sums over the processes. Without a process
group there is one process, and a sum is what went in.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This one's number among them, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor of one shape over all processes, without gradient."""
    values = values.detach().clone()
    if processes() > 1:
        dist.all_reduce(values)
    return values


def gathered_tokens(hidden: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states [tokens, hidden] and tags [tokens] of all processes.

    The gradient goes to one's own hidden states, times the number of processes.
    """
    count = processes()
    if count == 1:
        return hidden, tags
    states = _gathered(hidden.detach())
    states[rank()] = hidden.detach() + count * (hidden - hidden.detach())
    return torch.cat(states), torch.cat(_gathered(tags))


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Put the sum over all processes in the place of each gradient, dense or sparse."""
    if processes() == 1:
        return
    gradients = [(p, p.grad) for p in parameters if p.grad is not None]
    dense = [gradient for _, gradient in gradients if not gradient.is_sparse]
    # One message is faster than one a parameter.
    total = summed(torch.cat([gradient.flatten() for gradient in dense]))
    for gradient, part in zip(dense, torch.split(total, [g.numel() for g in dense]), strict=True):
        gradient.copy_(part.view_as(gradient))
    for parameter, gradient in gradients:
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            rows = torch.cat(_gathered(gradient.indices()[0]))
            values = torch.cat(_gathered(gradient.values()))
            parameter.grad = torch.sparse_coo_tensor(rows[None], values, gradient.shape)


def _gathered(rows: Tensor) -> list[Tensor]:
    """The rows [n, ...] of every process, whose n may differ."""
    size = torch.tensor([len(rows)], device=rows.device)
    sizes = [torch.empty_like(size) for _ in range(processes())]
    dist.all_gather(sizes, size)
    longest = max(int(n) for n in sizes)
    padded = rows.new_zeros(longest, *rows.shape[1:])
    padded[: len(rows)] = rows
    everyone = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(everyone, padded)
    return [of_one[: int(n)] for of_one, n in zip(everyone, sizes, strict=True)]
