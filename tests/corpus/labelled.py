"""Labelled corpora made by hand."""

from __future__ import annotations

from spacy_transfer.corpus.labelled import LabelledText, Sentence


def labelled(*sentences: str) -> LabelledText:
    """Sentences of words `token`, `token/LABEL`, or `token/?` where that is not known."""
    return LabelledText("text", [_sentence(sentence) for sentence in sentences])


def _sentence(sentence: str) -> Sentence:
    words: list[str] = []
    spans, unknown = [], []
    for part in sentence.split():
        text, _, label = part.partition("/")
        start = len(words)
        words += text.split("_")
        if label == "?":
            unknown.append(start)
        elif label:
            spans.append((start, len(words), label))
    return Sentence(words, spans, unknown)
