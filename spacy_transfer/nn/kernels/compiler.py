"""What the compiled loops share: compilation, memory by address, the exponential function.

numba's cache sees only changes in the file of a loop itself: after a change here, delete
`__pycache__`.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

# Not `reassoc`, which undoes the two-part reduction in `exp32`; not `nnan` or `ninf`, which would
# hide a diverged model. `numpy` spares every division the check that would keep it scalar.
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}
jit = njit(**OPTIONS)


def compile_loop(function: Callable[..., Any], signature: Any) -> Any:
    """The function as a C function, compiled or loaded from numba's cache."""
    try:
        return cfunc(signature, cache=True, **OPTIONS)(function)
    except (RuntimeError, OSError):  # no directory that a cache could be written to
        return cfunc(signature, **OPTIONS)(function)


@intrinsic
def pointer(_, address, one):
    """`address` as a pointer to numbers of the type of `one`."""

    def build(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(one)(address, one), build


@intrinsic
def at(_, pointer, offset):
    """`pointer` moved on by `offset` numbers."""

    def build(_context, builder, _signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, offset), build


@intrinsic
def restrict(_):
    """Promise that the calling function's pointers do not overlap, so that its loop vectorises."""

    def build(context, builder, _signature, _args):
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), build


_f = np.float32
_ONE = _f(1)
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896), _f(0.693359375), _f(-2.12194440e-4)
_ROUND = _f(1.5 * 2**23)  # added to a number below 2**22, leaves it rounded in the low bits
_LOWEST, _HIGHEST = _f(-87), _f(88)
# (exp(x) - 1 - x) / x² on |x| <= ln(2) / 2: the minimax polynomial of Cephes' expf
_E2, _E3, _E4 = _f(5.0000001201e-1), _f(1.6666665459e-1), _f(4.1665795894e-2)
_E5, _E6, _E7 = _f(8.3334519073e-3), _f(1.3981999507e-3), _f(1.9875691500e-4)


@jit
def exp32(x):
    """The exponential of a float32, from exp(-87) to exp(88), in a form that vectorises."""
    x = _LOWEST if x < _LOWEST else x
    x = _HIGHEST if x > _HIGHEST else x
    rounded = x * _LOG2E + _ROUND
    k = rounded - _ROUND
    x = x - k * _LN2_HIGH - k * _LN2_LOW
    series = x * (x * (x * (x * (x * _E7 + _E6) + _E5) + _E4) + _E3) + _E2
    exponent = (_f(rounded).view(np.int32) + np.int32(127)) << np.int32(23)
    return (series * (x * x) + x + _ONE) * np.int32(exponent).view(np.float32)
