"""Dev score against training time, over seeds (Wang et al. 2018, Figure 4b)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import fmean
from typing import NamedTuple

from spacy_transfer.evaluation.intervals import Interval, mean_interval

History = Sequence[tuple[int, float, float]]
"""Step, seconds of training and dev score of each evaluation of a run."""


class Point(NamedTuple):
    """The same evaluation of several seeds.

    Attributes:
        step: the step it was made at.
        seconds: of training until then, the mean over seeds.
        score: the dev score in percent.
    """

    step: int
    seconds: float
    score: Interval


def learning_curve(histories: Collection[History]) -> list[Point]:
    """A point for each step that all seeds were evaluated at.

    Beyond the first seed to stop, a mean would be of other runs than before.
    """
    by_step = [{step: measured for step, *measured in history} for history in histories]
    points = []
    for step in sorted(set.intersection(*map(set, by_step))):
        seconds, scores = zip(*(of_seed[step] for of_seed in by_step), strict=True)
        points.append(Point(step, fmean(seconds), mean_interval([100 * s for s in scores])))
    return points
