"""What torch has loaded already, found by name: its matrix product and its thread team."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_LIBRARY = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}
_LOOP = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)

# A forked child has its parent's idea of torch's threads, but not the threads: a second one would
# wait for them for ever, in torch's own operations too.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@dataclass(frozen=True)
class Native:
    """Routines of the libraries under torch.

    Attributes:
        gemm: addresses of BLAS' matrix product, by the type of the numbers.
        share_out: calls `loop(begin, end, context)`, given by address, for the tasks 0 to `tasks`,
            in torch's own threads if it can: threads beside them would fight them for the cores.
    """

    gemm: dict[torch.dtype, int]
    share_out: Callable[[int, int, int], None]


@functools.cache
def native() -> Native:
    """Find the routines; raises `LookupError` where torch's BLAS cannot be called."""
    name = _LIBRARY.get(sys.platform, "libtorch_cpu.so")
    try:
        # A handle of the loaded library, which finds the symbols of its dependencies as well: MKL
        # inside torch, Accelerate, or a BLAS beside torch.
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        gemm = {torch.float32: _address(library.sgemm_), torch.float64: _address(library.dgemm_)}
    except (OSError, AttributeError) as error:
        raise LookupError(f"torch exports no BLAS on this platform: {error}") from error
    if hasattr(library, "openblas_get_parallel") and library.openblas_get_parallel() == 1:
        raise LookupError("torch's OpenBLAS keeps threads of its own, which slow torch's down")
    if not hasattr(library, "torch_parallel_for"):  # before torch 2.10
        return Native(gemm, lambda loop, tasks, context: _LOOP(loop)(0, tasks, context))
    parallel_for = library.torch_parallel_for
    parallel_for.argtypes = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 2
    return Native(gemm, lambda loop, tasks, context: parallel_for(0, tasks, 1, loop, context))


def _address(routine: Any) -> int:
    return ctypes.cast(routine, ctypes.c_void_p).value or 0
