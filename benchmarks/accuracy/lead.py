"""Where is La-DTL ahead of other methods: where a source brings much, or where it brings little?

    python benchmarks/accuracy/lead.py RESULTS [RESULTS ...]

RESULTS are results.jsonl of experiments with several pairs of sources and target. For each method
and each pair, La-DTL's lead in F1 is held against what the source brings: the mean of the gains of
both methods over training without transfer, as chance in one score alone moves that and the lead
as often in one direction as in two. rho is Spearman's, over all pairs; p is the share of 10,000
permutations of the pairs whose rho is as far from 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spearman import rho

from spacy_transfer.evaluation.table import markdown_table
from spacy_transfer.experiments.results import read_rows
from spacy_transfer.experiments.significance import Pair, pairs_of
from spacy_transfer.experiments.summary import summarize

REFERENCE, PERMUTATIONS, FEWEST = "La-DTL", 10_000, 4
Floats = NDArray[np.float64]


def leads(pairs: Sequence[Pair]) -> dict[str, Floats]:
    """For each method, what each pair brings and the lead over it there, in points: [2, pairs]."""
    found: dict[str, list[tuple[float, float]]] = {}
    for pair in pairs:
        gains = {cell.method: cell.gain.mean for cell in pair.cells if cell.sources and cell.gain}
        if (best := gains.pop(REFERENCE, None)) is not None:
            for method, gain in gains.items():
                found.setdefault(method, []).append(((best + gain) / 2, best - gain))
    return {method: np.array(points).T for method, points in found.items()}


def correlation(brings: Floats, lead: Floats) -> tuple[float, float]:
    """Spearman's rho and its p-value."""
    found = rho(brings, lead)
    shuffled = np.random.default_rng(0).permuted(np.tile(lead, (PERMUTATIONS, 1)), axis=1)
    by_chance = np.array([rho(brings, permuted) for permuted in shuffled])
    return found, float((np.abs(by_chance) >= abs(found) - 1e-12).mean())


def main() -> None:
    """Print a line for each method that meets La-DTL on enough pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+")
    options = parser.parse_args()
    rows = [["Method", "Pairs", f"Lead of {REFERENCE}", "rho with the gain", "p"]]
    for method, (brings, lead) in leads(pairs_of(summarize(read_rows(options.results)))).items():
        if len(lead) >= FEWEST:
            found, p = correlation(brings, lead)
            rows.append([method, str(len(lead)), f"{lead.mean():+.2f}", f"{found:.2f}", f"{p:.3f}"])
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
