"""The time loops of the recurrent cells, compiled by numba.

A loop is a C function `(begin, end, context)` that runs tasks `begin` to `end`. A task is one
direction (task % 2) over one block of the sequences (task // 2); tasks share nothing that they
write. The products with the input are in `gates` already. What is left is what depends on the step
before: a matrix product for the sequences that reach this step, by BLAS, and one pass over their
gates, in a form that LLVM turns into vector code.

N tokens are packed as in `torch.nn.utils.rnn.PackedSequence`; H is the hidden size, G the number
of gates. `context` is a record (`context_type`) of sizes and of addresses of row-major arrays:

    gates    [2, N, G*H]  in: input part and biases; out: values of the gates
    extra    [2, N, H]    gru: the candidate's recurrent part (in: its bias);
                          gru-reset-before: reset gate times state; lstm: memory cell
    outputs  [N, 2*H]     states
    weights  two, the recurrent weights [G*H, H], or [H, G*H] if `order` says so

and in the backward loops also:

    grad_outputs  [N, 2*H], or a row of zeros with grad_stride = 0
    carry         [batch, 2*H]   in: gradient of the final states; overwritten
    grad_gates    [2, N, G*H]    out: gradient of what `gates` held at first
    grad_extra    gru: [2, N, 3*H] out: gradient of the recurrent part of r, z, n;
                  gru-reset-before: [2, batch, H], scratch;
                  lstm: [2, batch, H], in: zeros, the gradient of the memory cell
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from spacy_transfer.nn.kernels.compiler import (
    OPTIONS,
    at,
    compile_loop,
    exp32,
    jit,
    pointer,
    restrict,
)

ADDRESSES = ["gemm", "offsets", "zeros", "gates", "extra", "outputs"]
ADDRESSES += ["grad_outputs", "carry", "grad_gates", "grad_extra"]
SIZES = ["tokens", "time", "batch", "hidden", "blocks", "grad_stride"]
# How BLAS reads `weights` ("N" or "T" as a number), their row length, where the candidate's begin.
SIZES += ["order", "weight_stride", "weight_n"]


def context_type(dtype: str) -> np.dtype[Any]:
    """The record that a loop reads; `one`, a 1, tells the type of all numbers."""
    fields = [(name, "i8") for name in ADDRESSES + SIZES]
    return np.dtype([("one", dtype), *fields, ("weights", "i8", 2)], align=True)


@functools.cache
def loops(cell: str, dtype: str) -> tuple[Any, Any]:
    """The forward and the backward loop of a cell, compiled or loaded from numba's cache."""
    context = types.CPointer(from_dtype(context_type(dtype)))
    signature = types.void(types.int64, types.int64, context)
    forward, backward = _LOOPS[cell]
    return compile_loop(forward, signature), compile_loop(backward, signature)


# Memory -----------------------------------------------------------------------------------------


@intrinsic
def _gemm(_, address, order, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """Row-major C [m, n] = A [m, k] B [k, n] + beta C, by the Fortran routine at `address`."""

    def build(context, builder, signature, args):
        address, order, m, n, k, a, lda, b, ldb, beta, c, ldc = args
        # Sizes lie in memory as 64-bit integers: a BLAS with 32-bit ones reads the lower half.
        by_reference = functools.partial(cgutils.alloca_once_value, builder)
        plain = by_reference(ir.Constant(ir.IntType(8), ord("N")))
        one = by_reference(context.get_constant(signature.args[9], 1.0))
        order, n, m, k, ldb, lda, beta, ldc = map(
            by_reference, (order, n, m, k, ldb, lda, beta, ldc)
        )
        operands = (order, plain, n, m, k, one, b, ldb, a, lda, beta, c, ldc)
        routine = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        builder.call(builder.inttoptr(address, routine.as_pointer()), operands)
        return context.get_dummy_value()

    return types.void(address, order, m, n, k, a, lda, b, ldb, beta, c, ldc), build


@jit
def _times_weight(c, m, n, k, a, lda, weight, beta, product, ldp):
    """[m, n] product = [m, k] a times the weights from `weight` on, + beta product."""
    _gemm(c.gemm, c.order, m, n, k, a, lda, weight, c.weight_stride, beta, product, ldp)


@jit
def _steps(c, task, back):
    """The steps of a task in the order of its direction, or against it where `back` is true.

    Yields the task's first sequence; its first packed row at this step and how many there are; and
    the first at the step that the direction takes before, and how many sequences are in both.
    """
    direction, block = task % 2, task // 2
    offsets = pointer(c.offsets, 1)
    low, high = block * c.batch // c.blocks, (block + 1) * c.batch // c.blocks
    for step in range(c.time):
        time = step if (direction == 1) == back else c.time - 1 - step
        count = min(high, offsets[time + 1] - offsets[time]) - low
        before = time + 1 if direction else time - 1
        linked = 0
        if 0 <= before < c.time:
            later = max(time, before)
            linked = max(min(high, offsets[later + 1] - offsets[later]) - low, 0)
        if count > 0:
            yield low, offsets[time] + low, count, offsets[max(before, 0)] + low, linked


@jit
def _direction(c, base, task, rows, width):
    """The part of a [2, rows, width] array that belongs to the task's direction."""
    return at(pointer(base, c.one), (task % 2) * rows * width)


@jit
def _half(c, base, task):
    """The columns of a [rows, 2*H] array that belong to the task's direction."""
    return at(pointer(base, c.one), (task % 2) * c.hidden)


# Functions --------------------------------------------------------------------------------------

_f = np.float32
_ONE, _TWO = _f(1), _f(2)
# tanh(x) / x - 1 as a Taylor series in x²
_T3, _T5, _T7, _T9 = _f(-1 / 3), _f(2 / 15), _f(-17 / 315), _f(62 / 2835)
_SMALL = _f(0.3)


def _sigmoid32(x):
    return _ONE / (_ONE + exp32(-x))


def _tanh32(x):
    size, square = abs(x), x * x
    shrunk = exp32(-_TWO * size)
    quotient = math.copysign((_ONE - shrunk) / (_ONE + shrunk), x)
    series = square * (square * (square * _T9 + _T7) + _T5) + _T3
    return quotient if size > _SMALL else x * square * series + x  # the quotient cancels near 0


def _sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def _tanh(x):
    return math.tanh(x)


@overload(_sigmoid, jit_options=OPTIONS)
def _choose_sigmoid(x):
    return _sigmoid32 if x == types.float32 else _sigmoid


@overload(_tanh, jit_options=OPTIONS)
def _choose_tanh(x):
    return _tanh32 if x == types.float32 else _tanh


# gru: n = tanh(W x + b + r ⊙ (U h + b')), h ← z ⊙ h + (1 - z) ⊙ n ---------------------------------


@jit
def _gru_row(size, gate, recurrent, before, output):
    restrict()
    for j in range(size):
        r, z = _sigmoid(gate[j]), _sigmoid(gate[size + j])
        n = _tanh(gate[2 * size + j] + r * recurrent[j])
        gate[j], gate[size + j], gate[2 * size + j] = r, z, n
        output[j] = n + z * (before[j] - n)


@jit
def _gru_row_back(size, gate, recurrent, before, grad_output, carry, grad_gate, grad_recurrent):
    restrict()
    for j in range(size):
        r, z, n = gate[j], gate[size + j], gate[2 * size + j]
        grad = carry[j] + grad_output[j]
        carry[j] = grad * z
        dn = grad * (_ONE - z) * (_ONE - n * n)
        dr = dn * recurrent[j] * r * (_ONE - r)
        dz = grad * (before[j] - n) * z * (_ONE - z)
        grad_gate[j], grad_gate[size + j], grad_gate[2 * size + j] = dr, dz, dn
        grad_recurrent[j], grad_recurrent[size + j], grad_recurrent[2 * size + j] = dr, dz, dn * r


def _gru(begin, end, context):
    c = carray(context, 1)[0]
    size, both, wide = c.hidden, 2 * c.hidden, 3 * c.hidden
    for task in range(begin, end):
        gates = _direction(c, c.gates, task, c.tokens, wide)
        recurrent = _direction(c, c.extra, task, c.tokens, size)
        outputs, weight = _half(c, c.outputs, task), pointer(c.weights[task % 2], c.one)
        for _, first, count, before, linked in _steps(c, task, False):
            gate, extra = at(gates, first * wide), at(recurrent, first * size)
            state, output = at(outputs, before * both), at(outputs, first * both)
            if linked > 0:
                _times_weight(c, linked, both, size, state, both, weight, c.one, gate, wide)
                weight_n = at(weight, c.weight_n)
                _times_weight(c, linked, size, size, state, both, weight_n, c.one, extra, size)
            for i in range(count):
                h = at(state, i * both) if i < linked else pointer(c.zeros, c.one)
                g, e, out = at(gate, i * wide), at(extra, i * size), at(output, i * both)
                _gru_row(size, g, e, h, out)


def _gru_back(begin, end, context):
    c = carray(context, 1)[0]
    size, both, wide = c.hidden, 2 * c.hidden, 3 * c.hidden
    for task in range(begin, end):
        gates = _direction(c, c.gates, task, c.tokens, wide)
        recurrent = _direction(c, c.extra, task, c.tokens, size)
        grad_gates = _direction(c, c.grad_gates, task, c.tokens, wide)
        grad_recurrent = _direction(c, c.grad_extra, task, c.tokens, wide)
        outputs, weight = _half(c, c.outputs, task), pointer(c.weights[task % 2], c.one)
        grad_outputs, carries = _half(c, c.grad_outputs, task), _half(c, c.carry, task)
        for low, first, count, before, linked in _steps(c, task, True):
            for i in range(count):
                row = first + i
                h = at(outputs, (before + i) * both) if i < linked else pointer(c.zeros, c.one)
                g, e = at(gates, row * wide), at(recurrent, row * size)
                dout, carry = at(grad_outputs, row * c.grad_stride), at(carries, (low + i) * both)
                dg, de = at(grad_gates, row * wide), at(grad_recurrent, row * wide)
                _gru_row_back(size, g, e, h, dout, carry, dg, de)
            if linked > 0:
                carry, de = at(carries, low * both), at(grad_recurrent, first * wide)
                _times_weight(c, linked, size, wide, de, wide, weight, c.one, carry, both)


# gru-reset-before: n = tanh(W x + U (r ⊙ h) + b), h ← z ⊙ h + (1 - z) ⊙ n -------------------------


@jit
def _reset_row(size, gate, before, reset):
    restrict()
    for j in range(size):
        r, gate[size + j] = _sigmoid(gate[j]), _sigmoid(gate[size + j])
        gate[j] = r
        reset[j] = r * before[j]


@jit
def _update_row(size, gate, before, output):
    restrict()
    for j in range(size):
        z, n = gate[size + j], _tanh(gate[2 * size + j])
        gate[2 * size + j] = n
        output[j] = n + z * (before[j] - n)


@jit
def _update_row_back(size, gate, before, grad_output, carry, grad_gate):
    restrict()
    for j in range(size):
        z, n = gate[size + j], gate[2 * size + j]
        grad = carry[j] + grad_output[j]
        carry[j] = grad * z
        grad_gate[size + j] = grad * (before[j] - n) * z * (_ONE - z)
        grad_gate[2 * size + j] = grad * (_ONE - z) * (_ONE - n * n)


@jit
def _reset_row_back(size, gate, before, grad_reset, carry, grad_gate):
    restrict()
    for j in range(size):
        r = gate[j]
        carry[j] += grad_reset[j] * r
        grad_gate[j] = grad_reset[j] * before[j] * r * (_ONE - r)


def _gru_reset_before(begin, end, context):
    c = carray(context, 1)[0]
    size, both, wide = c.hidden, 2 * c.hidden, 3 * c.hidden
    for task in range(begin, end):
        gates = _direction(c, c.gates, task, c.tokens, wide)
        resets = _direction(c, c.extra, task, c.tokens, size)
        outputs, weight = _half(c, c.outputs, task), pointer(c.weights[task % 2], c.one)
        for _, first, count, before, linked in _steps(c, task, False):
            gate, reset = at(gates, first * wide), at(resets, first * size)
            state, output = at(outputs, before * both), at(outputs, first * both)
            if linked > 0:
                _times_weight(c, linked, both, size, state, both, weight, c.one, gate, wide)
            for i in range(count):
                h = at(state, i * both) if i < linked else pointer(c.zeros, c.one)
                _reset_row(size, at(gate, i * wide), h, at(reset, i * size))
            if linked > 0:
                n, weight_n = at(gate, both), at(weight, c.weight_n)
                _times_weight(c, linked, size, size, reset, size, weight_n, c.one, n, wide)
            for i in range(count):
                h = at(state, i * both) if i < linked else pointer(c.zeros, c.one)
                _update_row(size, at(gate, i * wide), h, at(output, i * both))


def _gru_reset_before_back(begin, end, context):
    c = carray(context, 1)[0]
    zeros, zero = pointer(c.zeros, c.one), c.one - c.one
    size, both, wide = c.hidden, 2 * c.hidden, 3 * c.hidden
    for task in range(begin, end):
        gates = _direction(c, c.gates, task, c.tokens, wide)
        grad_gates = _direction(c, c.grad_gates, task, c.tokens, wide)
        grad_resets = _direction(c, c.grad_extra, task, c.batch, size)
        outputs, weight = _half(c, c.outputs, task), pointer(c.weights[task % 2], c.one)
        grad_outputs, carries = _half(c, c.grad_outputs, task), _half(c, c.carry, task)
        for low, first, count, before, linked in _steps(c, task, True):
            gate, grad_gate = at(gates, first * wide), at(grad_gates, first * wide)
            carry, grad_reset = at(carries, low * both), at(grad_resets, low * size)
            for i in range(count):
                h = at(outputs, (before + i) * both) if i < linked else zeros
                g, dg = at(gate, i * wide), at(grad_gate, i * wide)
                dout = at(grad_outputs, (first + i) * c.grad_stride)
                _update_row_back(size, g, h, dout, at(carry, i * both), dg)
            if linked > 0:
                dn, weight_n = at(grad_gate, both), at(weight, c.weight_n)
                _times_weight(c, linked, size, size, dn, wide, weight_n, zero, grad_reset, size)
            for i in range(count):
                h = at(outputs, (before + i) * both) if i < linked else zeros
                de = at(grad_reset, i * size) if i < linked else zeros
                g, dg = at(gate, i * wide), at(grad_gate, i * wide)
                _reset_row_back(size, g, h, de, at(carry, i * both), dg)
            if linked > 0:
                _times_weight(c, linked, size, both, grad_gate, wide, weight, c.one, carry, both)


# lstm: c ← f ⊙ c + i ⊙ g, h = o ⊙ tanh(c) ---------------------------------------------------------


@jit
def _lstm_row(size, gate, before, cell, output):
    restrict()
    for j in range(size):
        i, f = _sigmoid(gate[j]), _sigmoid(gate[size + j])
        g, o = _tanh(gate[2 * size + j]), _sigmoid(gate[3 * size + j])
        gate[j], gate[size + j], gate[2 * size + j], gate[3 * size + j] = i, f, g, o
        cell[j] = f * before[j] + i * g
        output[j] = o * _tanh(cell[j])


@jit
def _lstm_row_back(size, gate, before, cell, grad_output, carry, grad_cell, grad_gate):
    restrict()
    for j in range(size):
        i, f, g, o = gate[j], gate[size + j], gate[2 * size + j], gate[3 * size + j]
        grad, squashed = carry[j] + grad_output[j], _tanh(cell[j])
        grad_gate[3 * size + j] = grad * squashed * o * (_ONE - o)
        grad = grad_cell[j] + grad * o * (_ONE - squashed * squashed)
        grad_cell[j] = grad * f
        grad_gate[j] = grad * g * i * (_ONE - i)
        grad_gate[size + j] = grad * before[j] * f * (_ONE - f)
        grad_gate[2 * size + j] = grad * i * (_ONE - g * g)


def _lstm(begin, end, context):
    c = carray(context, 1)[0]
    size, both, wide = c.hidden, 2 * c.hidden, 4 * c.hidden
    for task in range(begin, end):
        gates = _direction(c, c.gates, task, c.tokens, wide)
        cells = _direction(c, c.extra, task, c.tokens, size)
        outputs, weight = _half(c, c.outputs, task), pointer(c.weights[task % 2], c.one)
        for _, first, count, before, linked in _steps(c, task, False):
            gate, state = at(gates, first * wide), at(outputs, before * both)
            if linked > 0:
                _times_weight(c, linked, wide, size, state, both, weight, c.one, gate, wide)
            for i in range(count):
                old = at(cells, (before + i) * size) if i < linked else pointer(c.zeros, c.one)
                cell, out = at(cells, (first + i) * size), at(outputs, (first + i) * both)
                _lstm_row(size, at(gate, i * wide), old, cell, out)


def _lstm_back(begin, end, context):
    c = carray(context, 1)[0]
    zero, size, both, wide = c.one - c.one, c.hidden, 2 * c.hidden, 4 * c.hidden
    for task in range(begin, end):
        gates = _direction(c, c.gates, task, c.tokens, wide)
        cells = _direction(c, c.extra, task, c.tokens, size)
        grad_gates = _direction(c, c.grad_gates, task, c.tokens, wide)
        grad_cells = _direction(c, c.grad_extra, task, c.batch, size)
        weight = pointer(c.weights[task % 2], c.one)
        grad_outputs, carries = _half(c, c.grad_outputs, task), _half(c, c.carry, task)
        for low, first, count, before, linked in _steps(c, task, True):
            for i in range(count):
                row = first + i
                old = at(cells, (before + i) * size) if i < linked else pointer(c.zeros, c.one)
                g, cell = at(gates, row * wide), at(cells, row * size)
                dout, carry = at(grad_outputs, row * c.grad_stride), at(carries, (low + i) * both)
                dcell, dg = at(grad_cells, (low + i) * size), at(grad_gates, row * wide)
                _lstm_row_back(size, g, old, cell, dout, carry, dcell, dg)
            if linked > 0:
                carry, dg = at(carries, low * both), at(grad_gates, first * wide)
                _times_weight(c, linked, size, wide, dg, wide, weight, zero, carry, both)


_LOOPS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "gru": (_gru, _gru_back),
    "gru-reset-before": (_gru_reset_before, _gru_reset_before_back),
    "lstm": (_lstm, _lstm_back),
}
