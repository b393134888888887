"""The labelled examples of one task."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spacy.language import Language
from spacy.training import Corpus, Example

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gold import check_layer, is_annotated
from spacy_transfer.corpus.sampling import check_rate, kept_places
from spacy_transfer.corpus.shards import read_docs, read_lengths, shards

Item = TypeVar("Item")


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
