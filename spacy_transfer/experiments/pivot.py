"""Tables as Table 2 of Wang et al. 2018: a row a method, a column a pair of sources and target."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from spacy_transfer.experiments.overall import overall
from spacy_transfer.experiments.significance import Differences, Pair, stands_out

MARK = "†"


class Entry(NamedTuple):
    """A score in percent as text; whether it is the best of its column."""

    text: str
    best: bool


class Pivot(NamedTuple):
    """Mean scores over seeds.

    Attributes:
        title: score and labeling rate.
        header: of the methods, the pairs, and the average over pairs.
        rows: for each method, an entry for each pair, and the average where it has all.
        overall: how the methods differ from the reference on all pairs together; none where there
            is no reference with transfer.
    """

    title: str
    header: list[str]
    rows: list[tuple[str, list[Entry]]]
    overall: list[list[str]]


def pivot_tables(pairs: Sequence[Pair], differences: Differences) -> list[Pivot]:
    """A table for each score and labeling rate at which several methods meet on several pairs: two
    methods at least have all pairs, so that there are averages to compare."""
    groups: dict[tuple[str, float], list[Pair]] = {}
    for pair in pairs:
        if pair.sources:
            groups.setdefault((pair.score, pair.rate), []).append(pair)
    tables = [
        _table(f"{score}, labeling rate {rate:g}", group, differences)
        for (score, rate), group in groups.items()
        if len(group) > 1
    ]
    return [
        table for table in tables if sum(entries[-1].text != "" for _, entries in table.rows) > 1
    ]


def _table(title: str, pairs: Sequence[Pair], differences: Differences) -> Pivot:
    means: dict[tuple[str, bool], dict[int, float]] = {}
    marks = set()
    for column, pair in enumerate(pairs):
        for cell in pair.cells:
            # A method may be there with sources and without.
            row = (cell.method, bool(cell.sources))
            means.setdefault(row, {})[column] = cell.mean.mean
            if stands_out(cell, pair, differences):
                marks.add((row, column))
    for of_method in means.values():
        if len(of_method) == len(pairs):
            of_method[len(pairs)] = fmean(of_method.values())
    columns = range(len(pairs) + 1)
    best = [max((m[c] for m in means.values() if c in m), default=None) for c in columns]
    return Pivot(
        title,
        ["Method", *(f"{' + '.join(p.sources)} → {p.target}" for p in pairs), "Average"],
        [
            (
                row[0],
                [
                    Entry(f"{m[c]:.2f}{MARK if (row, c) in marks else ''}", m[c] == best[c])
                    if c in m
                    else Entry("", False)
                    for c in columns
                ],
            )
            for row, m in means.items()
        ],
        overall(pairs, differences),
    )
