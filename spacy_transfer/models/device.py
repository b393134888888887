"""Where a network is: beside thinc's arrays, or on any other device that torch has.

thinc reaches CUDA through cupy alone. The network is torch's, so a GPU does without cupy.
"""

from __future__ import annotations

from contextvars import ContextVar

import torch
from thinc.api import get_torch_default_device, require_gpu
from thinc.util import gpu_is_available

_chosen: ContextVar[torch.device | None] = ContextVar("chosen", default=None)


def use_gpu(gpu_id: int) -> int:
    """Put networks whose config names no device on a GPU from now on; -1 leaves them to thinc.

    thinc follows where it can: with cupy, and on a Mac. Returns what spaCy's functions are to be
    told: `gpu_id`, or -1 where thinc stays on the CPU. ValueError where there is no such GPU.
    """
    _chosen.set(None)
    if gpu_id < 0:
        return -1
    # The GPU of a Mac is not CUDA's.
    count = torch.cuda.device_count() or int(gpu_is_available())
    if gpu_id >= count:
        raise ValueError(f"no GPU {gpu_id}: torch {torch.__version__} finds {count} GPUs")
    if gpu_is_available():
        require_gpu(gpu_id)
        return gpu_id
    torch.cuda.set_device(gpu_id)
    _chosen.set(torch.device("cuda", gpu_id))
    return -1


def default_device() -> torch.device:
    """Where networks are whose config names no device."""
    return _chosen.get() or get_torch_default_device()


def read_device(name: str | None) -> torch.device | None:
    """The device of a config; ValueError for a name that torch does not know."""
    try:
        return None if name is None else torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"device must be null or a device of torch, such as 'cpu', 'cuda' or 'cuda:1'; found "
            f"{name!r}"
        ) from error


def require_device(device: torch.device) -> torch.device:
    """The same device; ValueError where torch does not have it on this machine."""
    try:
        torch.empty(0, device=device)
    # What torch raises differs by device: AssertionError where it was built without CUDA.
    except (AssertionError, ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"torch {torch.__version__} has no device '{device}' on this machine ({reason})"
        ) from error
    return device
