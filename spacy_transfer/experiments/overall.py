"""How far methods are from the reference on all pairs of sources and target together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from spacy_transfer.evaluation.intervals import Interval, mean_interval
from spacy_transfer.evaluation.significance import ALPHA
from spacy_transfer.experiments.significance import Differences, Pair
from spacy_transfer.experiments.summary import Cell


def overall(pairs: Sequence[Pair], differences: Differences) -> list[list[str]]:
    """Header and rows: by how much the average of each method is above that of the reference, with
    a 95 % interval over seeds, and in how many pairs it is significantly lower or higher.

    Methods are left out that a pair lacks, or that have no seed in common with the reference in all
    pairs; there are no lines without a reference that has sources in every pair.
    """
    references = [pair.reference for pair in pairs if pair.reference and pair.reference.sources]
    if len(references) < len(pairs):
        return []
    name, sure_of = references[0].method, f"(p < {ALPHA:g})"
    lines = [["Method", f"From {name}", f"Lower {sure_of}", f"Higher {sure_of}", "Pairs"]]
    for method, cells in _everywhere(pairs):
        both = list(zip(references, cells, strict=True))
        average = _average(both)
        if average is None or any(two not in differences for two in both):
            continue
        sure = [differences[two].points.mean for two in both if differences[two].significant]
        lower, higher = sum(points < 0 for points in sure), sum(points > 0 for points in sure)
        line = [method, average.text(signed=True), str(lower), str(higher), str(len(pairs))]
        lines.append(line)
    return lines


def _everywhere(pairs: Sequence[Pair]) -> Iterator[tuple[str, list[Cell]]]:
    """The methods that all pairs have but the reference, with the cell of each pair."""
    methods: dict[tuple[str, bool], list[Cell]] = {}
    for pair in pairs:
        for cell in pair.others:
            methods.setdefault((cell.method, bool(cell.sources)), []).append(cell)
    return ((name, cells) for (name, _), cells in methods.items() if len(cells) == len(pairs))


def _average(both: Sequence[tuple[Cell, Cell]]) -> Interval | None:
    """The mean difference of second from first cells, over the seeds that all have."""
    seeds = set.intersection(*(set(cell.scores) for two in both for cell in two))
    if not seeds:
        return None
    return mean_interval(
        [fmean(cell.scores[seed] - ref.scores[seed] for ref, cell in both) for seed in seeds]
    )
