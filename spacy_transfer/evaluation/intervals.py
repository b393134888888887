"""Means and how sure they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import t as student


class Interval(NamedTuple):
    """A mean, and how far a 95 % confidence interval reaches from it; None for one value."""

    mean: float
    reach: float | None

    def text(self, signed: bool = False) -> str:
        """Both, with two digits."""
        mean = f"{self.mean:{'+' if signed else ''}.2f}"
        return mean if self.reach is None else f"{mean} ± {self.reach:.2f}"


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval (Student's t) of independent values, one a seed."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean, None)
    error = statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, float(student.ppf(0.975, len(values) - 1)) * error)
