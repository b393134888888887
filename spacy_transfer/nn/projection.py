"""What lies between the encoder and a CRF that tasks share: each task's own view of the states.

Peng & Dredze 2017, whose two ways are baselines of Wang et al. 2018 (Table 2).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

ProjectionName = Literal["none", "linear", "domain-mask"]
PROJECTIONS: tuple[str, ...] = get_args(ProjectionName)


class LinearProjection(nn.Module):
    """A linear map of the hidden states. It starts as the identity: without a difference between
    the tasks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(width))

    def forward(self, hidden: Tensor) -> Tensor:
        """[tokens, width] to [tokens, width]."""
        return nn.functional.linear(hidden, self.weight)


class DomainMask(nn.Module):
    """A fixed mask of 0 and 1: the general part of the hidden states and the task's own part.

    States are cut into one part more than there are tasks, the first of which is general. Those
    that are joined from two directions are cut in each: every part has seen the whole sentence.
    """

    mask: Tensor

    def __init__(self, width: int, directions: int, task: int, tasks: int) -> None:
        """The mask of task number `task` (from 0) of `tasks`; ValueError for too narrow states."""
        super().__init__()
        mask = torch.zeros(width // directions)
        if len(mask) <= tasks:
            raise ValueError(f"states {width} wide are too narrow for the masks of {tasks} tasks")
        parts = torch.tensor_split(mask, tasks + 1)
        for part in (parts[0], parts[task + 1]):
            part.fill_(1.0)
        self.register_buffer("mask", mask.repeat(directions))

    def forward(self, hidden: Tensor) -> Tensor:
        """[tokens, width] to [tokens, width]."""
        return hidden * self.mask


def make_projections(
    kind: ProjectionName, width: int, directions: int, tasks: list[str]
) -> nn.ModuleDict:
    """A projection of this kind for each task, of states that are joined from directions."""
    projections = nn.ModuleDict()
    for number, task in enumerate(tasks):
        if kind == "linear":
            projections[task] = LinearProjection(width)
        elif kind == "domain-mask":
            projections[task] = DomainMask(width, directions, number, len(tasks))
        else:
            projections[task] = nn.Identity()
    return projections
