"""Tables as Table 2 of Wang et al. 2018: a row a method, a column a pair of sources and target."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from spacy_transfer.experiments.overall import overall
from spacy_transfer.experiments.significance import Differences, Pair, by_method, stands_out
from spacy_transfer.experiments.summary import Cell

MARK = "†"


class Entry(NamedTuple):
    """A score in percent as text; whether it is the best of its column, where all methods have the
    same seeds."""

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
    methods = by_method(pairs)
    means = [_means(cells) for _, cells in methods]
    same_seeds = [len({frozenset(cell.scores) for cell in pair.cells}) == 1 for pair in pairs]
    best = [
        max((mean for mean in column if mean is not None), default=None) if same else None
        for column, same in zip(
            zip(*means, strict=True), [*same_seeds, all(same_seeds)], strict=True
        )
    ]
    rows = []
    for (name, cells), of_method in zip(methods, means, strict=True):
        marks = [
            MARK if cell and stands_out(cell, pair, differences) else ""
            for cell, pair in zip(cells, pairs, strict=True)
        ]
        entries = [
            Entry("" if mean is None else f"{mean:.2f}{mark}", mean is not None and mean == highest)
            for mean, mark, highest in zip(of_method, [*marks, ""], best, strict=True)
        ]
        rows.append((name, entries))
    header = ["Method", *(f"{' + '.join(p.sources)} → {p.target}" for p in pairs), "Average"]
    return Pivot(title, header, rows, overall(pairs, differences))


def _means(cells: Sequence[Cell | None]) -> list[float | None]:
    """The mean of each pair, and that of all pairs where the method has all."""
    means = [None if cell is None else cell.mean.mean for cell in cells]
    known = [mean for mean in means if mean is not None]
    return [*means, fmean(known) if len(known) == len(means) else None]
