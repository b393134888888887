"""Figures of a report, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from spacy_transfer.experiments.summary import Cell

WIDTH = 5.2
"""Of a figure, in inches: its text stays legible on a telephone."""
_MARKERS = "osD^vPX*"
mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "spacy-transfer"


def draw(cells: Sequence[Cell]) -> Figure:
    """The scores of one target: against the labeling rate where there are several (Yang et al.
    2017, Figure 2), method by method otherwise; bars are 95 % intervals."""
    rates = sorted({cell.rate for cell in cells})
    return _curves(cells, rates) if len(rates) > 1 else _points(cells)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG."""
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("svg", "png")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata)
    return paths


def _curves(cells: Sequence[Cell], rates: Sequence[float]) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    labels = list(dict.fromkeys(cell.label for cell in cells))
    for number, label in enumerate(labels):
        points = sorted((c for c in cells if c.label == label), key=lambda c: c.rate)
        # Curves are moved apart a little, so that their bars do not hide each other.
        shift = 0.04 * (number - (len(labels) - 1) / 2)
        axes.errorbar(
            [rates.index(c.rate) + shift for c in points],
            [c.mean.mean for c in points],
            yerr=[c.mean.reach or 0.0 for c in points],
            label=label,
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle="-" if points[0].sources else "--",
            capsize=3,
        )
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_xlabel("labeling rate")
    axes.set_ylabel(f"{_name(cells[0].score)} (%)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    return figure


def _points(cells: Sequence[Cell]) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.1 + 0.4 * len(cells)), layout="constrained")
    axes = figure.subplots()
    for place, cell in enumerate(cells):
        axes.errorbar(
            cell.mean.mean,
            place,
            xerr=cell.mean.reach or 0.0,
            marker="o" if cell.sources else "s",
            color="C0" if cell.sources else "0.4",
            capsize=3,
        )
        if not cell.sources:
            axes.axvline(cell.mean.mean, color="0.4", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(cells)), [cell.label for cell in cells])
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlabel(f"{_name(cells[0].score)} (%), labeling rate {cells[0].rate:g}")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _name(score: str) -> str:
    return "accuracy" if score == "tag_acc" else "F1"
