"""Training with the processes that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from spacy_transfer.nn.parallel import processes, rank


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


def on_first(evaluate: Callable[[], tuple[float, dict[str, Any]]]) -> tuple[float, dict[str, Any]]:
    """What `evaluate` gives in the first process, known to all."""
    if processes() == 1:
        return evaluate()
    result: list[Any] = [evaluate() if rank() == 0 else None]
    dist.broadcast_object_list(result)
    score, scores = result[0]
    return score, scores
