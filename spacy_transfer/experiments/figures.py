"""Figures of a report, by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spacy_transfer.experiments.learning_curve import Point, learning_curve
from spacy_transfer.experiments.run import Swept
from spacy_transfer.experiments.summary import Cell, label_of

WIDTH = 5.2
"""Of a figure, in inches: its text stays legible on a telephone."""
CURVE_SEEDS = 5
"""Methods with so many seeds have learning curves: the bands of fewer hide one another."""
LOG_SPAN = 20
"""A sweep is drawn on a log scale where its largest value is more than so many times the smallest
above 0."""
_MARKERS = "osD^vPX*"
mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "spacy-transfer"


class Drawing(NamedTuple):
    """A figure.

    Attributes:
        name: for its files; empty for the scores of a target.
        figure: what to save.
        description: what it shows, in words.
    """

    name: str
    figure: Figure
    description: str


def draw(cells: Sequence[Cell]) -> Iterator[Drawing]:
    """The figures of one target; bars and bands are 95 % intervals.

    Its scores, against the labeling rate where there are several (Yang et al. 2017, Figure 2),
    method by method otherwise; learning curves, for each rate (Wang et al. 2018, Figure 4b); its
    scores against each setting that is swept (their Figure 5).
    """
    plain = [cell for cell in cells if cell.swept is None]
    if plain:
        rates = sorted({cell.rate for cell in plain})
        figure = _by_rate(plain, rates) if len(rates) > 1 else _by_method(plain)
        description = ", ".join(f"{cell.label} {cell.mean.mean:.1f}" for cell in plain)
        yield Drawing("", figure, description)
    curves = [
        (cell, curve)
        for cell in plain
        if len(cell.histories) >= CURVE_SEEDS
        and (curve := learning_curve(list(cell.histories.values())))
    ]
    for rate in sorted({cell.rate for cell, _ in curves}):
        yield _learning_curves([(cell, curve) for cell, curve in curves if cell.rate == rate])
    swept = [(cell.swept, cell) for cell in cells if cell.swept]
    for setting in dict.fromkeys(place.setting for place, _ in swept):
        yield _sweep([(place, cell) for place, cell in swept if place.setting == setting])


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG."""
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("svg", "png")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata)
    return paths


def _by_rate(cells: Sequence[Cell], rates: Sequence[float]) -> Figure:
    figure, axes = _curves("labeling rate", f"{_name(cells[0].score)} (%)")
    labels = list(dict.fromkeys(cell.label for cell in cells))
    for number, label in enumerate(labels):
        points = sorted((c for c in cells if c.label == label), key=lambda c: c.rate)
        # Curves are moved apart a little, so that their bars do not hide each other.
        shift = 0.04 * (number - (len(labels) - 1) / 2)
        _bars(axes, number, label, [rates.index(c.rate) + shift for c in points], points)
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.legend(frameon=False)
    return figure


def _by_method(cells: Sequence[Cell]) -> Figure:
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


def _learning_curves(curves: Sequence[tuple[Cell, list[Point]]]) -> Drawing:
    rate, name = curves[0][0].rate, _name(curves[0][0].score)
    figure, axes = _curves(f"seconds of training, labeling rate {rate:g}", f"{name} on dev (%)")
    ends = []
    for number, (cell, curve) in enumerate(curves):
        seconds = [point.seconds for point in curve]
        axes.plot(
            seconds,
            [point.score.mean for point in curve],
            label=cell.label,
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=3,
            linestyle="-" if cell.sources else "--",
        )
        low, high = (
            [point.score.mean + sign * (point.score.reach or 0.0) for point in curve]
            for sign in (-1, 1)
        )
        axes.fill_between(seconds, low, high, alpha=0.2, linewidth=0)
        ends.append(f"{cell.label} {curve[-1].score.mean:.1f} after {seconds[-1]:.0f} s")
    axes.legend(frameon=False)
    return Drawing(f"time-{rate:g}", figure, f"on dev: {', '.join(ends)}")


def _sweep(swept: Sequence[tuple[Swept, Cell]]) -> Drawing:
    setting = swept[0][0].setting
    name = setting.rpartition(".")[2]
    rates = {cell.rate for _, cell in swept}
    rate = f", labeling rate {swept[0][1].rate:g}" if len(rates) == 1 else ""
    figure, axes = _curves(name + rate, f"{_name(swept[0][1].score)} (%)")
    curves: dict[str, dict[float, Cell]] = {}
    for place, cell in swept:
        label = label_of(place.method, cell.sources)
        if not rate:
            label = f"{label}, rate {cell.rate:g}"
        curves.setdefault(label, {})[place.value] = cell
    for number, (label, by_value) in enumerate(curves.items()):
        values = sorted(by_value)
        _bars(axes, number, label, values, [by_value[value] for value in values])
    _scale(axes, sorted({place.value for place, _ in swept}))
    words = [
        f"{label} {cell.mean.mean:.1f} at {name} {value:g}"
        for label, by_value in curves.items()
        for value, cell in by_value.items()
    ]
    axes.legend(frameon=False)
    return Drawing(setting, figure, ", ".join(words))


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """A log scale for values that span much, linear from 0 to the smallest above it."""
    above = [value for value in values if value > 0]
    if values[0] < 0 or not above or above[-1] <= LOG_SPAN * above[0]:
        return
    axes.set_xscale("symlog", linthresh=above[0], linscale=0.5)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()


def _curves(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """A figure for curves of scores."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", alpha=0.3)
    return figure, axes


def _bars(
    axes: Axes, number: int, label: str, places: Sequence[float], cells: Sequence[Cell]
) -> None:
    """A curve of scores with their intervals."""
    axes.errorbar(
        places,
        [cell.mean.mean for cell in cells],
        yerr=[cell.mean.reach or 0.0 for cell in cells],
        label=label,
        marker=_MARKERS[number % len(_MARKERS)],
        linestyle="-" if cells[0].sources else "--",
        capsize=3,
    )


def _name(score: str) -> str:
    return "accuracy" if score == "tag_acc" else "F1"
