"""How far apart the spans of two corpora are, by their word vectors."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from spacy.vectors import Vectors

from spacy_transfer.corpus.labelled import LabelledText
from spacy_transfer.models.vocabulary import Normalizer, vector_row

DRAWN = 1000
"""Spans of a label that are compared, at most."""

Floats = NDArray[np.float64]
SpanVectors = Mapping[str, Floats]
"""For each label the vectors of its spans, [spans, dimensions]."""


def span_vectors(text: LabelledText, vectors: Vectors, seed: int = 0) -> SpanVectors:
    """The mean vectors of the words of each span, of at most DRAWN spans of a label.

    Words are looked up as the tagger does it. Spans of which no word has a vector are left out.
    """
    normalize = Normalizer()
    rows = {
        word: vector_row(vectors, word, normalize(word))
        for word in {word for sentence in text.sentences for word in sentence.words}
    }
    found: dict[str, list[list[int]]] = defaultdict(list)
    for words, spans, _ in text.sentences:
        for start, end, label in spans:
            if known := [row for word in words[start:end] if (row := rows[word]) >= 0]:
                found[label].append(known)
    drawn = {
        label: random.Random(seed).sample(spans, min(DRAWN, len(spans)))
        for label, spans in found.items()
    }
    data = np.asarray(vectors.data, dtype=np.float64)
    return {
        label: np.stack([data[known].mean(axis=0) for known in spans])
        for label, spans in drawn.items()
    }


def median_width(spans: SpanVectors) -> float:
    """The median squared distance between spans of any labels, a usual width of the kernel.

    (Gretton et al. 2012, section 8.) At most DRAWN spans are compared, evenly over the labels'
    order. 0 where there are not two.
    """
    if not spans:
        return 0.0
    together = np.concatenate(list(spans.values()))
    together = together[:: -(-len(together) // DRAWN)]
    distances = _square_distances(together, together)[np.triu_indices(len(together), 1)]
    return float(np.median(distances)) if len(distances) else 0.0


def mmd2(x: Floats, y: Floats, width: float) -> float:
    """The unbiased estimate of the squared MMD of x [n, dimensions] and y [m, dimensions].

    Gretton et al. 2012, Eq. 3, with the kernel exp(-|a - b|^2 / (2 width)). It has no bias for the
    numbers of samples, in which sources differ; so it may be a little below 0. ValueError with less
    than two samples on a side.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"MMD needs two samples on both sides, got {n} and {m}")
    of_x, of_y, between = (
        np.exp(_square_distances(a, b) / (-2 * width)) for a, b in ((x, x), (y, y), (x, y))
    )
    within = (of_x.sum() - np.trace(of_x)) / (n * (n - 1))
    within += (of_y.sum() - np.trace(of_y)) / (m * (m - 1))
    return float(within - 2 * between.mean())


class SpanDiscrepancy:
    """How far the spans of sources are from those of a target, by the squared MMD."""

    def __init__(self, target: LabelledText, vectors: Vectors, seed: int = 0) -> None:
        """Look up the target's spans; the seed is that of the spans drawn."""
        self._vectors, self._seed = vectors, seed
        self._spans = span_vectors(target, vectors, seed)
        self._width = median_width(self._spans)

    def __call__(self, source: LabelledText, pairs: Mapping[str, str]) -> float | None:
        """The mean of `mmd2` over matched labels, (target's, source's), weighted by the number of
        the target's spans.

        The width is the target's alone, so that sources compare. Labels with less than two spans on
        a side are left out; None when none is left, or the target's spans do not differ at all.
        """
        theirs = span_vectors(source, self._vectors, self._seed)
        both = [
            (self._spans[label], theirs[other])
            for label, other in pairs.items()
            if label in self._spans and other in theirs
        ]
        both = [(x, y) for x, y in both if min(len(x), len(y)) >= 2]
        if not both or not self._width:
            return None
        weights = [len(x) for x, _ in both]
        return float(np.average([mmd2(x, y, self._width) for x, y in both], weights=weights))


def _square_distances(x: Floats, y: Floats) -> Floats:
    squares: Floats = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.maximum(squares, 0.0)
