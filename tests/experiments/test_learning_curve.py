from __future__ import annotations

import pytest

from spacy_transfer.experiments.learning_curve import Point, learning_curve


def test_means_and_band_of_each_evaluation() -> None:
    histories = [
        [(2, 1.0, 0.1), (4, 2.0, 0.5)],
        [(2, 1.5, 0.2), (4, 4.0, 0.5)],
        [(2, 3.5, 0.3), (4, 6.0, 0.5)],
    ]
    first, second = learning_curve(histories)
    assert (first.step, first.seconds, first.score.mean) == (2, 2.0, pytest.approx(20.0))
    # Standard deviation 10 points; 4.302653 is the 0.975 quantile of Student's t, 2 degrees.
    assert first.score.reach == pytest.approx(4.302653 * 10 / 3**0.5, rel=1e-6)
    assert second == Point(4, 4.0, (50.0, 0.0))


def test_a_curve_goes_as_far_as_all_seeds_went() -> None:
    longest = [(2, 1.0, 0.1), (4, 2.0, 0.2), (6, 3.0, 0.3)]
    curve = learning_curve([longest, longest[:2], [*longest[:2], (5, 2.5, 0.9)]])
    assert [point.step for point in curve] == [2, 4]
    assert learning_curve([longest, [(1, 1.0, 0.1)]]) == []
