"""A labelled corpus in memory, without spaCy's documents: what comparing corpora needs of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc

from spacy_transfer.corpus.convert import read_labelled
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gold import annotated_spans
from spacy_transfer.corpus.sampling import kept_places
from spacy_transfer.corpus.schemes import SchemeDetector, Span
from spacy_transfer.corpus.terms import term_key

NOTHING = ""
"""In the place of a label: the text is not annotated there."""

LabelCounts = dict[str, Counter[str]]
"""How often each string, by its `term_key`, has each label."""


class Sentence(NamedTuple):
    """Words, what is annotated, and the tokens of which that is not known."""

    words: list[str]
    spans: list[Span]
    unknown: list[int]

    @property
    def taken(self) -> set[int]:
        """The tokens that are annotated, or of which that is not known."""
        return set(self.unknown).union(*(range(start, end) for start, end, _ in self.spans))


class LabelledText:
    """The sentences (documents) of a corpus that are annotated in a layer.

    Attributes:
        name: of the corpus, for a reader to see.
        sentences: all that is known of it.
    """

    def __init__(self, name: str, sentences: list[Sentence]) -> None:
        self.name = name
        self.sentences = sentences

    @cached_property
    def words(self) -> Counter[str]:
        """How often each word occurs, in lower case."""
        return Counter(word.lower() for sentence in self.sentences for word in sentence.words)

    @cached_property
    def labels(self) -> Counter[str]:
        """How many spans, or tokens in the layer `tag`, each label has; the most frequent first."""
        counts = Counter(label for sentence in self.sentences for _, _, label in sentence.spans)
        return Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))

    @cached_property
    def strings(self) -> LabelCounts:
        """How often each annotated string has each label."""
        found: LabelCounts = defaultdict(Counter)
        for words, spans, _ in self.sentences:
            for start, end, label in spans:
                found[term_key(" ".join(words[start:end]))][label] += 1
        return dict(found)

    def occurrences(self, strings: Collection[str]) -> LabelCounts:
        """How often each of these strings has each label wherever it is in the text.

        NOTHING counts the places where none of its tokens is annotated. A place where the
        annotation has other boundaries, or is not known, says nothing.
        """
        wanted = set(strings)
        beginnings = {string[:end] for string in wanted for end in range(1, len(string) + 1)}
        found: LabelCounts = defaultdict(Counter)
        for sentence in self.sentences:
            lower = [term_key(word) for word in sentence.words]
            at = {(start, end): label for start, end, label in sentence.spans}
            taken = sentence.taken
            for start in range(len(lower)):
                text = ""
                for end in range(start + 1, len(lower) + 1):
                    text += lower[end - 1]
                    if text not in beginnings:
                        break
                    if text not in wanted:
                        continue
                    if (start, end) in at:
                        found[text][at[start, end]] += 1
                    elif taken.isdisjoint(range(start, end)):
                        found[text][NOTHING] += 1
        return dict(found)


def read_labelled_text(
    path: Path, layer: str, *, limit: int = 0, seed: int = 0, lang: str = "en", name: str = ""
) -> LabelledText:
    """Read a corpus of any format that `convert` takes.

    limit: keep a seeded sample of so many sentences, 0 keeps all. lang: whose tokenizer splits JSON
    lines without tokens. name: by default the path.

    Raises CorpusError for bad input, and where nothing is annotated in the layer.
    """
    detector, skipped = SchemeDetector(path, None), Counter[str]()
    sentences = []
    try:
        for doc in read_labelled(path, layer, detector, skipped, lang=lang):
            if len(doc):
                sentences.append(_sentence(doc, layer))
    except OSError as error:
        raise CorpusError(path, None, f"cannot be read: {error.strerror}") from error
    if limit and limit < len(sentences):
        kept = kept_places(len(sentences), limit / len(sentences), seed)
        sentences = [sentences[place] for place in sorted(kept)]
    if not any(sentence.spans for sentence in sentences):
        found = f"nothing annotated in {len(sentences)} sentences" if sentences else "none"
        raise CorpusError(path, None, f"expected sentences with {layer}, found {found}")
    return LabelledText(name or str(path), sentences)


def _sentence(doc: Doc, layer: str) -> Sentence:
    words = [token.text for token in doc]
    if layer == "tag":
        spans = [(token.i, token.i + 1, token.tag_) for token in doc if token.tag]
        return Sentence(words, spans, [token.i for token in doc if not token.tag])
    spans = [(span.start, span.end, span.label_) for span in annotated_spans(doc, layer)]
    of_ents = layer == "ents"
    return Sentence(words, spans, [t.i for t in doc if of_ents and not t.ent_iob])
