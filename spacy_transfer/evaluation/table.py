"""A table of what `spacy evaluate --output` measured, one row a method."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

METRICS = {"ents_p": "P", "ents_r": "R", "ents_f": "F1"}
_SEED = ".seed-"

Scores = dict[str, list[dict[str, float]]]
"""For each method the metrics of its runs, one a seed."""


def read_scores(paths: Iterable[Path]) -> Scores:
    """Read `METHOD.json` or `METHOD.seed-SEED.json` files, or folders of them.

    Raises ValueError for a file without entity scores, or when there is no file.
    """
    files = [
        file
        for path in paths
        for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])
    ]
    if not files:
        raise ValueError("no scores found: expected outputs of `spacy evaluate --output`")
    scores: Scores = {}
    for file in files:
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            metrics = {name: float(values[name] or 0.0) for name in METRICS}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: expected a JSON object with {', '.join(METRICS)}, as `spacy evaluate "
                f"--output` writes it ({error})"
            ) from error
        scores.setdefault(file.stem.split(_SEED)[0], []).append(metrics)
    return scores


def score_table(scores: Scores) -> str:
    """Percentages as a Markdown table: means over seeds, with the standard deviation of F1."""
    rows = [["Method", "Runs", *METRICS.values()]]
    for method, runs in sorted(scores.items(), key=lambda item: _mean(item[1], "ents_f")):
        cells = [f"{_mean(runs, metric):.2f}" for metric in METRICS]
        if len(runs) > 1:
            spread = statistics.stdev(100 * run["ents_f"] for run in runs)
            cells[-1] += f" ± {spread:.2f}"
        rows.append([method, str(len(runs)), *cells])
    return markdown_table(rows)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A header and rows as a Markdown table whose columns are as wide as they need."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _mean(runs: list[dict[str, float]], metric: str) -> float:
    return statistics.fmean(100 * run[metric] for run in runs)
