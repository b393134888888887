"""How far methods are from the reference on all pairs of sources and target together."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from spacy_transfer.evaluation.intervals import Interval, mean_interval
from spacy_transfer.evaluation.significance import ALPHA
from spacy_transfer.experiments.significance import Differences, Pair, by_method
from spacy_transfer.experiments.summary import Cell


def overall(pairs: Sequence[Pair], differences: Differences) -> list[list[str]]:
    """Header and rows: by how much the average of each method is above that of the reference, with
    a 95 % interval over seeds, and in how many pairs it is significantly lower or higher.

    Methods are left out that a pair lacks, or that have no seed in common with the reference in all
    pairs; there are no lines without one reference, with sources, in every pair.
    """
    references = [pair.reference for pair in pairs if pair.reference and pair.reference.sources]
    names = {reference.method for reference in references}
    if len(references) < len(pairs) or len(names) != 1:
        return []
    [name], sure_of = names, f"(p < {ALPHA:g})"
    lines = [["Method", f"From {name}", f"Lower {sure_of}", f"Higher {sure_of}", "Pairs"]]
    for method, cells in by_method(pairs):
        both = [
            (reference, cell)
            for reference, cell in zip(references, cells, strict=True)
            if cell and (reference, cell) in differences
        ]
        average = _average(both) if len(both) == len(pairs) else None
        if average is None:
            continue
        sure = [differences[two].points.mean for two in both if differences[two].significant]
        lower, higher = sum(points < 0 for points in sure), sum(points > 0 for points in sure)
        line = [method, average.text(signed=True), str(lower), str(higher), str(len(pairs))]
        lines.append(line)
    return lines


def _average(both: Sequence[tuple[Cell, Cell]]) -> Interval | None:
    """The mean difference of second from first cells, over the seeds that all have."""
    seeds = set.intersection(*(set(cell.scores) for two in both for cell in two))
    if not seeds:
        return None
    return mean_interval(
        [fmean(cell.scores[seed] - ref.scores[seed] for ref, cell in both) for seed in seeds]
    )
