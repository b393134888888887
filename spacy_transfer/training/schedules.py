"""Which examples make up a batch: registered batchers over the streams of all tasks.

Batches follow each other without end. An epoch is a pass over the target's training examples.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import cycle, islice

from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.readers import TaskStreams


class Batch(list[Example]):
    """Examples of one or more tasks, and the target's epoch, from 0."""

    def __init__(self, examples: list[Example], epoch: int) -> None:
        super().__init__(examples)
        self.epoch = epoch


Schedule = Callable[[TaskStreams], Iterator[Batch]]


def target_only(batch_size: int = 10) -> Schedule:
    """`spacy_transfer.TargetOnly.v1`: batches of the target alone, whatever sources there are."""
    _check_sizes(batch_size)

    def schedule(streams: TaskStreams) -> Iterator[Batch]:
        target = streams.stream(TARGET)
        while True:
            yield _take(target, batch_size)

    return schedule


def alternate(batch_size: int = 10, target_probability: float = 0.5, seed: int = 0) -> Schedule:
    """`spacy_transfer.Alternate.v1`: each batch is of one task (Yang et al. 2017, §3.3).

    Args:
        batch_size: sentences in a batch.
        target_probability: how often the target is drawn; sources share the rest equally.
        seed: of the draws.
    """
    _check_sizes(batch_size)
    if not 0.0 < target_probability < 1.0:
        raise ValueError(f"target_probability must be between 0 and 1; found {target_probability}")

    def schedule(streams: TaskStreams) -> Iterator[Batch]:
        _, *sources = _with_sources(streams)
        rng = random.Random(f"{seed}/alternate")
        open_streams = {task: streams.stream(task) for task in streams.tasks}
        epoch = 0
        while True:
            if rng.random() < target_probability:
                batch = _take(open_streams[TARGET], batch_size)
                epoch = batch.epoch
            else:
                source = sources[int(rng.random() * len(sources))]
                batch = _take(open_streams[source], batch_size)
            yield Batch(batch, epoch)

    return schedule


def joint(target_size: int = 15, source_size: int = 15) -> Schedule:
    """`spacy_transfer.Joint.v1`: source and target in every batch (Wang et al. 2018, §4.5).

    Args:
        target_size: target sentences in a batch.
        source_size: source sentences in a batch; several sources take turns.
    """
    _check_sizes(target_size, source_size)

    def schedule(streams: TaskStreams) -> Iterator[Batch]:
        target, *sources = (streams.stream(task) for task in _with_sources(streams))
        for source in cycle(sources):
            batch = _take(target, target_size)
            yield Batch(batch + _take(source, source_size), batch.epoch)

    return schedule


def _take(stream: Iterator[tuple[int, Example]], size: int) -> Batch:
    taken = list(islice(stream, size))
    return Batch([example for _, example in taken], taken[0][0])


def _with_sources(streams: TaskStreams) -> list[str]:
    if len(streams.tasks) < 2:
        raise ValueError(
            "this schedule needs a source: set [corpora.train.sources] in the config, or use "
            "spacy_transfer.TargetOnly.v1"
        )
    return streams.tasks


def _check_sizes(*sizes: int) -> None:
    if min(sizes) < 1:
        raise ValueError(f"batch sizes must be at least 1; found {min(sizes)}")
