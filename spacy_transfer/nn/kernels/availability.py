"""When the compiled loops may be used: torch is always there to do their work."""

from __future__ import annotations

import functools
import logging
import os

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


def usable(*tensors: Tensor) -> bool:
    """Whether loops can work on these tensors.

    That is so for plain tensors on the CPU, all of float32 or all of float64; not under tracing or
    compilation, and not with SPACY_TRANSFER_KERNEL=off in the environment.
    """
    dtype = tensors[0].dtype
    if (
        (dtype is not torch.float32 and dtype is not torch.float64)
        or os.environ.get("SPACY_TRANSFER_KERNEL") == "off"
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    ):
        return False
    for tensor in tensors:
        plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
        if not (plain and tensor.is_cpu and tensor.dtype is dtype):
            return False
    return True


def code(dtype: torch.dtype) -> str:
    """numpy's code of a type that loops are compiled for."""
    return "f8" if dtype is torch.float64 else "f4"


def report(what: str, error: Exception) -> None:
    """Say why something cannot be compiled or loaded, once for each reason."""
    _say(what, f"{type(error).__name__}: {error}".partition("\n")[0])


@functools.cache
def _say(what: str, reason: str) -> None:
    logger.info("No compiled loops for %s: torch does their work (%s)", what, reason)
