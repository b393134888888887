"""Corpora of labelled tasks, streamed from `.spacy` files.

The config of a target and its sources:

    [corpora.train]
    @readers = "spacy_transfer.TransferCorpus.v1"

    [corpora.train.target]
    @readers = "spacy_transfer.TaskCorpus.v1"
    path = ${paths.target}

    [corpora.train.sources]

    [corpora.train.sources.NAME]
    @readers = "spacy_transfer.TaskCorpus.v1"
    path = ${paths.source}
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus, Example
from spacy.vocab import Vocab

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gold import check_layer, is_annotated
from spacy_transfer.corpus.marks import TARGET, mark, mark_weight
from spacy_transfer.corpus.similarity import Similarity

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


def shards(path: Path) -> list[Path]:
    """The `.spacy` file `path`, or all those in the folder `path` and below, sorted.

    Raises CorpusError when there is none.
    """
    if path.is_dir():
        inside = (file.relative_to(path) for file in path.rglob("*.spacy") if file.is_file())
        visible = [f for f in inside if not any(part.startswith(".") for part in f.parts)]
        if not visible:
            raise CorpusError(path, None, "expected .spacy files in this folder, found none")
        return [path / file for file in sorted(visible)]
    if not path.exists():
        raise CorpusError(path, None, "no such file or folder: expected a corpus in .spacy format")
    if path.suffix != ".spacy":
        raise CorpusError(
            path, None, "expected a .spacy file; `spacy transfer convert` makes one from others"
        )
    return [path]


def read_shards(path: Path) -> Iterator[DocBin]:
    """A `.spacy` file, or those of a folder one by one.

    Raises CorpusError where there is none, and for a file in another format.
    """
    for shard in shards(path):
        try:
            docs = DocBin().from_disk(shard)
        except (ValueError, KeyError, TypeError) as error:
            message = "expected spaCy's .spacy format; the file is of another or damaged"
            raise CorpusError(shard, None, message) from error
        yield docs


def read_docs(path: Path, vocab: Vocab) -> Iterator[Doc]:
    """The documents of a `.spacy` file or a folder of them, without those that have no token."""
    for docs in read_shards(path):
        yield from (doc for doc in docs.get_docs(vocab) if len(doc))


def read_lengths(path: Path) -> Iterator[int]:
    """The lengths in tokens of what `read_docs` reads, without the cost of making it."""
    for docs in read_shards(path):
        yield from (len(tokens) for tokens in docs.tokens if len(tokens))


def check_rate(rate: float) -> None:
    """Raise ValueError unless `rate` is a labeling rate."""
    if not 0 < rate <= 1:
        raise ValueError(f"rate {rate}: expected a share above 0 and up to 1")


def kept_places(count: int, rate: float, seed: int) -> frozenset[int]:
    """Which of `count` sentences a sample of `rate` keeps: rate * count of them, at least one.

    Samples with the same seed are nested: a smaller rate keeps a part of what a larger one keeps.
    (Yang et al. 2017, §4.2)
    """
    places = list(range(count))
    random.Random(seed).shuffle(places)
    return frozenset(places[: max(1, round(rate * count))])


@dataclass(frozen=True)
class TaskCorpus:
    """The labelled examples of one task: calling it with `nlp` streams them in file order.

    A document with unknown spaces keeps its tokens; any other is tokenised by `nlp`, as in
    `spacy.Corpus.v1`, which also says how `max_length` cuts. Corpora with the same
    settings are equal.
    """

    path: Path
    layer: str
    max_length: int
    limit: int
    rate: float
    rate_seed: int

    def __post_init__(self) -> None:
        check_layer(self.layer)
        check_rate(self.rate)
        shards(self.path)

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield every example once.

        Raises CorpusError when a file cannot be read, and at the end when there was no example
        or none with annotation of the layer.
        """
        count, annotated = 0, False
        corpus = Corpus(self.path, max_length=self.max_length)
        for example in corpus.make_examples(nlp, self._kept(read_docs(self.path, nlp.vocab))):
            count += 1
            annotated = annotated or is_annotated(example.reference, self.layer)
            yield example
        if not count:
            raise CorpusError(self.path, None, "expected documents to learn from, found none")
        if not annotated:
            raise CorpusError(
                self.path, None, f"none of {count} documents is annotated in layer {self.layer!r}"
            )

    def lengths(self) -> Iterator[int]:
        """The tokens of each document that it reads, before any is cut."""
        return self._kept(read_lengths(self.path))

    def _kept(self, items: Iterator[Item]) -> Iterator[Item]:
        """What the rate and the limit keep of one item a document."""
        if self.rate < 1:
            count = sum(1 for _ in read_lengths(self.path))
            places = kept_places(count, self.rate, self.rate_seed)
            items = (item for place, item in enumerate(items) if place in places)
        return itertools.islice(items, self.limit or None)


def task_corpus(
    path: Path | None,
    layer: str = "ents",
    max_length: int = 0,
    limit: int = 0,
    rate: float = 1.0,
    rate_seed: int = 0,
) -> TaskCorpus:
    """`spacy_transfer.TaskCorpus.v1`.

    Args:
        path: a `.spacy` file or a folder of them. One file at a time is in memory, whole, about
            1 kB a sentence: a corpus of millions belongs in a folder of shards, as `convert`
            writes it.
        layer: where the gold lives: `ents`, `tag` or `spans:KEY`.
        max_length: documents of this many tokens or more are cut into their sentences where these
            are annotated, left out otherwise; 0 keeps all.
        limit: read the first so many documents only; 0 reads all.
        rate: the labeling rate, a share of the documents (see `kept_places`).
        rate_seed: which ones; `spacy transfer sample` keeps the same.

    Raises ValueError without a path, for an unknown layer, or for a rate that is none, CorpusError
    when there is no corpus.
    """
    if path is None:
        raise ValueError(
            "a corpus has no path: set it in [paths] of the config or on the command line, "
            "as in --paths.target FILE.spacy"
        )
    return TaskCorpus(Path(path), layer, max_length, limit, rate, rate_seed)


def dev_corpus(
    path: Path | None,
    layer: str = "ents",
    max_length: int = 0,
    limit: int = 0,
    sources: dict[str, Path | None] | None = None,
) -> Callable[[Language], Iterator[Example]]:
    """The registered reader `spacy_transfer.DevCorpus.v1`: examples to evaluate on.

    path, layer, max_length and limit are those of `task_corpus`. sources: a `.spacy` file of each
    source, by its name, to see how well it is still tagged, or none. Their examples are marked, and
    components score them apart; each is read up to the limit as well.

    Raises ValueError and CorpusError as `task_corpus`.
    """
    target = task_corpus(path, layer, max_length, limit)
    files = {name: Path(file) for name, file in (sources or {}).items() if file is not None}
    for file in files.values():
        shards(file)

    def read(nlp: Language) -> Iterator[Example]:
        yield from target(nlp)
        for name, file in files.items():
            yield from source_examples(name, file, nlp, max_length, limit)

    return read


def source_examples(
    name: str, path: Path, nlp: Language, max_length: int = 0, limit: int = 0
) -> Iterator[Example]:
    """The examples of a `.spacy` file or a folder of them, marked as those of a source.

    CorpusError where there is none that can be read.
    """
    count = 0
    docs = itertools.islice(read_docs(path, nlp.vocab), limit or None)
    for example in Corpus(path, max_length=max_length).make_examples(nlp, docs):
        mark(example.reference, name)
        count += 1
        yield example
    if not count:
        raise CorpusError(path, None, "expected documents to evaluate on, found none")


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


def transfer_corpus(
    target: TaskCorpus | None = None,
    sources: dict[str, Any] | None = None,  # of TaskCorpus: configs are type-checked unresolved
    seed: int = 0,
    shuffle_buffer: int = 10_000,
    similarity: Similarity | None = None,
) -> Callable[[Language], TaskStreams]:
    """`spacy_transfer.TransferCorpus.v1`.

    Args:
        target: the corpus of the target task, none where it has no labels.
        sources: those of the source tasks, by name.
        seed: of the order of examples.
        shuffle_buffer: how many examples a task may keep in memory to shuffle.
        similarity: weighs the loss of each source sentence by how similar it is to the target (see
            `corpus/similarity.py`); without it, all weigh the same.

    What it gives refuses, with a ValueError, settings of `[training]` that would part the examples
    of a batch or read only the first examples.

    Raises ValueError for a source that is named like the target or is not a task corpus, for no
    corpus at all, for a similarity to no target, and for an empty buffer.
    """
    corpora = {**({} if target is None else {TARGET: target}), **(sources or {})}
    if not corpora:
        raise ValueError("expected [corpora.train.target] or [corpora.train.sources], found none")
    if similarity is not None and target is None:
        raise ValueError("[corpora.train.similarity] is to the target: set [corpora.train.target]")
    if TARGET in (sources or {}):
        raise ValueError(f"a source cannot be named {TARGET!r}: choose another name")
    for name, corpus in corpora.items():
        if not isinstance(corpus, TaskCorpus):
            raise ValueError(f"{name}: expected a spacy_transfer.TaskCorpus.v1, got {corpus!r}")
    if shuffle_buffer < 1:
        raise ValueError(f"shuffle_buffer must be 1 or more, got {shuffle_buffer}")

    def streams(nlp: Language) -> TaskStreams:
        _check_training(nlp.config.interpolate()["training"])
        return TaskStreams(nlp, corpora, seed, shuffle_buffer, similarity)

    return streams


def _check_training(settings: dict[str, Any]) -> None:
    # Here, because every loop opens the corpus, before it has written anything.
    if settings["accumulate_gradient"] != 1:
        raise ValueError(
            "training.accumulate_gradient must be 1: dividing a batch would part the source and "
            "target sentences that belong together"
        )
    if settings["max_epochs"] < 0:
        raise ValueError(
            "training.max_epochs must be 0 (no limit) or more: labels and words are read from all "
            "examples, and `spacy transfer train` streams corpora larger than memory with any value"
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
