"""MMD in loops, and whose vectors it is of."""

from __future__ import annotations

from itertools import combinations, permutations, product
from math import exp
from statistics import fmean, median

import numpy as np
import pytest
import spacy
from spacy.vectors import Vectors

from spacy_transfer.evaluation import discrepancy
from spacy_transfer.evaluation.discrepancy import (
    Floats,
    SpanDiscrepancy,
    median_width,
    mmd2,
    span_vectors,
)
from tests.corpus.labelled import labelled

WORDS = {"ann": [0, 1], "bo": [1, 1], "cy": [3, 0], "rome": [5, 2], "oslo": [5, 4], "x0": [9, 9]}
PAIRS = {"person": "PER", "place": "LOC"}


@pytest.fixture
def vectors() -> Vectors:
    strings = spacy.blank("xx").vocab.strings
    keys = [strings.add(word) for word in WORDS]
    return Vectors(strings=strings, data=np.array([*WORDS.values()], dtype=np.float32), keys=keys)


def slow_mmd2(x: Floats, y: Floats, width: float) -> float:
    def kernel(a: Floats, b: Floats) -> float:
        return exp(-sum((i - j) ** 2 for i, j in zip(a, b, strict=True)) / (2 * width))

    within = sum(fmean(kernel(a, b) for a, b in permutations(z, 2)) for z in (x, y))
    return within - 2 * fmean(kernel(a, b) for a, b in product(x, y))


@pytest.mark.parametrize(("n", "m"), [(2, 5), (6, 3)])
def test_mmd2(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 4)), rng.normal(1.0, size=(m, 4))
    assert mmd2(x, y, 3.0) == pytest.approx(slow_mmd2(x, y, 3.0), abs=1e-12)


def test_mmd2_has_no_bias_for_sizes() -> None:
    rng = np.random.default_rng(0)
    for size in (4, 40):
        drawn = [
            mmd2(rng.normal(size=(20, 2)), rng.normal(size=(size, 2)), 1.0) for _ in range(300)
        ]
        error = float(np.std(drawn)) / len(drawn) ** 0.5
        assert abs(fmean(drawn)) < 3 * error < 0.03


def test_two_samples_are_needed() -> None:
    with pytest.raises(ValueError, match="two samples on both sides, got 1 and 2"):
        mmd2(np.zeros((1, 2)), np.zeros((2, 2)), 1.0)


def test_spans_are_means_of_words(vectors: Vectors) -> None:
    text = labelled("Ann_CY/person in Rome/place", "X7/code", "bo_unknown/person", "unknown/place")
    found = span_vectors(text, vectors)
    people = sorted(found["person"].tolist())
    assert people == [[1.0, 1.0], [1.5, 0.5]]
    assert found["place"].tolist() == [[5.0, 2.0]]
    assert found["code"].tolist() == [[9.0, 9.0]]  # digits are looked up as 0, as by the tagger


def test_of_many_spans_some_are_drawn(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrepancy, "DRAWN", 3)
    text = labelled("ann/p bo/p cy/p rome/p oslo/p", "ann/q")
    drawn = [span_vectors(text, vectors, seed)["p"].tolist() for seed in (0, 0, 1)]
    assert len(drawn[0]) == 3
    assert drawn[0] == drawn[1] != drawn[2]
    assert median_width({"p": np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])}) == 4.0  # of 0, 2, 4


def test_discrepancy_of_matched_labels(vectors: Vectors) -> None:
    target = labelled("ann/person bo/person cy/person", "rome/place oslo/place", "x0/code ann/code")
    source = labelled("bo/PER bo/PER cy/PER", "rome/LOC ann/LOC", "x0/CODE")
    rows = {
        y: np.array([WORDS[w] for w in ws.split()])
        for y, ws in {
            "person": "ann bo cy",
            "place": "rome oslo",
            "PER": "bo bo cy",
            "LOC": "rome ann",
        }.items()
    }
    spans = [WORDS[word] for word in ["ann", "bo", "cy", "rome", "oslo", "x0", "ann"]]
    width = median(
        sum((i - j) ** 2 for i, j in zip(a, b, strict=True)) for a, b in combinations(spans, 2)
    )
    people = slow_mmd2(rows["person"], rows["PER"], width)
    places = slow_mmd2(rows["place"], rows["LOC"], width)
    of = SpanDiscrepancy(target, vectors)
    assert of(source, PAIRS) == pytest.approx((3 * people + 2 * places) / 5, abs=1e-12)
    # One span is too few.
    assert of(source, {**PAIRS, "code": "CODE"}) == of(source, PAIRS)
    assert of(source, {"code": "CODE"}) is None
    assert of(labelled("none/PER"), PAIRS) is None
    assert SpanDiscrepancy(labelled("ann/person ann/person"), vectors)(source, PAIRS) is None
