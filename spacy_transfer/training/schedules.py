"""Which examples make up a batch: registered batchers over the streams of all tasks.

Batches follow each other without end. An epoch is a pass over the target's training examples, or
over the first source's where the target is not learned.

Our loop hands a batcher the streams and takes batches for ever. spaCy's own loop hands it a list of
all examples, shuffled, once an epoch: it gets the same batches, those of one epoch at a time, and
before them, at its step 0, one to learn nothing from. So step k is the k-th update in both.

With a `window` above 1, the sentences of so many batches are sorted by length and cut into batches
of equal numbers of tokens, whose order is drawn: a batch then has its size on average. That is a
little faster, but batches of like sentences learn less in the first epochs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.streams import TaskStreams, streams_of
from spacy_transfer.training.buckets import by_length


class Batch(list[Example]):
    """Examples of one or more tasks, and the target's epoch, from 0."""

    def __init__(self, examples: list[Example], epoch: int) -> None:
        super().__init__(examples)
        self.epoch = epoch


Schedule = Callable[[TaskStreams], Iterator[Batch]]
Weights = dict[str, float]


class Batcher:
    """A schedule in the form that spaCy knows."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._batches: Iterator[Batch] | None = None
        self._next = Batch([], 0)
        self._epoch = 0

    def __call__(self, examples: Iterable[Example]) -> Iterator[Batch]:
        """Batches of streams without end, or those of the next epoch of the streams that listed
        examples come from.

        ValueError for examples that do not come from streams, and as the schedule.
        """
        streams = streams_of(examples)
        return self._schedule(streams) if streams is examples else self._next_epoch(streams)

    def _next_epoch(self, streams: TaskStreams) -> Iterator[Batch]:
        if self._batches is None:
            self._batches = self._schedule(streams)
            self._next = Batch([streams.blank()], 0)
        while self._next.epoch <= self._epoch:
            yield self._next
            self._next = next(self._batches)
        self._epoch += 1


def target_only(batch_size: int = 10, window: int = 1) -> Batcher:
    """`spacy_transfer.TargetOnly.v1`: batches of the target alone, whatever sources there are.

    Args:
        batch_size: sentences in a batch.
        window: how many batches are made at a time, by length.
    """
    _check_sizes(window, batch_size)
    return Batcher(lambda streams: _batches(streams, TARGET, batch_size, window))


def source_only(
    batch_size: int = 10, source_weights: Weights | None = None, window: int = 1
) -> Batcher:
    """`spacy_transfer.SourceOnly.v1`: batches of the sources alone, in turns, whatever target there
    is. With T-A the target is then tagged through the label map, without one label of its own
    (Yang et al. 2017, Figure 2).

    Args:
        batch_size: sentences in a batch.
        source_weights: how often each source has its turn, by its name; without them, equally.
        window: how many batches of a source are made at a time, by length.
    """
    _check_sizes(window, batch_size)

    def schedule(streams: TaskStreams) -> Iterator[Batch]:
        weights = _source_weights(streams, source_weights)
        batches = {source: _batches(streams, source, batch_size, window) for source in weights}
        epoch, first = 0, next(iter(weights))
        for source in turns(weights):
            batch = next(batches[source])
            if source == first:
                epoch = batch.epoch
            yield Batch(batch, epoch)

    return Batcher(schedule)


def alternate(
    batch_size: int = 10,
    target_probability: float = 0.5,
    source_weights: Weights | None = None,
    seed: int = 0,
    window: int = 1,
) -> Batcher:
    """`spacy_transfer.Alternate.v1`: each batch is of one task (Yang et al. 2017, §3.3).

    Args:
        batch_size: sentences in a batch.
        target_probability: how often the target is drawn.
        source_weights: how the sources share the rest, by their names; without them, equally.
        seed: of the draws.
        window: how many batches of a task are made at a time, by length.
    """
    _check_sizes(window, batch_size)
    if not 0.0 < target_probability < 1.0:
        raise ValueError(f"target_probability must be between 0 and 1; found {target_probability}")

    def schedule(streams: TaskStreams) -> Iterator[Batch]:
        weights = _source_weights(streams, source_weights)
        sources, shares = list(weights), list(weights.values())
        rng = random.Random(f"{seed}/alternate")
        batches = {task: _batches(streams, task, batch_size, window) for task in (TARGET, *sources)}
        epoch = 0
        while True:
            if rng.random() < target_probability:
                batch = next(batches[TARGET])
                epoch = batch.epoch
            else:
                [source] = rng.choices(sources, shares)
                batch = next(batches[source])
            yield Batch(batch, epoch)

    return Batcher(schedule)


def joint(
    target_size: int = 15,
    source_size: int = 15,
    source_weights: Weights | None = None,
    window: int = 1,
) -> Batcher:
    """`spacy_transfer.Joint.v1`: source and target in every batch (Wang et al. 2018, §4.5).

    Args:
        target_size: target sentences in a batch.
        source_size: source sentences in a batch; several sources take turns.
        source_weights: how often each source has its turn, by its name; without them, equally.
        window: how many batches of a task are made at a time, by length. The target's and the
            source's sentences of a batch are of lengths of their own.
    """
    _check_sizes(window, target_size, source_size)

    def schedule(streams: TaskStreams) -> Iterator[Batch]:
        target = _batches(streams, TARGET, target_size, window)
        weights = _source_weights(streams, source_weights)
        sources = {name: _batches(streams, name, source_size, window) for name in weights}
        for batch, source in zip(target, turns(weights), strict=False):
            yield Batch(batch + next(sources[source]), batch.epoch)

    return Batcher(schedule)


def _batches(streams: TaskStreams, task: str, size: int, window: int) -> Iterator[Batch]:
    stream = streams.stream(task)
    if window > 1:
        seed = f"{streams.seed}/{task}/batches"
        for epoch, examples in by_length(stream, size, window, seed):
            yield Batch(examples, epoch)
    else:
        while taken := list(islice(stream, size)):
            yield Batch([example for _, example in taken], taken[0][0])


def turns(weights: Mapping[str, float]) -> Iterator[str]:
    """Names without end, each as often as its weight says, as evenly spread as can be."""
    credit = dict.fromkeys(weights, 0.0)
    total = sum(weights.values())
    while True:
        for name, weight in weights.items():
            credit[name] += weight
        name = max(credit, key=lambda name: credit[name])
        credit[name] -= total
        yield name


def _source_weights(streams: TaskStreams, given: Weights | None) -> Weights:
    sources = [task for task in streams.tasks if task != TARGET]
    if not sources:
        raise ValueError(
            "this schedule needs a source: set [corpora.train.sources] in the config, or use "
            "spacy_transfer.TargetOnly.v1"
        )
    if given is None:
        return dict.fromkeys(sources, 1.0)
    if given.keys() != set(sources) or not min(given.values()) > 0:
        raise ValueError(
            f"source_weights must have a number above 0 for each of the sources "
            f"{', '.join(sources)}; found {given}"
        )
    return {source: given[source] for source in sources}


def _check_sizes(window: int, *sizes: int) -> None:
    if window < 1:
        raise ValueError(f"window must be at least 1; found {window}")
    if min(sizes) < 1:
        raise ValueError(f"batch sizes must be at least 1; found {min(sizes)}")
