"""Each similarity against its definition, and what it says where there is none."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import spacy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vectors import Vectors

from spacy_transfer.corpus.similarity import (
    NGramModel,
    Similarity,
    cross_entropy,
    gaussian_kernel,
    polynomial_kernel,
)

Mean = NDArray[np.float64]

TARGET = ["a b a c", "B b a", "c", "a b d"]
SOURCE = ["a b", "b a d", "x y", "a x c", "A B a c", "d"]
WORDS = ["a", "b", "c", "d", "D"]
VECTORS = np.random.default_rng(0).normal(size=(len(WORDS), 3)).astype(np.float32)
KERNELS = {"gaussian": gaussian_kernel(), "polynomial": polynomial_kernel()}


def docs(nlp: Language, texts: list[str]) -> list[Doc]:
    return [Doc(nlp.vocab, words=text.split()) for text in texts]


def weights(nlp: Language, similarity: Similarity) -> list[float]:
    weigh = similarity(iter(docs(nlp, TARGET)))
    return [weigh(doc) for doc in docs(nlp, SOURCE)]


@pytest.fixture
def with_vectors(nlp: Language) -> Language:
    """A pipeline with vectors of some words."""
    keys = [nlp.vocab.strings.add(word) for word in WORDS]
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=VECTORS, keys=keys)
    return nlp


def grams(texts: list[str], length: int) -> list[tuple[str, ...]]:
    """All n-grams of one length, with as many empty words before each text as they need."""
    found = []
    for text in texts:
        words = [""] * (length - 1) + text.lower().split()
        found += [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    return found


def witten_bell(texts: list[str], gram: tuple[str, ...], left_out: int = 0) -> float:
    """P(the last word | the others), counted anew for every question."""
    if not gram:
        return 1 / (1 + len(set(grams(texts, 1))))
    same_history = [g for g in grams(texts, len(gram)) if g[:-1] == gram[:-1]]
    if left_out:
        same_history.remove(gram)
    backed_off = witten_bell(texts, gram[1:], left_out)
    types = len(set(same_history))
    if not same_history:
        return backed_off
    return (Counter(same_history)[gram] + types * backed_off) / (len(same_history) + types)


def entropy(gram_probabilities: list[float]) -> float:
    return -sum(map(math.log, gram_probabilities)) / len(gram_probabilities)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_cross_entropy(nlp: Language, order: int) -> None:
    own = entropy([witten_bell(TARGET, gram, left_out=1) for gram in grams(TARGET, order)])
    expected = []
    for text in SOURCE:
        of_text = entropy([witten_bell(TARGET, gram) for gram in grams([text], order)])
        expected.append(min(1.0, own / of_text))
    found = weights(nlp, cross_entropy(order))
    assert found == pytest.approx(expected, rel=1e-9)
    assert found[SOURCE.index("x y")] < found[SOURCE.index("a b")] == 1.0


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_add_up(nlp: Language, order: int) -> None:
    model = NGramModel(docs(nlp, TARGET), order)
    unknown, *words = [nlp.vocab.strings.add(word) for word in ("x", "a", "b", "c", "d")]
    for history in ([0, 0], [0, words[0]], [words[1], words[0]], [words[3], unknown]):
        given = tuple(history[3 - order :])
        total = sum(model.probability(word, given) for word in (unknown, *words))
        assert total == pytest.approx(1.0, abs=1e-9)


def means(texts: list[str]) -> list[Mean | None]:
    found: list[Mean | None] = []
    for text in texts:
        rows = [
            WORDS.index(form)
            for word in text.split()
            for form in [word if word in WORDS else word.lower()]
            if form in WORDS
        ]
        found.append(VECTORS[rows].astype(np.float64).mean(axis=0) if rows else None)
    return found


@pytest.mark.parametrize("sigma", [None, 0.3, 2.0])
def test_gaussian_kernel(with_vectors: Language, sigma: float | None) -> None:
    target = np.stack([mean for mean in means(TARGET) if mean is not None])
    center = target.mean(axis=0)
    squares = [np.sum((mean - center) ** 2) for mean in target]
    variance = sigma**2 if sigma else sum(squares) / len(squares)
    expected = [
        0.0 if mean is None else math.exp(-np.sum((mean - center) ** 2) / (2 * variance))
        for mean in means(SOURCE)
    ]
    assert weights(with_vectors, gaussian_kernel(sigma)) == pytest.approx(expected, rel=1e-9)
    assert expected.count(0.0) == 1


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_polynomial_kernel(with_vectors: Language, degree: int) -> None:
    center = np.mean([mean for mean in means(TARGET) if mean is not None], axis=0)
    expected = []
    for mean in means(SOURCE):
        cosine = 0.0 if mean is None else mean @ center / math.sqrt(mean @ mean * (center @ center))
        expected.append(max(0.0, cosine) ** degree)
    found = weights(with_vectors, polynomial_kernel(degree))
    assert found == pytest.approx(expected, rel=1e-9)
    opposite = Doc(with_vectors.vocab, words=["D"])
    with_vectors.vocab.vectors.data[WORDS.index("D")] = -center
    assert polynomial_kernel(degree)(docs(with_vectors, TARGET))(opposite) == 0.0


@pytest.mark.parametrize("similarity", [*KERNELS.values(), cross_entropy()])
def test_the_target_has_the_highest_weight(with_vectors: Language, similarity: Similarity) -> None:
    target = docs(with_vectors, ["a b", "a c"])
    together = Doc(with_vectors.vocab, words=["a", "b", "a", "c"])
    assert similarity(target)(together) == pytest.approx(1.0, abs=1e-12)
    assert similarity(target)(Doc(with_vectors.vocab, words=["d"])) < 0.99
    assert 0.0 <= similarity(target)(Doc(with_vectors.vocab, words=[])) <= 1.0


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_need_vectors(nlp: Language, with_vectors: Language, kernel: str) -> None:
    with pytest.raises(ValueError, match="no word of the target has a vector"):
        KERNELS[kernel](docs(with_vectors, ["x y"]))
    with pytest.raises(ValueError, match=r"the pipeline has none: set .*CrossEntropy\.v1"):
        KERNELS[kernel](docs(spacy.blank("xx"), TARGET))


def test_settings_that_cannot_be(with_vectors: Language) -> None:
    with pytest.raises(ValueError, match="order must be 1 or more, got 0"):
        cross_entropy(0)
    with pytest.raises(ValueError, match="degree must be 1 or more, got 0"):
        polynomial_kernel(0)
    with pytest.raises(ValueError, match=r"sigma must be above 0, got -1\.0"):
        gaussian_kernel(-1.0)
    with pytest.raises(ValueError, match="one and the same mean vector: set sigma"):
        gaussian_kernel()(docs(with_vectors, ["a b"]))


def test_registered_names() -> None:
    for name, function in {
        "CrossEntropy": cross_entropy,
        "GaussianKernel": gaussian_kernel,
        "PolynomialKernel": polynomial_kernel,
    }.items():
        assert registry.misc.get(f"spacy_transfer.{name}.v1") is function
