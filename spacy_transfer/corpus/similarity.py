"""How similar a source sentence is to the target corpus: its weight in CD-learning.

He & Sun (2017) scale the learning rate of each source sentence by its similarity to the target,
which they measure in three ways. All three are weights from 0 to 1 here, where 1 is the target's
own rate. So the kernels need no constant beside them, as in the weights that the authors published
with the code of their later paper (Xu et al. 2018: for the polynomial kernel, the squared cosine).
Cross-entropy, which falls as similarity rises, divides that of the target itself.

    [corpora.train.similarity]
    @misc = "spacy_transfer.CrossEntropy.v1"
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import LOWER, ORTH
from spacy.tokens import Doc

Weigh: TypeAlias = Callable[[Doc], float]
Similarity: TypeAlias = Callable[[Iterable[Doc]], Weigh]
"""From the sentences of the target to what weighs a source sentence."""

Vector: TypeAlias = NDArray[np.float64]
Gram: TypeAlias = tuple[int, ...]


def cross_entropy(order: int = 2) -> Similarity:
    """`spacy_transfer.CrossEntropy.v1`: min(1, H / H(x)), where H(x) is the cross-entropy of the
    sentence x under the target's n-gram model, and H that of the target's own words, each left out
    of the model in its turn. It needs no vectors.

    Args:
        order: the length of the n-grams. ValueError for one below 1.
    """
    if order < 1:
        raise ValueError(f"order must be 1 or more, got {order}")

    def fit(target: Iterable[Doc]) -> Weigh:
        model = NGramModel(target, order)
        own = model.own_cross_entropy()
        return lambda doc: own / max(own, model.cross_entropy(doc))

    return fit


def gaussian_kernel(sigma: float | None = None) -> Similarity:
    """`spacy_transfer.GaussianKernel.v1`: exp(-|v(x) - v|^2 / (2 sigma^2)), where v(x) is the mean
    of the word vectors of the sentence x, and v the mean of v(x) over the target's sentences.

    Args:
        sigma: the width of the kernel, in the unit of the vectors; by default the root mean square
            distance of the target's own sentences from v, whatever the scale of the vectors.

    ValueError for a width that is not above 0, given or found, and as for all word vectors.
    """
    if sigma is not None and not sigma > 0:
        raise ValueError(f"sigma must be above 0, got {sigma}")

    def fit(target: Iterable[Doc]) -> Weigh:
        center, spread = _center(target)
        width = sigma or spread
        if not width > 0:
            raise ValueError("the target's sentences have one and the same mean vector: set sigma")
        return _of_mean(lambda mean: math.exp(-np.square(mean - center).sum() / (2 * width**2)))

    return fit


def polynomial_kernel(degree: int = 2) -> Similarity:
    """`spacy_transfer.PolynomialKernel.v1`: cos(v(x), v)^degree of the mean vectors that
    `gaussian_kernel` describes; 0 where the cosine is negative.

    ValueError for a degree below 1, and as for all word vectors.
    """
    if degree < 1:
        raise ValueError(f"degree must be 1 or more, got {degree}")

    def fit(target: Iterable[Doc]) -> Weigh:
        center, _ = _center(target)
        norm = np.linalg.norm(center)

        def kernel(mean: Vector) -> float:
            norms = norm * np.linalg.norm(mean)
            cosine = float(mean @ center / norms) if norms else 0.0
            return min(1.0, max(0.0, cosine)) ** degree

        return _of_mean(kernel)

    return fit


class NGramModel:
    """P(word | the words before it) in a corpus, in lower case, with Witten & Bell's smoothing:

    P(w | h) = (c(h w) + t(h) P(w | h')) / (c(h) + t(h))

    where t(h) counts the distinct words after the history h, and h' is h without its first word.
    Below the empty history, all words of the corpus and the unknown word are equally likely.
    """

    def __init__(self, docs: Iterable[Doc], order: int) -> None:
        self._order = order
        self._counts: defaultdict[Gram, Counter[int]] = defaultdict(Counter)
        for doc in docs:
            for history, word in self._grams(doc):
                for start in range(order):
                    self._counts[history[start:]][word] += 1
        self._totals = {history: counts.total() for history, counts in self._counts.items()}

    def probability(self, word: int, history: Gram, left_out: int = 0) -> float:
        """P(word | history) by their hashes, with one occurrence of both left out, or none."""
        found = 1 / (1 + len(self._counts.get((), ())))
        for start in range(len(history), -1, -1):
            counts = self._counts.get(history[start:])
            if counts is None:
                break  # nor is there a longer history
            count = counts[word] - left_out
            types = len(counts) - (left_out and not count)
            if total := self._totals[history[start:]] - left_out + types:
                found = (count + types * found) / total
        return found

    def cross_entropy(self, doc: Doc) -> float:
        """The mean of -log P over the words of a sentence, in nats; 0 of an empty one."""
        logs = [math.log(self.probability(word, history)) for history, word in self._grams(doc)]
        return -sum(logs) / max(1, len(logs))

    def own_cross_entropy(self) -> float:
        """The mean of -log P over the words of the corpus, each one left out in its turn."""
        logs = [
            count * math.log(self.probability(word, history, left_out=1))
            for history, counts in self._counts.items()
            if len(history) == self._order - 1
            for word, count in counts.items()
        ]
        return -sum(logs) / self._totals[()]

    def _grams(self, doc: Doc) -> Iterator[tuple[Gram, int]]:
        words = [0] * (self._order - 1) + doc.to_array(LOWER).tolist()  # 0 is the hash of no word
        for end in range(self._order - 1, len(words)):
            yield tuple(words[end - self._order + 1 : end]), words[end]


def mean_vector(doc: Doc) -> Vector | None:
    """The mean of the pipeline's vectors of the words of `doc`, as they are written or in lower
    case; None where no word has one.

    ValueError when the pipeline has no vectors.
    """
    vectors = doc.vocab.vectors
    if not vectors.shape[0]:
        raise ValueError(
            "this similarity compares word vectors, and the pipeline has none: set [initialize] "
            "vectors, as in --paths.vectors FOLDER, or use spacy_transfer.CrossEntropy.v1"
        )
    row_of = vectors.key2row
    rows = [
        row_of.get(word, row_of.get(lower, -1))
        for word, lower in doc.to_array([ORTH, LOWER]).tolist()
    ]
    data = vectors.data[[row for row in rows if row >= 0]]
    if not len(data):
        return None
    mean: Vector = np.mean(data.get() if hasattr(data, "get") else data, axis=0, dtype=np.float64)
    return mean


def _center(target: Iterable[Doc]) -> tuple[Vector, float]:
    """The mean of the target's mean vectors, and their root mean square distance from it."""
    count, total, squares = 0, np.zeros(1), 0.0
    for doc in target:
        if (mean := mean_vector(doc)) is not None:
            count, total, squares = count + 1, total + mean, squares + float(mean @ mean)
    if not count:
        raise ValueError("no word of the target has a vector: are they of another language?")
    center = total / count
    return center, math.sqrt(max(0.0, squares / count - float(center @ center)))


def _of_mean(kernel: Callable[[Vector], float]) -> Weigh:
    """Weigh a sentence by its mean vector; one that has none is not known to be similar: 0."""

    def weigh(doc: Doc) -> float:
        mean = mean_vector(doc)
        return 0.0 if mean is None else kernel(mean)

    return weigh
