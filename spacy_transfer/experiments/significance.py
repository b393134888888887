"""Which differences between methods are more than chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spacy_transfer.evaluation.intervals import Interval, mean_interval
from spacy_transfer.evaluation.significance import ALPHA, holm, randomisation_test
from spacy_transfer.experiments.summary import Cell


@dataclass(frozen=True, eq=False)
class Pair:
    """Sources and a target at a labeling rate: what methods are compared on.

    Attributes:
        target: the target's name.
        score: the name of the score.
        rate: the labeling rate.
        sources: the sources' names.
        cells: the methods with these sources, and those without, which all pairs of a target have.
    """

    target: str
    score: str
    rate: float
    sources: tuple[str, ...]
    cells: list[Cell]

    @property
    def reference(self) -> Cell | None:
        """The method that all others are tested against."""
        return next((cell for cell in self.cells if cell.reference), None)

    @property
    def others(self) -> list[Cell]:
        """All methods but the reference."""
        return [cell for cell in self.cells if cell is not self.reference]


class Difference(NamedTuple):
    """By how many points of percent a method is above the reference, over the seeds of both, and
    the p-value of that."""

    points: Interval
    p: float

    @property
    def significant(self) -> bool:
        """Whether it is more than chance."""
        return self.p < ALPHA


Differences = dict[tuple[Cell, Cell], Difference]
"""Of a reference and another method, where it is known."""


def pairs_of(cells: Iterable[Cell]) -> list[Pair]:
    """The pairs of all targets, in the order of the cells."""
    places: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.target, cell.score, cell.rate), []).append(cell)
    return [
        Pair(*place, sources, [cell for cell in found if cell.sources in ((), sources)])
        for place, found in places.items()
        for sources in dict.fromkeys(cell.sources for cell in found if cell.sources) or [()]
    ]


def by_method(pairs: Sequence[Pair]) -> list[tuple[str, list[Cell | None]]]:
    """The name of each method and its cells, one a pair; None where a pair lacks it.

    A method may be there with sources and without, which count as two.
    """
    methods: dict[tuple[str, bool], list[Cell | None]] = {}
    for number, pair in enumerate(pairs):
        for cell in pair.cells:
            cells = methods.setdefault((cell.method, bool(cell.sources)), [None] * len(pairs))
            cells[number] = cell
    return [(name, cells) for (name, _), cells in methods.items()]


def differences_of(pairs: Iterable[Pair]) -> Differences:
    """Of the references and all methods in pairs with them, by randomised paired tests on the seeds
    that both have; p-values are corrected for the number of all tests (Holm).

    Not known is that of a method without counts of each of these seeds. ValueError for counts on
    test corpora that differ.
    """
    found: Differences = {}
    for pair in pairs:
        for cell in pair.others:
            if pair.reference and (pair.reference, cell) not in found:
                difference = _difference(pair.reference, cell)
                if difference:
                    found[pair.reference, cell] = difference
    corrected = holm([difference.p for difference in found.values()])
    return {
        both: Difference(difference.points, p)
        for (both, difference), p in zip(found.items(), corrected, strict=True)
    }


def stands_out(cell: Cell, pair: Pair, differences: Differences) -> bool:
    """Whether a method is significantly better: the reference than every other method of a pair
    that is not a part of it (Wang et al. 2018, Table 2), another method than the reference."""
    if pair.reference is None:
        return False
    if cell is not pair.reference:
        found = differences.get((pair.reference, cell))
        return found is not None and found.significant and found.points.mean > 0
    others = [differences.get((cell, other)) for other in pair.others if not other.ablation]
    return bool(others) and all(
        found is not None and found.significant and found.points.mean < 0 for found in others
    )


def _difference(reference: Cell, cell: Cell) -> Difference | None:
    seeds = [seed for seed in reference.scores if seed in cell.scores]
    if not seeds or any(seed not in c.counts for seed in seeds for c in (reference, cell)):
        return None
    points = mean_interval([cell.scores[seed] - reference.scores[seed] for seed in seeds])
    try:
        counts = (np.stack([c.counts[seed] for seed in seeds]) for c in (reference, cell))
        return Difference(points, randomisation_test(*counts))
    except ValueError as error:
        raise ValueError(
            f"{reference.label} and {cell.label} were scored on different test corpora by the name "
            f"of {cell.target!r}: give one of them another name"
        ) from error
