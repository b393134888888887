from __future__ import annotations

from itertools import product
from statistics import fmean

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.stats import binomtest, kstest

from spacy_transfer.evaluation import significance
from spacy_transfer.evaluation.counts import Counts
from spacy_transfer.evaluation.significance import (
    bootstrap,
    differences,
    f1,
    holm,
    randomisation_test,
)


def outputs(rng: Generator, runs: int, gold: Counts, rate: float = 0.7) -> Counts:
    """A system that finds each gold annotation at a rate, and others besides.

    How hard a sentence is to the system is the same in all its runs.
    """
    of_sentence = np.clip(rng.normal(rate, 0.2, gold.size), 0, 1)
    correct = rng.binomial(gold, of_sentence, (runs, gold.size))
    predicted = correct + rng.poisson(0.4, correct.shape)
    return np.stack([correct, predicted, np.broadcast_to(gold, correct.shape)], axis=-1)


def pair(
    rng: Generator, runs: int, sentences: int, rates: tuple[float, float] = (0.7, 0.7)
) -> tuple[Counts, Counts]:
    gold = rng.poisson(1.5, sentences)
    first, second = (outputs(rng, runs, gold, rate) for rate in rates)
    return first, second


def slow_f1(counts: Counts) -> float:
    correct, predicted, gold = counts.sum(0).tolist()
    if not correct:
        return 0.0
    precision, recall = correct / predicted, correct / gold
    return float(2 * precision * recall / (precision + recall))


def slow_differences(first: Counts, second: Counts) -> list[float]:
    """Of all ways to swap sentences, one by one."""
    found = []
    for swaps in product((False, True), repeat=first.shape[1]):
        one, other = first.copy(), second.copy()
        for sentence, swap in enumerate(swaps):
            if swap:
                one[:, sentence], other[:, sentence] = second[:, sentence], first[:, sentence]
        found.append(fmean(map(slow_f1, one)) - fmean(map(slow_f1, other)))
    return found


def all_swaps(sentences: int) -> np.ndarray:
    return np.array(list(product((False, True), repeat=sentences)))


def test_f1() -> None:
    assert f1(np.array([[3, 4, 6], [0, 2, 0], [0, 0, 0]])) == pytest.approx([0.6, 0, 0])


@pytest.mark.parametrize("runs", [1, 3])
def test_every_swap_is_scored_as_by_its_definition(runs: int) -> None:
    first, second = pair(default_rng(0), runs, 7)
    found = differences(first, second, all_swaps(7))
    assert found == pytest.approx(slow_differences(first, second), abs=1e-12)


@pytest.mark.parametrize("block", [2**22, 100])
@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_enumeration_of_all_swaps(
    runs: int, seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(significance, "_BLOCK", block)
    first, second = pair(default_rng(seed), runs, 9, (0.4, 0.8))
    first[:, 4] = second[:, 4]
    found = np.abs(slow_differences(first, second))
    exact = float(np.mean(found >= found[0] - 1e-12))
    p = randomisation_test(first, second, seed=seed)
    # Five standard deviations of 10,000 draws.
    assert p == pytest.approx(exact, abs=5 * (exact * (1 - exact) / 10_000) ** 0.5 + 1e-4)
    assert randomisation_test(second, first, seed=seed) == p


@pytest.mark.parametrize("runs", [1, 3])
def test_p_values_of_systems_that_are_alike_are_uniform(runs: int) -> None:
    rng = default_rng(0)
    p_values = [
        randomisation_test(*pair(rng, runs, 150), shuffles=999, seed=seed) for seed in range(600)
    ]
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert binomtest(sum(p < 0.05 for p in p_values), 600, 0.05).pvalue > 0.01


def test_p_values_of_systems_that_differ_are_small() -> None:
    rng = default_rng(0)
    p_values = [randomisation_test(*pair(rng, 1, 300, (0.6, 0.8)), shuffles=999) for _ in range(50)]
    assert np.median(p_values) < 0.01
    assert randomisation_test(*pair(rng, 2, 1000, (0.5, 0.9)), shuffles=999) == 1 / 1000


def test_the_same_outputs_do_not_differ() -> None:
    first, _ = pair(default_rng(0), 2, 20)
    assert randomisation_test(first, first) == 1


def test_a_seed_decides() -> None:
    first, second = pair(default_rng(0), 1, 50)
    found = [randomisation_test(first, second, shuffles=999, seed=seed) for seed in (1, 1, 2, 3)]
    assert found[0] == found[1]
    assert len(set(found)) > 1


@pytest.mark.parametrize("other", [(1, 20), (2, 19), (2, 20)])
def test_other_sentences_are_refused(other: tuple[int, int]) -> None:
    first, _ = pair(default_rng(0), 2, 20)
    second, _ = pair(default_rng(1), *other)
    with pytest.raises(ValueError, match="expected counts on the same sentences"):
        randomisation_test(first, second)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_bounds_the_chance_of_any_false_claim() -> None:
    rng = default_rng(0)
    # Two of five hypotheses are false.
    false = [min(holm([*rng.random(3), 1e-9, 1e-9])[:3]) < 0.05 for _ in range(4000)]
    assert fmean(false) == pytest.approx(1 - 0.95, abs=5 * (0.05 * 0.95 / 4000) ** 0.5)


@pytest.mark.parametrize("block", [2**22, 1000])
def test_the_bootstrap_draws_sentences(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "_BLOCK", block)
    rng = default_rng(0)
    first, second = pair(rng, 1, 60)
    counts = np.concatenate([first, second])
    drawn = bootstrap(counts, resamples=4000)
    plain = np.array(
        [
            [slow_f1(system[places]) for system in counts]
            for places in rng.integers(60, size=(4000, 60))
        ]
    )
    assert drawn.mean(0) == pytest.approx(plain.mean(0), abs=0.005)
    assert drawn.std(0) == pytest.approx(plain.std(0), rel=0.08)
    # Both systems on the same sentences.
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(np.corrcoef(plain.T)[0, 1], abs=0.08)
    alike = bootstrap(np.concatenate([first, first]), resamples=50)
    assert (alike[:, 0] == alike[:, 1]).all()


def test_bootstrap_intervals_cover_the_truth() -> None:
    rng = default_rng(0)
    _, large = pair(rng, 1, 200_000)
    truth = float(f1(large[0].sum(0)))
    hits = []
    for _ in range(400):
        _, sample = pair(rng, 1, 200)
        low, high = np.percentile(bootstrap(sample, resamples=500), [2.5, 97.5])
        hits.append(low <= truth <= high)
    assert fmean(hits) == pytest.approx(0.95, abs=5 * (0.05 * 0.95 / 400) ** 0.5)
