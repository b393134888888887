from __future__ import annotations

import pytest

from spacy_transfer.experiments.results import Row
from spacy_transfer.experiments.summary import summarize


def row(method: str, seed: int, test: float, **other: object) -> Row:
    return {
        "experiment": "x",
        "target": "aim",
        "score": "ents_f",
        "rate": 0.1,
        "sources": [],
        "method": method,
        "seed": seed,
        "vectors": None,
        "published": None,
        "dev_score": 0.5,
        "key": f"{sorted(other.items())} {method} {seed}",
        "test_score": test,
        **other,
    }


def test_gains_are_paired_by_seed() -> None:
    cells = summarize(
        [
            row("none", 0, 0.10, published=30.0),
            row("none", 1, 0.50),
            row("T-B", 1, 0.52, sources=["news"], published=33.5),
            row("T-B", 0, 0.14, sources=["news"]),
            row("T-B", 7, 0.99, sources=["news"]),
        ]
    )
    none, transfer = cells
    assert (none.label, none.gain, none.scores) == ("none", None, {0: 10.0, 1: 50.0})
    assert transfer.label == "T-B from news"
    assert transfer.scores == pytest.approx({0: 14.0, 1: 52.0, 7: 99.0})
    # Gains 4 and 2: far surer than the scores are.
    assert transfer.gain is not None
    assert transfer.gain.mean == pytest.approx(3.0)
    assert transfer.gain.reach == pytest.approx(12.7062, rel=1e-4)
    assert transfer.published_gain == 3.5


def test_another_rate_or_score_is_another_place() -> None:
    cells = summarize(
        [
            row("none", 0, 0.1),
            row("T-B", 0, 0.4, rate=0.2, sources=["news"]),
            row("T-B", 0, 0.4, score="tag_acc", sources=["news"]),
        ]
    )
    assert [cell.gain for cell in cells] == [None, None, None]


def test_vectors_are_chosen_by_dev_and_never_by_test() -> None:
    rows = [
        row("none", seed, test, vectors=vectors, dev_score=dev)
        for vectors, dev, test in (("a", 0.4, 0.9), ("b", 0.6, 0.2), ("c", 0.5, 0.99))
        for seed in (0, 1)
    ]
    [cell] = summarize(rows)
    assert (cell.vectors, cell.choices) == ("b", 3)
    assert cell.scores == {0: 20.0, 1: 20.0}


def test_runs_that_differ_go_by_names_that_differ() -> None:
    rows = [row("none", 0, 0.1), {**row("none", 0, 0.2), "key": "other settings"}]
    with pytest.raises(ValueError, match=r"two runs of method 'none' on aim/0.1, seed 0, differ"):
        summarize(rows)
    # The same run in two tables, published in the second.
    [cell] = summarize([row("none", 0, 0.1), {**row("none", 0, 0.1), "published": 7.0}])
    assert cell.published == 7.0


def test_a_score_of_none_is_zero() -> None:
    [cell] = summarize([{**row("none", 0, 0.0), "test_score": None}])
    assert cell.scores == {0: 0.0}
