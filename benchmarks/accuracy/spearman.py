"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def rho(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rho of [pairs] and [pairs]; nan where all of one are the same."""
    a, b = rankdata(first), rankdata(second)
    with np.errstate(invalid="ignore"):
        return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))
