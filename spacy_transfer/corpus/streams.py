"""Streams of examples: those of a target and its sources, again and again in new orders."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET, mark, mark_weight
from spacy_transfer.corpus.similarity import Similarity
from spacy_transfer.corpus.task_corpus import TaskCorpus

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


class StreamedExample(Example):  # type: ignore[misc]
    """An example that knows its streams: spaCy's loop gives batchers no more than a list."""

    __slots__ = ("streams",)
    streams: TaskStreams


def streams_of(examples: Iterable[Example]) -> TaskStreams:
    """The streams that examples come from; ValueError where they come from none."""
    if isinstance(examples, TaskStreams):
        return examples
    first = next(iter(examples), None)
    if not isinstance(first, StreamedExample):
        raise ValueError("the training corpus must be a spacy_transfer.TransferCorpus.v1")
    return first.streams


class TaskStreams:
    """The examples of a target task and its sources, each marked with its task and layer.

    The order of a stream depends on the seed, the name of the task and the epoch alone. Examples
    of a corpus that fits the shuffle buffer stay in memory from the first pass on; a larger one is
    read anew in every pass, with at most `shuffle_buffer` of its examples alive. With a similarity,
    those of sources are marked with their weights too, four bytes a sentence, which are found once.
    """

    def __init__(
        self,
        nlp: Language,
        corpora: dict[str, TaskCorpus],
        seed: int,
        shuffle_buffer: int,
        similarity: Similarity | None = None,
    ) -> None:
        self.tasks = list(corpora)
        self._nlp = nlp
        self.corpora = corpora
        self.seed = seed
        self._size = shuffle_buffer
        self._kept: dict[str, list[Example]] = {}
        self._similarity = similarity
        self._weights: dict[str, NDArray[np.float32]] = {}

    def blank(self) -> Example:
        """An example without a token, from which nothing is learned."""
        empty = self._nlp.make_doc("")
        return Example(empty, empty.copy())

    def __iter__(self) -> Iterator[Example]:
        """Every example of every task once, in file order, the target first."""
        for task in self.tasks:
            yield from self._read(task)

    def stream(self, task: str) -> Iterator[tuple[int, Example]]:
        """Examples of `task` without end, as (epoch from 0, example), in a new order each epoch.

        Raises ValueError for a task without a corpus, and as `weights`.
        """
        if task not in self.corpora:
            raise ValueError(f"there is no corpus of task {task!r}: set [corpora.train.{task}]")
        for epoch in itertools.count():
            rng = random.Random(f"{self.seed}/{task}/{epoch}")
            for example in shuffled(self._weighed(task), self._size, rng):
                yield epoch, example

    def weights(self, task: str) -> NDArray[np.float32] | None:
        """The weights of a source's sentences in file order; None where they are all 1.

        Raises ValueError when no sentence is similar to the target at all, and as the similarity.
        """
        if self._similarity is None or task == TARGET:
            return None
        if not self._weights:
            weigh = self._similarity(example.predicted for example in self._read(TARGET))
            for source in self.tasks:
                if source != TARGET:
                    weights = (weigh(example.predicted) for example in self._read(source))
                    self._weights[source] = np.fromiter(weights, dtype=np.float32)
                    _log_weights(source, self._weights[source])
        if not self._weights[task].any():
            raise ValueError(
                f"no sentence of source {task!r} is similar to the target: all weights are 0"
            )
        return self._weights[task]

    def _weighed(self, task: str) -> Iterator[Example]:
        weights = self.weights(task)
        if weights is None:
            yield from self._read(task)
            return
        for example, weight in zip(self._read(task), weights, strict=True):
            mark_weight(example.reference, float(weight))
            yield example

    def _read(self, task: str) -> Iterator[Example]:
        if task in self._kept:
            yield from self._kept[task]
            return
        corpus = self.corpora[task]
        kept: list[Example] | None = []
        for plain in corpus(self._nlp):
            mark(plain.reference, task, corpus.layer)
            example = StreamedExample(plain.predicted, plain.reference)
            example.streams = self
            if kept is not None:
                kept.append(example)
                if len(kept) > self._size:
                    kept = None
            yield example
        if kept is not None:
            self._kept[task] = kept


def _log_weights(source: str, weights: NDArray[np.float32]) -> None:
    low, middle, high = np.quantile(weights, [0.1, 0.5, 0.9])
    logger.info(
        "Weights of %s: 80 %% of %d sentences from %.3f to %.3f, median %.3f, mean %.3f.",
        *(source, len(weights), low, high, middle, weights.mean()),
    )


def shuffled(items: Iterable[Item], size: int, rng: random.Random) -> Iterator[Item]:
    """Shuffle a stream through a buffer of `size` items; up to `size` items in all, fully."""
    buffer: list[Item] = []
    for item in items:
        if len(buffer) < size:
            buffer.append(item)
            continue
        place = rng.randrange(size)
        out, buffer[place] = buffer[place], item
        yield out
    rng.shuffle(buffer)
    while buffer:
        yield buffer.pop()
