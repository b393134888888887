"""The readers of labelled tasks that configs name.

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

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET, mark
from spacy_transfer.corpus.shards import shards
from spacy_transfer.corpus.similarity import Similarity
from spacy_transfer.corpus.streams import TaskStreams
from spacy_transfer.corpus.task_corpus import TaskCorpus, evaluation_examples


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
            for example in evaluation_examples(nlp, file, max_length, limit):
                mark(example.reference, name)
                yield example

    return read


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
    of a batch or read only the first examples, and schedules that have no batch for the MMD.

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
        config = nlp.config.interpolate()
        _check_training(config["training"])
        _check_alpha(config)
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


_ONE_TASK_A_BATCH = tuple(
    f"spacy_transfer.{name}.v1" for name in ("TargetOnly", "SourceOnly", "Alternate")
)


def _check_alpha(config: dict[str, Any]) -> None:
    batcher = config["training"]["batcher"]["@batchers"]
    frozen = config["training"]["frozen_components"]
    for name, component in config["components"].items():
        alpha = component.get("model", {}).get("objective", {}).get("alpha")
        if alpha and name not in frozen and batcher in _ONE_TASK_A_BATCH:
            raise ValueError(
                f"alpha of {name!r} is {alpha:g}, but {batcher} never has source and target in one "
                f"batch for the MMD to compare: use spacy_transfer.Joint.v1, or set alpha to 0 in "
                f"[components.{name}.model.objective]"
            )
