"""Do two systems differ by more than the choice of test sentences explains?

Counts are those of `evaluation.counts`: of each sentence, how many annotations are correct, how
many predicted and how many gold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spacy_transfer.evaluation.counts import Counts

DRAWS = 10_000
"""Shuffles of a test, resamples of a bootstrap."""
ALPHA = 0.05
"""A difference is called significant when its p-value is below."""
_BLOCK = 2**22  # random numbers at a time, whatever the number of sentences
_TIE = 1e-12  # equal scores may differ by rounding

Floats = NDArray[np.float64]


def f1(totals: NDArray[np.int64] | Floats) -> Floats:
    """F1, [...], of (correct, predicted, gold), [..., 3]; 0 where nothing is predicted or gold."""
    correct, predicted, gold = np.moveaxis(totals, -1, 0)
    scores: Floats = 2 * correct / np.maximum(predicted + gold, 1)
    return scores


def randomisation_test(
    first: Counts, second: Counts, *, shuffles: int = DRAWS, seed: int = 0
) -> float:
    """The p-value, two-sided, of the difference in F1 of two systems on the same sentences.

    The randomised paired test of Wang et al. 2018, Table 2 (Cohen 1995; Yeh 2000): if the systems
    are alike, it does not matter which of them gave which of the two outputs for a sentence. Each
    shuffle swaps the outputs of some sentences, drawn by a fair coin; the p-value is the share of
    shuffles that differ by as much as the systems do, these counted in. It speaks of these runs on
    other sentences; how runs with other seeds differ, an interval over seeds tells.

    Args:
        first: counts [runs, sentences, 3], a run a seed; the statistic is the mean F1 over runs. A
            swap takes a sentence's outputs of all runs together: what is sampled is sentences, and
            the outputs of several seeds for one sentence tend to be right or wrong together.
        second: counts of the same shape; runs are paired.
        shuffles: how many.
        seed: of the shuffles.

    Raises:
        ValueError: counts of different shapes, or of different gold annotations.
    """
    if first.shape != second.shape or not np.array_equal(first[..., 2], second[..., 2]):
        raise ValueError("expected counts on the same sentences; these have other gold annotations")
    observed = abs(np.mean(f1(first.sum(1)) - f1(second.sum(1))))
    # Sentences that are scored alike change nothing when they are swapped: one stands for all.
    alike = (first == second).all(axis=(0, 2))
    first, second = (
        np.concatenate([counts[:, ~alike], counts[:, alike].sum(1, keepdims=True)], axis=1)
        for counts in (first, second)
    )
    rng = np.random.default_rng(seed)
    as_large = 0
    for size in _blocks(shuffles, first.shape[1]):
        swaps = rng.integers(2, size=(size, first.shape[1]), dtype=bool)
        as_large += np.sum(np.abs(differences(first, second, swaps)) >= observed - _TIE)
    return float(1 + as_large) / (1 + shuffles)


def differences(first: Counts, second: Counts, swaps: NDArray[np.bool_]) -> Floats:
    """By how much the mean F1 of the first system is above that of the second, [shuffles].

    In each shuffle, the systems' outputs are swapped in the sentences that `swaps` [shuffles,
    sentences] says.
    """
    moved = np.moveaxis(first - second, 1, 0).reshape(swaps.shape[1], -1).astype(np.float64)
    gone = (swaps.astype(np.float64) @ moved).reshape(len(swaps), -1, 3)
    above: Floats = np.mean(f1(first.sum(1) - gone) - f1(second.sum(1) + gone), axis=-1)
    return above


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: the chance of any false one below alpha is alpha.

    The step-down procedure of Holm 1979, which holds however the tests depend on each other.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        corrected[place] = min(1.0, largest)
    return corrected


def bootstrap(counts: Counts, *, resamples: int = DRAWS, seed: int = 0) -> Floats:
    """F1 [resamples, systems] of counts [systems, sentences, 3] on sentences drawn anew.

    As many sentences as there are, drawn with replacement, the same for all systems.
    """
    systems, sentences, _ = counts.shape
    rows = np.moveaxis(counts, 1, 0).reshape(sentences, -1)
    # Sentences with the same counts are one kind: how often a kind is drawn is all that matters.
    kinds, sizes = np.unique(rows, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    totals = [
        rng.multinomial(sentences, sizes / sentences, size=size) @ kinds
        for size in _blocks(resamples, len(kinds))
    ]
    return f1(np.concatenate(totals).reshape(resamples, systems, 3))


def _blocks(draws: int, width: int) -> Iterator[int]:
    """The sizes of blocks of draws that fit into memory, `width` random numbers a draw."""
    size = max(1, _BLOCK // max(1, width))
    for start in range(0, draws, size):
        yield min(size, draws - start)
