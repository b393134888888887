"""Training with the processes that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed as dist

from spacy_transfer.nn.parallel import processes, rank

T = TypeVar("T")


def local_gpu(gpu_id: int) -> int:
    """The GPU of this process: one each under torchrun, `gpu_id` otherwise; -1 is the CPU."""
    return gpu_id if gpu_id < 0 else int(os.environ.get("LOCAL_RANK", gpu_id))


@contextmanager
def process_group(gpu_id: int) -> Iterator[None]:
    """Join the other processes of torchrun, if it started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    dist.init_process_group("gloo" if gpu_id < 0 else "nccl")
    try:
        yield
        dist.barrier()  # one that leaves early breaks the connections of those still at work
    finally:
        dist.destroy_process_group()


def on_first(find: Callable[[], T]) -> T:
    """What `find` gives in the first process, known to all."""
    if processes() == 1:
        return find()
    result: list[Any] = [find() if rank() == 0 else None]
    dist.broadcast_object_list(result)
    found: T = result[0]
    return found


def from_all(value: T) -> list[T]:
    """The values of all processes, known to all."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    dist.all_gather_object(values, value)
    return values
