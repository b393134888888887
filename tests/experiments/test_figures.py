from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from spacy_transfer.experiments.figures import Drawing, draw
from spacy_transfer.experiments.results import HISTORY, Row
from spacy_transfer.experiments.summary import summarize
from tests.experiments.test_summary import row

ALPHA = "components.transfer_ner.model.objective.alpha"


def learned(method: str, seeds: int, *sources: str, rate: float = 0.1) -> list[Row]:
    """Runs of 2 evaluations, the second 10 points above the first."""
    return [
        row(
            method,
            seed,
            0.3,
            sources=list(sources),
            rate=rate,
            **{HISTORY: [[5, 1.0 + seed, 0.2 + seed / 100], [10, 3.0 + seed, 0.3 + seed / 100]]},
        )
        for seed in range(seeds)
    ]


def swept(value: float, test: float, seed: int = 0, **other: object) -> Row:
    of_sweep = {"method": "La-DTL", "setting": ALPHA, "value": value}
    return row(f"La-DTL, alpha {value}", seed, test, sources=["news"], swept=of_sweep, **other)


def drawings(rows: list[Row]) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in draw(summarize(rows))}


def axes_of(drawing: Drawing) -> Axes:
    [axes] = drawing.figure.axes
    return axes


def legend(drawing: Drawing) -> list[str]:
    found = axes_of(drawing).get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_learning_curves_of_methods_with_seeds_enough() -> None:
    rows = learned("none", 5) + learned("T-B", 6, "news") + learned("T-A", 4, "news")
    found = drawings(rows)
    assert list(found) == ["", "time-0.1"]
    curves = found["time-0.1"]
    assert legend(curves) == ["none", "T-B from news"]
    assert curves.description == "on dev: none 32.0 after 5 s, T-B from news 32.5 after 6 s"
    axes = axes_of(curves)
    assert axes.get_ylabel() == "F1 on dev (%)"
    none = axes.lines[0]
    assert list(none.get_xdata()) == pytest.approx([3.0, 5.0])
    assert list(none.get_ydata()) == pytest.approx([22.0, 32.0])
    # Five seeds, a point apart each: a standard deviation of the root of 2.5.
    band = axes.collections[0].get_paths()[0].vertices
    reach = 2.776445 * np.sqrt(2.5 / 5)
    assert np.ptp(band[np.isclose(band[:, 0], 5.0), 1]) == pytest.approx(2 * reach, rel=1e-5)


def test_each_rate_has_learning_curves_of_its_own() -> None:
    rows = learned("none", 5, rate=0.5) + learned("none", 5) + learned("none", 4, rate=1.0)
    assert list(drawings(rows)) == ["", "time-0.1", "time-0.5"]


def test_results_without_history_have_no_learning_curves() -> None:
    assert list(drawings([row("none", seed, 0.3) for seed in range(5)])) == [""]


def test_a_sweep_is_drawn_against_its_values_and_apart_from_the_rest() -> None:
    rows = [swept(value, value + seed / 100, seed) for value in (0.2, 0.1) for seed in (0, 1)]
    found = drawings([row("none", 0, 0.3), *rows])
    assert list(found) == ["", ALPHA]
    assert found[""].description == "none 30.0"
    drawing = found[ALPHA]
    assert drawing.description == (
        "La-DTL from news 20.5 at alpha 0.2, La-DTL from news 10.5 at alpha 0.1"
    )
    axes = axes_of(drawing)
    assert (axes.get_xlabel(), axes.get_xscale()) == ("alpha, labeling rate 0.1", "linear")
    assert list(axes.lines[0].get_xdata()) == [0.1, 0.2]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([10.5, 20.5])
    # Two seeds a point apart: 12.7062 times half a point.
    [bars] = [c for c in axes.collections if len(c.get_paths()) == 2]
    low, high = bars.get_paths()[0].vertices[:, 1]
    assert high - low == pytest.approx(12.7062, rel=1e-4)
    assert list(drawings(rows)) == [ALPHA]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.1, 2.0], "linear"),
        ([0.1, 2.1], "symlog"),
        ([0.0, 0.1, 2.0], "linear"),
        ([0.0, 0.1, 2.1], "symlog"),
        ([-1.0, 0.1, 9.0], "linear"),
        ([0.0], "linear"),
    ],
)
def test_a_log_scale_for_values_that_span_much(values: list[float], scale: str) -> None:
    axes = axes_of(drawings([swept(value, 0.5) for value in values])[ALPHA])
    assert axes.get_xscale() == scale
    if scale == "symlog":
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [f"{v:g}" for v in values]
        places = axes.transData.transform([(value, 50.0) for value in values])[:, 0]
        # Nothing is pressed together: neighbours have a fifth of the width between them.
        assert np.diff(places).min() > 0.2 * np.ptp(places)


def test_curves_of_a_sweep_by_source_and_rate() -> None:
    rows = [swept(0.1, 0.5), swept(0.1, 0.5, rate=0.5), {**swept(0.1, 0.5), "sources": ["mail"]}]
    assert legend(drawings(rows)[ALPHA]) == [
        "La-DTL from news, rate 0.1",
        "La-DTL from mail, rate 0.1",
        "La-DTL from news, rate 0.5",
    ]
