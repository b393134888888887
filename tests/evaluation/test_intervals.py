from __future__ import annotations

import random
from statistics import fmean

import pytest

from spacy_transfer.evaluation.intervals import mean_interval


def test_against_a_table_of_student() -> None:
    # Mean 3, standard deviation sqrt(2.5), error sqrt(0.5); t(0.975, 4) = 2.776445.
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3, 2.776445 * 0.5**0.5), rel=1e-6)
    assert mean_interval([4.5]) == (4.5, None)


def test_covers_the_truth_as_often_as_it_says() -> None:
    rng = random.Random(0)
    hits = []
    for _ in range(4000):
        mean, reach = mean_interval([rng.gauss(7, 2) for _ in range(3)])
        assert reach is not None
        hits.append(abs(mean - 7) <= reach)
    # Five standard deviations.
    assert fmean(hits) == pytest.approx(0.95, abs=5 * (0.95 * 0.05 / 4000) ** 0.5)
