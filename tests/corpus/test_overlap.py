"""Each number against one that is counted by hand."""

from __future__ import annotations

from collections import Counter
from math import log

import numpy as np
import pytest

from spacy_transfer.corpus.overlap import (
    known_share,
    label_agreement,
    matched_share,
    ngram_divergence,
    repeated_sentences,
    word_coverage,
)
from tests.corpus.labelled import labelled

TARGET = labelled(
    "Ann/person met bo/person in Rome/place",
    "ann/person left rome/place may/person",
    "rome/team won rome/place",
)
SOURCE = labelled("Ann/PER may go to ROME/LOC", "Rome/ORG may leave", "May/PER", "Bo_Jo/PER bo/?")
PAIRS = {"person": "PER", "place": "LOC"}


def test_word_coverage() -> None:
    target, source = labelled("A b", "a C", "a b"), labelled("a c x")
    # a is in all three sentences, b in two, c in one; b is what the source lacks.
    weights = {"a": 3 * log(1 + 3 / 3), "b": 2 * log(1 + 3 / 2), "c": log(1 + 3 / 1)}
    expected = (weights["a"] + weights["c"]) / sum(weights.values())
    assert word_coverage(target, source) == pytest.approx(expected, rel=1e-12)
    assert word_coverage(target, target) == 1.0
    assert word_coverage(target, labelled("x")) == 0.0


def entropy(shares: list[float]) -> float:
    return -sum(share * float(np.log2(share)) for share in shares if share)


def test_ngram_divergence() -> None:
    p = Counter(["^ab", "ab$", "^AB", "AB$", "^c$"])
    p = Counter(gram.lower() for gram in p.elements())
    q = Counter(["^ab", "abb", "bb$"])
    grams = sorted(p | q)
    of_p, of_q = ([c[g] / c.total() for g in grams] for c in (p, q))
    middle = [(a + b) / 2 for a, b in zip(of_p, of_q, strict=True)]
    expected = entropy(middle) - (entropy(of_p) + entropy(of_q)) / 2
    target, source = labelled("ab AB", "c"), labelled("abb")
    assert ngram_divergence(target, source) == pytest.approx(expected, rel=1e-12)
    assert ngram_divergence(source, target) == pytest.approx(expected, rel=1e-12)
    assert ngram_divergence(target, target) == pytest.approx(0.0, abs=1e-12)
    assert ngram_divergence(target, labelled("xyz")) == pytest.approx(1.0, abs=1e-12)


def test_shares_of_spans() -> None:
    # person 4, place 3, team 1
    assert matched_share(TARGET, PAIRS) == 7 / 8
    assert matched_share(TARGET, {}) == 0.0
    # ann 2, may 1, rome 4; the source does not annotate bo
    assert known_share(TARGET, SOURCE) == 7 / 8


def test_label_agreement() -> None:
    # ann: 2 spans, all PER; may: 1, all PER; rome: 4 spans, 3 of them place, LOC or ORG by halves
    assert label_agreement(TARGET, SOURCE.strings, PAIRS) == pytest.approx((2 + 1 + 3 / 2) / 7)
    # May is PER in one of three places; bo's are unknown or within another span.
    places = SOURCE.occurrences(TARGET.strings)
    assert label_agreement(TARGET, places, PAIRS) == pytest.approx((2 + 1 / 3 + 3 / 2) / 7)
    assert label_agreement(TARGET, labelled("x/PER").strings, PAIRS) is None


def test_repeated_sentences() -> None:
    target = labelled("a/x b", "a b", "A b", "c")
    assert repeated_sentences(target, labelled("a b/y", "c d", "x")) == 2
