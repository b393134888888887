"""The largest batch that a GPU's memory holds, found by trying."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

import torch
from confection import Config
from spacy.training import Example

from spacy_transfer.corpus.marks import task_of
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.pipeline.components import transfer_pipes
from spacy_transfer.training.setup import Setup, set_up

LARGEST = 16_384
"""Sentences in the largest batch that is tried."""


@dataclass(frozen=True)
class Trial:
    """What one batch took.

    Attributes:
        size: sentences in it.
        tokens_per_second: in a training step; None where the memory was too small.
        peak: bytes of the GPU that were in use at once.
    """

    size: int
    tokens_per_second: float | None
    peak: int


def try_batch_sizes(config: Config, *, use_gpu: int) -> Iterator[Trial]:
    """Train on ever larger batches until the GPU's memory ends, then close in on its end.

    The batches are the longest sentences of the corpora, with equal parts for all tasks. The
    config's own batch size is not read. ValueError on a CPU, and as for training.
    """
    setup = set_up(config, use_gpu=use_gpu)
    devices = {shim_of(pipe.model).device for pipe in transfer_pipes(setup.nlp)}
    if len(devices) != 1 or (device := devices.pop()).type != "cuda":
        raise ValueError(
            "it is a GPU whose memory limits the batch size: choose one with --gpu-id, or as the "
            "device of [components.transfer_ner.model]"
        )
    examples = longest(setup.streams, LARGEST)
    return search(lambda size: attempt(setup, examples[:size], device), len(examples))


def search(attempt: Callable[[int], Trial], largest: int) -> Iterator[Trial]:
    """Double the size until it fails or is `largest`, then halve the gap to an eighth of it."""
    fits, fails = 0, largest + 1
    while fails - fits > max(1, fits // 8):
        size = min(max(1, 2 * fits), largest) if fails > largest else (fits + fails) // 2
        trial = attempt(size)
        yield trial
        if trial.tokens_per_second is None:
            fails = size
        else:
            fits = size
        if fits == largest:
            return


def longest(examples: Iterable[Example], count: int) -> list[Example]:
    """The longest examples of each task, longest first, tasks in turn; at most `count`."""
    by_task: dict[str, list[tuple[int, int, Example]]] = {}
    for number, example in enumerate(examples):
        heap = by_task.setdefault(task_of(example.reference), [])
        item = (len(example.reference), -number, example)
        if len(heap) < count:
            heapq.heappush(heap, item)
        else:
            heapq.heappushpop(heap, item)
    in_turn = chain.from_iterable(zip_longest(*(sorted(heap)[::-1] for heap in by_task.values())))
    return [item[2] for item in islice(filter(None, in_turn), count)]


def attempt(setup: Setup, examples: list[Example], device: torch.device) -> Trial:
    """Two training steps on a batch, the second of them on the clock."""
    words = sum(len(example.reference) for example in examples)
    speed = None
    torch.cuda.reset_peak_memory_stats(device)
    try:
        for _ in range(2):
            started = time.perf_counter()
            setup.nlp.update(
                examples, drop=setup.settings["dropout"], sgd=setup.settings["optimizer"]
            )
            torch.cuda.synchronize(device)
        speed = words / (time.perf_counter() - started)
    except torch.cuda.OutOfMemoryError:
        pass
    peak = torch.cuda.max_memory_allocated(device)
    # What the step held is free once its exception is gone; what is left of it goes here.
    for pipe in transfer_pipes(setup.nlp):
        shim_of(pipe.model).network.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    return Trial(len(examples), speed, peak)
