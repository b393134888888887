from __future__ import annotations

import pytest

from spacy_transfer.experiments.pivot import Pivot, pivot_tables
from spacy_transfer.experiments.results import Row
from spacy_transfer.experiments.significance import differences_of, pairs_of
from spacy_transfer.experiments.summary import summarize
from tests.experiments.test_significance import counted
from tests.experiments.test_summary import row


def pivots(rows: list[Row]) -> list[Pivot]:
    pairs = pairs_of(summarize(rows))
    return pivot_tables(pairs, differences_of(pairs))


def cells(pivot: Pivot) -> list[list[str]]:
    """Rows of texts, the best in stars."""
    return [
        [name, *(f"*{entry.text}*" if entry.best else entry.text for entry in entries)]
        for name, entries in pivot.rows
    ]


def test_methods_by_pairs_with_an_average() -> None:
    rows = []
    for target, base in (("a", 0.1), ("b", 0.3)):
        for seed in (0, 1):
            other = {"target": target, "seed": seed}
            rows.append(row("none", test=base + seed / 10, **other))
            for source in ("news", "mail"):
                more = 0.02 if source == "news" else 0.04
                rows.append(row("T-B", test=base + more, sources=[source], **other))
                if (source, target) != ("mail", "b"):
                    rows.append(row("T-C", test=base + 0.07, sources=[source], **other))
    [pivot] = pivots(rows)
    assert pivot.title == "ents_f, labeling rate 0.1"
    assert pivot.header == ["Method", "news → a", "mail → a", "news → b", "mail → b", "Average"]
    # Without transfer, a target has the same score in all its columns.
    assert cells(pivot) == [
        ["none", "15.00", "15.00", "35.00", "*35.00*", "*25.00*"],
        ["T-B", "12.00", "14.00", "32.00", "34.00", "23.00"],
        ["T-C", "*17.00*", "*17.00*", "*37.00*", "", ""],
    ]


def test_means_over_other_seeds_are_not_set_against_each_other() -> None:
    rows = [
        row(method, seed, score + seed / 10, sources=[source])
        for method, score in (("T-B", 0.1), ("T-C", 0.2))
        for source in ("news", "mail")
        for seed in (0, 1)
        if (method, source, seed) != ("T-B", "news", 0)
    ]
    [pivot] = pivots(rows)
    assert cells(pivot) == [
        ["T-B", "20.00", "15.00", "17.50"],
        ["T-C", "25.00", "*25.00*", "25.00"],
    ]


def test_marks_of_the_reference() -> None:
    rows = []
    for seed in (0, 1):
        rows.append(counted("none", seed, 0.4))
        for source, recall in (("news", 0.6), ("mail", 0.8)):
            rows.append(counted("T-B", seed, recall, source))
            rows.append(counted("La-DTL", seed, 0.8, source))
    [pivot] = pivots([{**r, "reference": "La-DTL"} for r in rows])
    marked = {name: [entry.text.endswith("†") for entry in entries] for name, entries in pivot.rows}
    assert marked == {
        "none": [False, False, False],
        "T-B": [False, False, False],
        "La-DTL": [True, False, False],
    }


@pytest.mark.parametrize("source", ["news", None])
def test_one_pair_or_one_method_is_no_table(source: str | None) -> None:
    if source:
        rows = [row("none", 0, 0.1), row("T-B", 0, 0.2, sources=[source])]
    else:
        rows = [row("T-B", 0, 0.2, sources=[name]) for name in ("news", "mail")]
    assert pivots(rows) == []


def test_methods_that_do_not_meet_are_no_table() -> None:
    rows = [row("none", 0, 0.1)]
    rows += [row("T-B", 0, 0.2, sources=["news"]), row("T-C", 0, 0.2, sources=["mail"])]
    assert pivots(rows) == []


def test_a_table_for_each_rate_and_score() -> None:
    rows = [
        row(method, 0, 0.2, sources=[source], rate=rate, score=score)
        for method in ("T-B", "T-C")
        for source in ("news", "mail")
        for rate, score in ((0.1, "ents_f"), (0.5, "ents_f"), (0.1, "tag_acc"))
    ]
    titles = [
        "ents_f, labeling rate 0.1",
        "ents_f, labeling rate 0.5",
        "tag_acc, labeling rate 0.1",
    ]
    assert [pivot.title for pivot in pivots(rows)] == titles
