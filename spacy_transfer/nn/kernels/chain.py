"""The linear-chain CRF of `nn/crf.py` on compiled loops.

`scores` are emissions [batch, time, labels], start [labels], transitions [labels, labels] (from,
to) and end [labels], of one floating type, -inf where forbidden, and lengths [batch], int64. Bad
shapes raise `ValueError`, lengths and tags out of range `IndexError`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spacy_transfer.nn.kernels.availability import code, report, usable


class Loops:
    """Compiled loops for one type of numbers."""

    def __init__(self, names: Sequence[str], dtype: torch.dtype) -> None:
        from spacy_transfer.nn.kernels import chain_loops

        function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
        self._loops = {
            name: function(chain_loops.loop(name, code(dtype)).address) for name in names
        }
        self._record = chain_loops.record_type(code(dtype))
        self._lanes, self._scratch_rows = chain_loops.LANES, chain_loops.scratch_rows
        self._info = torch.finfo(dtype)

    def width(self, labels: int) -> int:
        """The number of labels with their padding."""
        return -(-labels // self._lanes) * self._lanes

    def run(
        self, name: str, scores: Sequence[Tensor], cost: float = 0.0, **arrays: Tensor | None
    ) -> None:
        """Run a loop on contiguous scores and `arrays`, which `chain_loops` describes."""
        emissions, start, transitions, end, lengths = scores
        batch, time, labels = emissions.shape
        shapes = [start.shape, transitions.shape, end.shape, lengths.shape]
        tags = arrays.get("tags")
        fitting = shapes == [(labels,), (labels, labels), (labels,), (batch,)]
        if not (labels and fitting and (tags is None or tags.shape == (batch, time))):
            raise ValueError(
                f"emissions of {batch} sequences, {time} tokens and {labels} labels do not go with "
                f"start, transitions, end and lengths of shapes {[tuple(s) for s in shapes]}"
                + ("" if tags is None else f" and tags of {tuple(tags.shape)}")
            )
        width = self.width(labels)
        arrays |= {"emissions": emissions, "start": start, "transitions": transitions, "end": end}
        arrays |= {"lengths": lengths}
        arrays |= {"scratch": emissions.new_empty(self._scratch_rows(width, time), width)}
        record = self._record(
            one=1,
            cost=cost,
            least=labels**2 * self._info.tiny / self._info.eps,
            lowest=self._info.min,
            batch=batch,
            time=time,
            labels=labels,
            width=width,
            **{key: array.data_ptr() for key, array in arrays.items() if array is not None},
        )
        wrong = self._loops[name](ctypes.byref(record))
        if wrong >= 0:
            raise IndexError(
                f"sequence {wrong}: expected a length from 1 to {time} and tags from 0 to "
                f"{labels - 1}; the length is {int(lengths[wrong])}"
                + ("" if tags is None else f", the tags are {tags[wrong].tolist()}")
            )


def summing(*scores: Tensor) -> Loops | None:
    """Loops for sums over all tag sequences, or None where torch has to do it."""
    return _load(("forward", "backward"), scores[0].dtype) if usable(*scores[:4]) else None


def maximising(*scores: Tensor) -> Loops | None:
    """Loops for the best tag sequence, or None where torch has to do it."""
    return _load(("viterbi",), scores[0].dtype) if usable(*scores[:4]) else None


@functools.cache
def _load(names: Sequence[str], dtype: torch.dtype) -> Loops | None:
    try:
        return Loops(names, dtype)
    except Exception as error:  # whatever keeps numba from compiling, torch can do without
        report("the CRF", error)
        return None


def log_partition(
    loops: Loops, *scores: Tensor, tags: Tensor | None = None, cost: float = 0.0
) -> Tensor:
    """The log-partition: [batch], -inf where all is forbidden.

    Given gold tags ([batch, time] int64, anything in the padding), it is the softmax-margin loss:
    the cost is added to the emissions of all other labels, and the score of the tags is taken off.
    The loss of forbidden tags is +inf. What is infinite has no gradient.
    """
    if tags is not None:
        tags = tags.to(scores[4]).contiguous()
    values: Tensor = _LogPartition.apply(  # type: ignore[no-untyped-call]
        loops, cost, tags, *scores
    )
    return values


def marginals(loops: Loops, *scores: Tensor) -> Tensor:
    """The posterior probability of each label at each token: [batch, time, labels], padding 0."""
    scores = tuple(score.contiguous() for score in scores)
    states, values = _forward(loops, scores)
    return _backward(loops, scores, states, values, torch.ones_like(values))[0]


def messages(loops: Loops, *scores: Tensor) -> tuple[Tensor, Tensor]:
    """The messages of the forward pass, each [batch, time, labels], and what `marginals` gives."""
    scores = tuple(score.contiguous() for score in scores)
    states, values = _forward(loops, scores)
    of_tokens = _backward(loops, scores, states, values, torch.ones_like(values))[0]
    return states[..., : scores[0].shape[2]], of_tokens


def decode(loops: Loops, *scores: Tensor) -> Tensor:
    """The best tags: [batch, time] int64, padding 0. All 0 where there are none."""
    batch, time, _ = scores[0].shape
    paths = scores[4].new_empty(batch, time)
    loops.run("viterbi", [score.contiguous() for score in scores], paths=paths)
    return paths


def _forward(
    loops: Loops, scores: Sequence[Tensor], tags: Tensor | None = None, cost: float = 0.0
) -> tuple[Tensor, Tensor]:
    batch, time, labels = scores[0].shape
    states = scores[0].new_empty(batch, time, loops.width(labels))
    values = scores[0].new_empty(batch)
    loops.run("forward", scores, cost, tags=tags, states=states, values=values)
    return states, values


def _backward(
    loops: Loops,
    scores: Sequence[Tensor],
    states: Tensor,
    values: Tensor,
    weights: Tensor,
    tags: Tensor | None = None,
    cost: float = 0.0,
) -> list[Tensor]:
    """The gradients of emissions, start, transitions and end."""
    grads = [torch.empty_like(score) for score in scores[:4]]
    names = ("grad_emissions", "grad_start", "grad_transitions", "grad_end")
    loops.run(
        "backward",
        scores,
        cost,
        tags=tags,
        states=states,
        values=values,
        weights=weights,
        **dict(zip(names, grads, strict=True)),
    )
    return grads


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loops: Loops, cost: float, tags: Tensor | None, *scores: Tensor
    ) -> Tensor:
        scores = tuple(score.contiguous() for score in scores)
        states, values = _forward(loops, scores, tags, cost)
        ctx.save_for_backward(tags, states, values, *scores)
        ctx.settings = loops, cost
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
        tags, states, values, *scores = ctx.saved_tensors
        loops, cost = ctx.settings
        grads = _backward(loops, scores, states, values, weights.contiguous(), tags, cost)
        return None, None, None, *grads, None
