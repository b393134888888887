"""The labelled examples of one task."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Corpus, Example

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gold import check_layer, is_annotated
from spacy_transfer.corpus.sampling import check_rate, kept_places
from spacy_transfer.corpus.shards import read_docs, read_lengths, shards

Item = TypeVar("Item")


def make_examples(nlp: Language, docs: Iterable[Doc], max_length: int = 0) -> Iterator[Example]:
    """Examples as `spacy.Corpus.v1` makes them.

    Documents of `max_length` tokens or more are cut into their sentences, which keep the spans that
    lie within them, where sentences are annotated; else, and sentences that are as long, are left
    out. 0 keeps all.
    """
    pieces = (piece for doc in docs for piece in _pieces(doc, max_length))
    yield from Corpus("").make_examples(nlp, pieces)


def evaluation_examples(
    nlp: Language, path: Path, max_length: int = 0, limit: int = 0
) -> Iterator[Example]:
    """The examples of a `.spacy` file or a folder of them, whatever they are annotated with.

    CorpusError where there is none that can be read.
    """
    count = 0
    docs = itertools.islice(read_docs(path, nlp.vocab), limit or None)
    for example in make_examples(nlp, docs, max_length):
        count += 1
        yield example
    if not count:
        raise CorpusError(path, None, "expected documents to evaluate on, found none")


def _pieces(doc: Doc, max_length: int) -> Iterator[Doc]:
    if not max_length or len(doc) < max_length:
        yield doc
    elif doc.has_annotation("SENT_START"):
        for sentence in doc.sents:
            if len(sentence) < max_length:
                piece = sentence.as_doc()
                for key, group in doc.spans.items():  # spaCy leaves these out
                    piece.spans[key] = [
                        Span(piece, s.start - sentence.start, s.end - sentence.start, s.label)
                        for s in group
                        if sentence.start <= s.start and s.end <= sentence.end
                    ]
                yield piece


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
        docs = self._kept(read_docs(self.path, nlp.vocab))
        for example in make_examples(nlp, docs, self.max_length):
            count += 1
            annotated = annotated or is_annotated(example.reference, self.layer)
            yield example
        if not count:
            raise CorpusError(self.path, None, "expected documents, found none")
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
