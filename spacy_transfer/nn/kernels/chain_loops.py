"""The time loops of the linear-chain CRF, compiled by numba.

A sequence is worked on by itself, token by token, and each token over all its labels at once, in a
form that LLVM turns into vector code. Rows of labels are padded with labels of score -inf up to
`width`, a multiple of `LANES`.

Messages are logarithms, without the highest of their token. To take them a token further, their
exponentials are multiplied with those of the transitions. What underflows in that is lost beside
any sum that is at least `least`; a smaller sum is made again from logarithms. So scores may lie
apart as far as they like, and -inf forbids.

A loop is a C function that takes a record (`record_type`) of numbers, sizes and addresses of
row-major arrays, and returns -1, or the first sequence whose length or tags are out of range:

    cost         what `forward` and `backward` add to the emissions of all labels but the gold one
    least        see above
    lowest       the lowest finite number
    emissions    [batch, time, labels]
    start, end   [labels]
    transitions  [labels, labels] (from, to)
    lengths      [batch] int64
    scratch      [scratch_rows, width]

    tags         [batch, time] int64, gold; or 0, for none
    states       [batch, time, width], out of `forward`, into `backward`: messages
    values       [batch], out of `forward`, into `backward`: the log-partition less the gold score

    weights      [batch], into `backward`: gradient of the values
    grad_emissions, grad_start, grad_transitions, grad_end: out of `backward`

    paths        [batch, time] int64, out of `viterbi`
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, from_dtype, njit, types
from numba.extending import overload

from spacy_transfer.nn.kernels.compiler import (
    OPTIONS,
    at,
    compile_loop,
    exp32,
    jit,
    pointer,
    restrict,
)

LANES = 8
# `one`, a 1, tells the type of all numbers.
NUMBERS = ["one", "cost", "least", "lowest"]
SIZES = ["batch", "time", "labels", "width"]
ADDRESSES = ["emissions", "start", "transitions", "end", "lengths", "scratch"]
ADDRESSES += ["tags", "states", "values", "weights", "paths"]
ADDRESSES += ["grad_emissions", "grad_start", "grad_transitions", "grad_end"]


@functools.cache
def record_type(dtype: str) -> type[ctypes.Structure]:
    """The record that a loop reads."""
    number = ctypes.c_double if dtype == "f8" else ctypes.c_float
    fields: list[tuple[str, Any]] = [(name, number) for name in NUMBERS]
    fields += [(name, ctypes.c_int64) for name in SIZES + ADDRESSES]
    return type("Record", (ctypes.Structure,), {"_fields_": fields})


def scratch_rows(width: int, time: int) -> int:
    """How many rows of scratch memory a loop needs: three matrices, 15 rows, one a token."""
    return 3 * width + 15 + time


@functools.cache
def loop(name: str, dtype: str) -> Any:
    """`forward`, `backward` or `viterbi`, compiled or loaded from numba's cache."""
    record = types.CPointer(from_dtype(np.dtype(record_type(dtype))))
    return compile_loop(_LOOPS[name], types.int64(record))


# Functions --------------------------------------------------------------------------------------

_f = np.float32
_ZERO, _ONE, _HALF, _NEVER = _f(0), _f(1), _f(0.5), _f(-math.inf)
_UNDERFLOW = _f(-87)
_LN2_HIGH, _LN2_LOW = _f(0.693359375), _f(-2.12194440e-4)
_ROOT = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
# log(1 + x) as in Cephes' logf: x - x² / 2 + x³ P(x) for 1 + x from sqrt(1/2) to sqrt(2)
_L0, _L1, _L2 = _f(7.0376836292e-2), _f(-1.1514610310e-1), _f(1.1676998740e-1)
_L3, _L4, _L5 = _f(-1.2420140846e-1), _f(1.4249322787e-1), _f(-1.6668057665e-1)
_L6, _L7, _L8 = _f(2.0000714765e-1), _f(-2.4999993993e-1), _f(3.3333331174e-1)


def _exp32(x):
    return _ZERO if x < _UNDERFLOW else exp32(x)


def _log32(x):
    """Of a positive, normal number."""
    bits = _f(x).view(np.int32)
    exponent = np.int32(np.int32(bits - _ROOT) >> np.int32(23))
    k = _f(exponent)
    x = np.int32(bits - (exponent << np.int32(23))).view(np.float32) - _ONE
    high = x * (x * (x * (x * _L0 + _L1) + _L2) + _L3) + _L4
    series = x * (x * (x * (x * high + _L5) + _L6) + _L7) + _L8
    square = x * x
    return x + (square * (x * series - _HALF) + k * _LN2_LOW) + k * _LN2_HIGH


def _rank32(x):
    """An integer that orders numbers as they are ordered: a maximum of integers vectorises."""
    bits = _f(x).view(np.int32)
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


def _rank64(x):
    bits = np.float64(x).view(np.int64)
    return bits ^ ((bits >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))


def _ranked32(x):
    return np.int32(x ^ ((x >> np.int32(31)) & np.int32(0x7FFFFFFF))).view(np.float32)


def _ranked64(x):
    return np.int64(x ^ ((x >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))).view(np.float64)


def _exp64(x):
    return math.exp(x)


def _log64(x):
    return math.log(x)


def _choice(kind, single, double):
    """A function that is `single` for numbers of type `kind`, else `double`."""

    def function(x):
        raise NotImplementedError

    overload(function, jit_options=OPTIONS)(lambda x: single if x == kind else double)
    return function


_exp = _choice(types.float32, _exp32, _exp64)
_log = _choice(types.float32, _log32, _log64)
_rank = _choice(types.float32, _rank32, _rank64)
_ranked = _choice(types.int32, _ranked32, _ranked64)


# Rows of labels ---------------------------------------------------------------------------------


@jit
def _highest(size, row, lowest):
    """The highest number, but at least `lowest`, which is finite; or one that is none."""
    top = _rank(row[0])
    for j in range(size):
        rank = _rank(row[j])
        top = rank if rank > top else top
    highest = _ranked(top)
    return lowest if highest < lowest else highest


@njit(fastmath={"contract", "reassoc"}, error_model="numpy")
def _sum(size, row):
    total = _ZERO
    for j in range(size):
        total += row[j]
    return total


@jit
def _pad(labels, width, row, out):
    restrict()
    for j in range(labels):
        out[j] = row[j]
    for j in range(labels, width):
        out[j] = _NEVER


@jit
def _add(size, a, b, out):
    restrict()
    for j in range(size):
        out[j] = a[j] + b[j]


@jit
def _accumulate(size, row, out):
    restrict()
    for j in range(size):
        out[j] += row[j]


@jit
def _scale(size, row, by, out):
    for j in range(size):
        out[j] = row[j] * by


@jit
def _fill(size, value, out):
    for j in range(size):
        out[j] = value


@jit
def _normalise(size, row, lowest):
    """Take off the highest number, and return it."""
    top = _highest(size, row, lowest)
    for j in range(size):
        row[j] -= top
    return top


@jit
def _exponential(size, row, out):
    restrict()
    for j in range(size):
        out[j] = _exp(row[j])


@jit
def _softmax(size, row, lowest):
    """Replace by the exponentials of what is left without the highest; that, and their sum."""
    top = _highest(size, row, lowest)
    for j in range(size):
        row[j] = _exp(row[j] - top)
    return top, _sum(size, row)


# Both directions --------------------------------------------------------------------------------


@jit
def _matrix(c, number):
    return at(pointer(c.scratch, c.one), number * c.width * c.width)


@jit
def _row(c, number):
    return at(pointer(c.scratch, c.one), (3 * c.width + number) * c.width)


@jit
def _matrices(c, off, here, there):
    """The transitions less `off`, padded: `here` as they are, `there` transposed."""
    transitions = pointer(c.transitions, c.one)
    for i in range(c.width):
        for j in range(c.width):
            score = _NEVER
            if i < c.labels and j < c.labels:
                score = transitions[i * c.labels + j] - off
            here[i * c.width + j] = score
            there[j * c.width + i] = score


@jit
def _token(c, number, gold, scores):
    """The scores of a token's labels, without the highest emission, which is returned."""
    emission = at(pointer(c.emissions, c.one), number * c.labels)
    _pad(c.labels, c.width, emission, scores)
    top = _normalise(c.width, scores, c.lowest)
    if gold >= 0:
        own = scores[gold]
        for j in range(c.width):
            scores[j] += c.cost
        scores[gold] = own
    return top


@jit
def _products(size, labels, message, kernel, sums):
    """`message` [labels] times `kernel` [labels, size]."""
    restrict()
    for j in range(size):
        sums[j] = _ZERO
    for i in range(0, labels, 4):
        first, second = at(kernel, i * size), at(kernel, (i + 1) * size)
        third, fourth = at(kernel, (i + 2) * size), at(kernel, (i + 3) * size)
        for j in range(size):
            sums[j] += (
                message[i] * first[j]
                + message[i + 1] * second[j]
                + message[i + 2] * third[j]
                + message[i + 3] * fourth[j]
            )


@jit
def _logarithms(size, sums, least, out):
    """And how many sums are too small to have one."""
    restrict()
    small = np.int32(0)
    for j in range(size):
        enough = sums[j] >= least
        out[j] = _log(sums[j]) if enough else _NEVER
        small += np.int32(0) if enough else np.int32(1)
    return small


@jit
def _advance(c, state, kernel, into, message, out):
    """The message of the next token without its scores: log sum_i exp(state[i] + into[j, i]).

    `kernel` is the exponential of `into`, transposed; `message` gets that of the state.
    """
    sums = _row(c, 0)
    _exponential(c.width, state, message)
    _products(c.width, c.labels, message, kernel, sums)
    small = _logarithms(c.width, sums, c.least, out)
    if small > c.width - c.labels:
        ways = _row(c, 1)
        for j in range(c.labels):
            if not sums[j] >= c.least:
                _add(c.width, state, at(into, j * c.width), ways)
                top, total = _softmax(c.width, ways, c.lowest)
                out[j] = top + math.log(total)


@jit
def _gold(c, b, t):
    """The gold tag, or -1."""
    return pointer(c.tags, 1)[b * c.time + t] if c.tags != 0 else -1


@jit
def _valid(c, b):
    """Whether a sequence's length and tags are in range."""
    length = pointer(c.lengths, 1)[b]
    if not 0 < length <= c.time:
        return False
    if c.tags != 0:
        for t in range(length):
            if not 0 <= _gold(c, b, t) < c.labels:
                return False
    return True


@jit
def _gold_score(c, b):
    """The score of a sequence's gold tags; 0 if there are none."""
    length = pointer(c.lengths, 1)[b]
    emissions = pointer(c.emissions, c.one)
    transitions = pointer(c.transitions, c.one)
    if c.tags == 0:
        return 0.0
    score = 0.0
    for t in range(length):
        gold = _gold(c, b, t)
        score += emissions[(b * c.time + t) * c.labels + gold]
        if t > 0:
            score += transitions[_gold(c, b, t - 1) * c.labels + gold]
    first, last = _gold(c, b, 0), _gold(c, b, length - 1)
    return score + pointer(c.start, c.one)[first] + pointer(c.end, c.one)[last]


def _forward(context):
    c = carray(context, 1)[0]
    width = c.width
    kernel, into, spare = _matrix(c, 0), _matrix(c, 1), _matrix(c, 2)
    highest = _highest(c.labels * c.labels, pointer(c.transitions, c.one), c.lowest)
    _matrices(c, highest, spare, into)
    _exponential(width * width, spare, kernel)
    first, last, scores, message = _row(c, 2), _row(c, 3), _row(c, 4), _row(c, 5)
    _pad(c.labels, width, pointer(c.start, c.one), first)
    _pad(c.labels, width, pointer(c.end, c.one), last)
    states, values = pointer(c.states, c.one), pointer(c.values, c.one)
    for b in range(c.batch):
        if not _valid(c, b):
            return b
        total, before = 0.0, first
        for t in range(pointer(c.lengths, 1)[b]):
            number = b * c.time + t
            state = at(states, number * width)
            total += _token(c, number, _gold(c, b, t), scores)
            if t == 0:
                _add(width, first, scores, state)
            else:
                _advance(c, before, kernel, into, message, state)
                _accumulate(width, scores, state)
                total += highest
            total += _normalise(width, state, c.lowest)
            before = state
        _add(width, before, last, message)
        top, rest = _softmax(width, message, c.lowest)
        total += top + math.log(rest)
        gold = _gold_score(c, b)
        values[b] = math.inf if gold == -math.inf else total - gold
    return -1


@jit
def _count_row(size, a, b, c, d, arriving, row):
    restrict()
    for j in range(size):
        row[j] += (
            a * arriving[j]
            + b * arriving[size + j]
            + c * arriving[2 * size + j]
            + d * arriving[3 * size + j]
        )


@jit
def _count(c, leaving, arriving, moves):
    """Add the outer products of four tokens' rows to `moves`, and empty `leaving`."""
    width = c.width
    for i in range(c.labels):
        first, second = leaving[i], leaving[width + i]
        third, fourth = leaving[2 * width + i], leaving[3 * width + i]
        _count_row(width, first, second, third, fourth, arriving, at(moves, i * width))
    _fill(4 * width, _ZERO, leaving)


@jit
def _count_logarithms(size, weight, from_i, into, onward, grad):
    restrict()
    for j in range(size):
        grad[j] += weight * _exp(from_i + into[j] + onward[j])


def _backward(context):
    c = carray(context, 1)[0]
    width, labels = c.width, c.labels
    kernel, into, moves = _matrix(c, 0), _matrix(c, 1), _matrix(c, 2)
    highest = _highest(labels * labels, pointer(c.transitions, c.one), c.lowest)
    _matrices(c, highest, into, moves)
    _exponential(width * width, moves, kernel)
    _fill(width * width, _ZERO, moves)
    last, after, scores = _row(c, 2), _row(c, 3), _row(c, 4)
    onward, marginal = _row(c, 5), _row(c, 6)
    leaving, arriving, count = _row(c, 7), _row(c, 11), 0
    _pad(labels, width, pointer(c.end, c.one), last)
    _fill(8 * width, _ZERO, leaving)
    grad_start, grad_end = pointer(c.grad_start, c.one), pointer(c.grad_end, c.one)
    grad_transitions = pointer(c.grad_transitions, c.one)
    _fill(labels, _ZERO, grad_start)
    _fill(labels, _ZERO, grad_end)
    _fill(labels * labels, _ZERO, grad_transitions)
    for b in range(c.batch):
        length, weight = pointer(c.lengths, 1)[b], pointer(c.weights, c.one)[b]
        grads = at(pointer(c.grad_emissions, c.one), b * c.time * labels)
        states = at(pointer(c.states, c.one), b * c.time * width)
        if math.isinf(pointer(c.values, c.one)[b]):
            length = 0
        _fill((c.time - length) * labels, _ZERO, at(grads, length * labels))
        for t in range(length - 1, -1, -1):
            state, grad, gold = at(states, t * width), at(grads, t * labels), _gold(c, b, t)
            # What follows, given the label of this token.
            follows = last
            if t < length - 1:
                follows = after
                _advance(c, onward, kernel, into, at(arriving, count * width), follows)
            _add(width, state, follows, marginal)
            top, total = _softmax(width, marginal, c.lowest)
            _scale(labels, marginal, weight / total, grad)
            if gold >= 0:
                grad[gold] -= weight
            if t == length - 1:
                _accumulate(labels, grad, grad_end)
            else:
                if gold >= 0:
                    grad_transitions[gold * labels + _gold(c, b, t + 1)] -= weight
                joint = _exp(top)
                if joint * joint >= c.least:  # and its inverse is far from overflow
                    here = at(leaving, count * width)
                    _exponential(width, state, here)
                    _scale(width, here, weight / (total * joint), here)
                    count += 1
                else:
                    for i in range(labels):
                        from_i = state[i] - top - math.log(total)
                        row = at(grad_transitions, i * labels)
                        _count_logarithms(labels, weight, from_i, at(into, i * width), onward, row)
                if count == 4:
                    _count(c, leaving, arriving, moves)
                    count = 0
            if t == 0:
                _accumulate(labels, grad, grad_start)
            else:
                _token(c, b * c.time + t, gold, scores)
                _add(width, follows, scores, onward)
                _normalise(width, onward, c.lowest)
    _count(c, leaving, arriving, moves)
    for i in range(labels):
        for j in range(labels):
            grad_transitions[i * labels + j] += moves[i * width + j] * kernel[j * width + i]
    return -1


# Viterbi ----------------------------------------------------------------------------------------


@jit
def _larger(a, b):
    return a if a > b else b


@jit
def _best(size, labels, before, steps, best):
    """max_i(before[i] + steps[i, j])"""
    restrict()
    for j in range(size):
        best[j] = _NEVER
    for i in range(0, labels, 4):
        first, second = at(steps, i * size), at(steps, (i + 1) * size)
        third, fourth = at(steps, (i + 2) * size), at(steps, (i + 3) * size)
        for j in range(size):
            one = _larger(before[i] + first[j], before[i + 1] + second[j])
            other = _larger(before[i + 2] + third[j], before[i + 3] + fourth[j])
            best[j] = _larger(best[j], _larger(one, other))


@jit
def _numbers(size, row):
    """How many are numbers."""
    count = np.int32(0)
    for j in range(size):
        count += np.int32(1) if row[j] == row[j] else np.int32(0)
    return count


@jit
def _first(row, value):
    label = 0
    while row[label] < value:
        label += 1
    return label


def _viterbi(context):
    c = carray(context, 1)[0]
    width, labels = c.width, c.labels
    steps, into = _matrix(c, 0), _matrix(c, 1)
    scores, states = _row(c, 0), _row(c, 15)
    _matrices(c, _ZERO, steps, into)
    transitions = pointer(c.transitions, c.one)
    finite = _numbers(labels * labels, transitions) == labels * labels
    for b in range(c.batch):
        if not _valid(c, b):
            return b
        length = pointer(c.lengths, 1)[b]
        possible, before = finite or length == 1, scores
        for t in range(length):
            emission = at(pointer(c.emissions, c.one), (b * c.time + t) * labels)
            _pad(labels, width, emission, scores)
            if t == 0:
                _accumulate(labels, pointer(c.start, c.one), scores)
            if t == length - 1:
                _accumulate(labels, pointer(c.end, c.one), scores)
            _normalise(width, scores, c.lowest)
            possible = possible and _numbers(width, scores) == width
            state = at(states, t * width)
            if t == 0:
                _pad(width, width, scores, state)
            else:
                _best(width, labels, before, steps, state)
                _accumulate(width, scores, state)
            before = state
        path = at(pointer(c.paths, 1), b * c.time)
        _fill(c.time, 0, path)
        if not possible:
            continue
        label = 0
        for t in range(length - 1, -1, -1):
            if t == length - 1:
                ways = before
            else:
                ways = _row(c, 1)
                _add(width, at(states, t * width), at(into, label * width), ways)
            best = _highest(width, ways, _NEVER)
            # Sums of huge scores are infinite, and no longer tell what is forbidden.
            if not _NEVER < best < -_NEVER:
                _fill(length, 0, path)
                break
            label = _first(ways, best)
            path[t] = label
    return -1


_LOOPS: dict[str, Callable[..., int]] = {
    "forward": _forward,
    "backward": _backward,
    "viterbi": _viterbi,
}
