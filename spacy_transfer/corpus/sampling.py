"""Labeling rates: a seeded share of the sentences of a corpus (Yang et al. 2017, section 4.2)."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import DocBin
from spacy.vocab import Vocab

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.shards import read_docs, read_shards


class Counts(NamedTuple):
    """Sentences (documents) and tokens of a sample, and of the corpus it was taken from."""

    sentences: int
    of_sentences: int
    tokens: int
    of_tokens: int


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


def sample_corpus(
    source: Path, output: Path, rate: float, seed: int, rest: Path | None = None
) -> Counts:
    """Write a seeded share of the documents of a `.spacy` file or folder to `output`, in order.

    `rest` takes the documents that are not kept. Nothing is written when anything fails.

    Raises ValueError for a rate outside (0, 1] or outputs that are no two `.spacy` files,
    CorpusError for an input that is no corpus, is empty, or leaves nothing for `rest`.
    """
    check_rate(rate)
    for path in (output, rest):
        if path is not None and path.suffix != ".spacy":
            raise ValueError(f"{path}: expected a file name that ends in .spacy")
    if rest is not None and rest.resolve() == output.resolve():
        raise ValueError(f"{rest}: expected two different files for the sample and the rest")

    attrs: set[int] = set()
    lengths: list[int] = []
    for shard in read_shards(source):
        attrs.update(shard.attrs)
        lengths.extend(len(tokens) for tokens in shard.tokens if len(tokens))
    if not lengths:
        raise CorpusError(source, None, "expected documents to sample from, found none")
    kept = kept_places(len(lengths), rate, seed)
    if rest is not None and len(kept) == len(lengths):
        raise CorpusError(
            source, None, f"rate {rate} keeps all {len(lengths)} documents, none is left for {rest}"
        )

    bins = {path: DocBin(attrs, store_user_data=True) for path in (output, rest) if path}
    for place, doc in enumerate(read_docs(source, Vocab())):
        path = output if place in kept else rest
        if path:
            bins[path].add(doc)
    _write(bins)
    return Counts(len(kept), len(lengths), sum(lengths[place] for place in kept), sum(lengths))


def _write(bins: dict[Path, DocBin]) -> None:
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in bins}
    try:
        for path, docs in bins.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            docs.to_disk(parts[path])
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
