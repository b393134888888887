from __future__ import annotations

import pytest

from spacy_transfer.evaluation.intervals import mean_interval
from spacy_transfer.experiments.overall import overall
from spacy_transfer.experiments.results import Row
from tests.experiments.test_significance import counted, found_in

METHODS = {"none": (0.4, 0.4), "T-B": (0.6, 0.8), "La-DTL": (0.75, 0.6)}
"""Recall on the pairs from news and from mail."""


def rows_of(**other: object) -> list[Row]:
    rows = []
    for seed in (0, 1, 2):
        rows.append(counted("none", seed, METHODS["none"][0], **other))
        for method in ("T-B", "La-DTL"):
            for source, recall in zip(("news", "mail"), METHODS[method], strict=True):
                rows.append(counted(method, seed, recall, source, **other))
    return rows


def score(rows: list[Row], method: str, seed: int, source: str) -> float:
    [found] = [
        r["test_score"]
        for r in rows
        if (r["method"], r["seed"]) == (method, seed) and r["sources"] in ([source], [])
    ]
    return 100 * float(found)


def test_differences_over_seeds_and_pairs_that_are_lower_and_higher() -> None:
    rows = rows_of(reference="La-DTL")
    [header, *lines] = overall(*found_in(rows))
    assert header == ["Method", "From La-DTL", "Lower (p < 0.05)", "Higher (p < 0.05)", "Pairs"]
    expected = {"none": ("2", "0", "2"), "T-B": ("1", "1", "2")}
    assert [line[0] for line in lines] == list(expected)
    for method, difference, *counts in lines:
        of_seeds = [
            sum(
                score(rows, method, seed, source) - score(rows, "La-DTL", seed, source)
                for source in ("news", "mail")
            )
            / 2
            for seed in (0, 1, 2)
        ]
        assert difference == mean_interval(of_seeds).text(signed=True)
        assert tuple(counts) == expected[method]


def test_a_pair_that_is_no_more_than_chance_counts_for_neither() -> None:
    rows = [
        counted(method, seed, 0.6, source, reference="La-DTL")
        for seed in (0, 1)
        for method in ("T-B", "La-DTL")
        for source in ("news", "mail")
    ]
    [_, line] = overall(*found_in(rows))
    assert line[2:] == ["0", "0", "2"]


@pytest.mark.parametrize("reference", [{}, {"reference": "none"}])
def test_no_lines_without_a_reference_that_has_sources(reference: dict[str, str]) -> None:
    assert overall(*found_in(rows_of(**reference))) == []


def test_no_lines_where_a_pair_lacks_the_reference() -> None:
    rows = [
        r for r in rows_of(reference="La-DTL") if r["sources"] != ["mail"] or r["method"] == "T-B"
    ]
    assert overall(*found_in(rows)) == []


def test_no_lines_where_pairs_have_other_references() -> None:
    rows = [
        {**r, "target": target, "reference": reference}
        for target, reference in (("a", "La-DTL"), ("b", "T-B"))
        for r in rows_of()
    ]
    assert overall(*found_in(rows)) == []


def test_a_method_that_a_pair_lacks_is_left_out() -> None:
    rows = [
        r for r in rows_of(reference="La-DTL") if (r["method"], r["sources"]) != ("T-B", ["mail"])
    ]
    assert [line[0] for line in overall(*found_in(rows))] == ["Method", "none"]


def test_only_seeds_that_all_pairs_have() -> None:
    rows = [
        r
        for r in rows_of(reference="La-DTL")
        if (r["method"], r["sources"], r["seed"])
        not in (("T-B", ["mail"], 0), ("T-B", ["news"], 1))
    ]
    of_t_b = overall(*found_in(rows))[2]
    difference = sum(
        score(rows, "T-B", 2, source) - score(rows, "La-DTL", 2, source)
        for source in ("news", "mail")
    )
    assert of_t_b[:2] == ["T-B", f"{difference / 2:+.2f}"]
