"""What two labelled corpora have in common, in numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from spacy_transfer.corpus.labelled import LabelCounts, LabelledText


def word_coverage(target: LabelledText, source: LabelledText) -> float:
    """The share of the target's words, in lower case, that the source has.

    The target vocabulary covered of Dai et al. 2019, with weights in the place of their list of
    content words, so that no tagger is needed: a word weighs its frequency times log(1 + N / n), of
    the target's N sentences n having the word.
    """
    containing = Counter(
        word for sentence in target.sentences for word in {word.lower() for word in sentence.words}
    )
    n = len(target.sentences)
    weights = {
        word: count * math.log(1 + n / containing[word]) for word, count in target.words.items()
    }
    covered = math.fsum(weight for word, weight in weights.items() if word in source.words)
    return covered / math.fsum(weights.values())


def ngram_divergence(target: LabelledText, source: LabelledText, n: int = 3) -> float:
    """The Jensen-Shannon divergence, in bits, of the distributions of character n-grams.

    Those of words in lower case between two boundary signs. (Ruder & Plank 2017 take that of words
    to select data.) 0 says that they are the same, 1 that they have no n-gram in common.
    """
    p, q = _ngrams(target.words, n), _ngrams(source.words, n)
    return math.fsum(
        share * math.log2(share / (share + other.get(gram, 0.0))) / 2 + share / 2
        for mine, other in ((p, q), (q, p))
        for gram, share in mine.items()
    )


def repeated_sentences(target: LabelledText, source: LabelledText) -> int:
    """How many sentences of the target the source has too, word for word."""
    theirs = {tuple(sentence.words) for sentence in source.sentences}
    return sum(tuple(sentence.words) in theirs for sentence in target.sentences)


def matched_share(target: LabelledText, pairs: Mapping[str, str]) -> float:
    """The share of the target's spans whose label is matched."""
    return sum(target.labels[label] for label in pairs) / target.labels.total()


def known_share(target: LabelledText, source: LabelledText) -> float:
    """The share of the target's spans whose string the source annotates too, with any label."""
    known = sum(
        target.strings[string].total() for string in source.strings if string in target.strings
    )
    return known / target.labels.total()


def label_agreement(
    target: LabelledText, found: LabelCounts, pairs: Mapping[str, str]
) -> float | None:
    """The chance that a span of the target and its string in the source have matched labels.

    found: what the source says of some strings of the target: its annotations
    (`LabelledText.strings`), or all places in its text (`LabelledText.occurrences`). Strings weigh
    by their frequency as spans of the target; any it does not annotate are passed over. None when
    no string is left.
    """
    weights = agreeing = 0.0
    for string, theirs in found.items():
        ours = target.strings.get(string)
        if ours is not None:
            weights += ours.total()
            # Of the target's spans with the string, times the chance for each of their labels.
            agreeing += (
                sum(count * theirs[pairs[label]] for label, count in ours.items() if label in pairs)
                / theirs.total()
            )
    return agreeing / weights if weights else None


def _ngrams(words: Mapping[str, int], n: int) -> dict[str, float]:
    counts = Counter[str]()
    for word, count in words.items():
        for gram in _grams_of(f"\x02{word}\x03", n):
            counts[gram] += count
    total = counts.total()
    return {gram: count / total for gram, count in counts.items()}


def _grams_of(text: str, n: int) -> Iterator[str]:
    """All n-grams of a text; a shorter text is one."""
    for start in range(max(1, len(text) - n + 1)):
        yield text[start : start + n]
