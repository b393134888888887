"""A bidirectional recurrent layer as one autograd function on compiled loops.

Outside the loops there is one product a direction with the input of all steps, and in the backward
pass one for each weight matrix, over all steps at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spacy_transfer.nn.kernels.availability import code, report, usable
from spacy_transfer.nn.kernels.native import native

# By the cell's name, the inputs, the batch sizes and the weights: outputs and final states.
Layer = Callable[[str, Tensor, Tensor, Sequence[Tensor]], tuple[Tensor, Tensor]]
# Threads beyond the two directions take blocks of the sequences, if they are this many: with fewer
# a matrix product takes as long as reading its weights.
_BLOCK = 32
# A product of few rows is twice as fast with its weights transposed. That pays from this many rows
# on in all steps together, whatever the hidden size.
_TRANSPOSED = 64


@dataclass(frozen=True)
class Loops:
    """The compiled loops of a cell for one type of numbers, and the record they read."""

    forward: Any
    backward: Any
    context: np.dtype[Any]
    gemm: int

    def run(self, loop: Any, **fields: Any) -> None:
        """Run a loop; `fields` are the sizes and arrays that `loops` describes."""
        blocks = max(1, min(torch.get_num_threads() // 2, fields["batch"] // _BLOCK))
        context = np.zeros((), self.context)
        context["one"], context["blocks"], context["gemm"] = 1, blocks, self.gemm
        for name, value in fields.items():
            if isinstance(value, list):
                value = [tensor.data_ptr() for tensor in value]
            context[name] = value.data_ptr() if isinstance(value, Tensor) else value
        native().share_out(loop.address, 2 * blocks, context.ctypes.data)


def compiled(cell: str, inputs: Tensor, weights: Sequence[Tensor]) -> Loops | None:
    """The loops for these tensors, or None where torch has to do it.

    That is so where loops cannot work on the tensors (`usable`), and where numba is missing or
    torch's BLAS cannot be called (logged once).
    """
    return _load(cell, inputs.dtype) if usable(inputs, *weights) else None


@functools.cache
def _load(cell: str, dtype: torch.dtype) -> Loops | None:
    try:
        gemm = native().gemm[dtype]
        from spacy_transfer.nn.kernels import loops

        forward, backward = loops.loops(cell, code(dtype))
    except Exception as error:  # whatever keeps numba from compiling, torch can do without
        report("recurrent layers", error)
        return None
    return Loops(forward, backward, loops.context_type(code(dtype)), gemm)


class Recurrence(torch.autograd.Function):
    """The layer on compiled loops; `layer` is the same in torch, for second derivatives."""

    @staticmethod
    def forward(
        ctx: Any,
        loops: Loops,
        layer: Layer,
        cell: str,
        batch_sizes: Tensor,
        inputs: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Outputs [tokens, 2 * hidden] and final states [batch, 2 * hidden]."""
        sizes = batch_sizes.numpy()
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        tokens, batch, hidden = len(inputs), int(sizes[0]), weights[1].shape[1]
        gates = inputs.new_empty(2, tokens, len(weights[1]))
        extra = inputs.new_empty(2, tokens, hidden)
        outputs = inputs.new_empty(tokens, 2 * hidden)
        for direction, (w_ih, _, b_ih, b_hh) in enumerate((weights[:4], weights[4:])):
            bias = b_ih + b_hh
            if cell == "gru":
                bias[2 * hidden :] = b_ih[2 * hidden :]
                extra[direction] = b_hh[2 * hidden :]
            torch.addmm(bias, inputs, w_ih.t(), out=gates[direction])
        shape = {
            "tokens": tokens,
            "time": len(sizes),
            "batch": batch,
            "hidden": hidden,
            "offsets": torch.from_numpy(offsets),
            "zeros": inputs.new_zeros(2 * hidden),
        }
        loops.run(
            loops.forward,
            **shape,
            **_weights(weights, transpose=True, ahead=tokens >= _TRANSPOSED),
            gates=gates,
            extra=extra,
            outputs=outputs,
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs, *weights, gates, extra, outputs)
        ctx.settings = loops, layer, cell, batch_sizes, shape
        sequences = np.arange(batch)
        lengths = np.searchsorted(-sizes, -sequences)
        last = torch.from_numpy(offsets[lengths - 1] + sequences)
        ends = outputs[:, :hidden].index_select(0, last)
        return outputs, torch.cat([ends, outputs[:batch, hidden:]], dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs and of the weights."""
        if torch.is_grad_enabled():  # they are to be differentiated in turn
            return None, None, None, None, *_differentiable_gradients(ctx, grads)
        inputs, *weights, gates, extra, outputs = ctx.saved_tensors
        loops, _, cell, batch_sizes, shape = ctx.settings
        batch, hidden = shape["batch"], shape["hidden"]
        grad_outputs, grad_final = grads
        if grad_final is None:
            carry = outputs.new_zeros(batch, 2 * hidden)
        else:
            carry = grad_final.clone(memory_format=torch.contiguous_format)
        grad_gates = torch.empty_like(gates)
        grad_extra = (
            gates.new_empty(gates.shape) if cell == "gru" else gates.new_zeros(2, batch, hidden)
        )
        loops.run(
            loops.backward,
            **shape,
            **_weights(weights, transpose=False),
            gates=gates,
            extra=extra,
            outputs=outputs,
            grad_outputs=shape["zeros"] if grad_outputs is None else grad_outputs.contiguous(),
            grad_stride=0 if grad_outputs is None else 2 * hidden,
            carry=carry,
            grad_gates=grad_gates,
            grad_extra=grad_extra,
        )
        grad_inputs = None
        if ctx.needs_input_grad[4]:
            grad_inputs = (grad_gates[0] @ weights[0]).addmm_(grad_gates[1], weights[4])
        grad_weights: list[Tensor | None] = [None] * len(weights)
        if any(ctx.needs_input_grad[5:]):
            states = _states_before(outputs, batch_sizes.numpy())
            grad_recurrent = grad_extra if cell == "gru" else grad_gates
            # In gru-reset-before the candidate's rows multiply the reset state, which is `extra`.
            split = 2 * hidden if cell == "gru-reset-before" else gates.shape[2]
            grad_weights = []
            for d, (grad, recurrent) in enumerate(zip(grad_gates, grad_recurrent, strict=True)):
                w_hh = torch.empty_like(weights[1])
                torch.mm(recurrent[:, :split].t(), states[d], out=w_hh[:split])
                torch.mm(recurrent[:, split:].t(), extra[d], out=w_hh[split:])
                grad_weights += [grad.t() @ inputs, w_hh, grad.sum(0), recurrent.sum(0)]
        return None, None, None, None, grad_inputs, *grad_weights


def _weights(weights: Sequence[Tensor], transpose: bool, ahead: bool = False) -> dict[str, Any]:
    """The recurrent weights as a loop reads them; `ahead`: transposed here, not by BLAS."""
    both = [weights[1], weights[5]]
    rows, hidden = both[0].shape
    order, stride, candidate = ord("T" if transpose else "N"), hidden, 2 * hidden * hidden
    if ahead:
        both = [weight.t() for weight in both]
        order, stride, candidate = ord("N"), rows, 2 * hidden
    return {
        "weights": [weight.contiguous() for weight in both],
        "order": order,
        "weight_stride": stride,
        "weight_n": candidate,
    }


def _states_before(outputs: Tensor, sizes: np.ndarray[Any, Any]) -> Tensor:
    """[2, tokens, hidden]: the state that each direction came with to each token."""
    batch, tokens, hidden = int(sizes[0]), len(outputs), outputs.shape[1] // 2
    # The rows of the tokens that have a next one; those that have a last one are all from `batch`.
    rows = torch.from_numpy(np.arange(batch, tokens) - np.repeat(sizes[:-1], sizes[1:]))
    states = outputs.new_zeros(2, tokens, hidden)
    torch.index_select(outputs[:, :hidden], 0, rows, out=states[0, batch:])
    states[1].index_copy_(0, rows, outputs[batch:, hidden:])
    return states


def _differentiable_gradients(ctx: Any, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    inputs, *weights = ctx.saved_tensors[:-3]
    _, layer, cell, batch_sizes, _ = ctx.settings
    results = layer(cell, inputs, batch_sizes, weights)
    variables, needed = [inputs, *weights], ctx.needs_input_grad[4:]
    found = iter(
        torch.autograd.grad(
            [result for result, grad in zip(results, grads, strict=True) if grad is not None],
            [variable for variable, need in zip(variables, needed, strict=True) if need],
            [grad for grad in grads if grad is not None],
            create_graph=True,
        )
    )
    return [next(found) if need else None for need in needed]
