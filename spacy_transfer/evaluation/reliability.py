"""The reliability diagram: are spans of a probability of p right in a share p of all cases?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from spacy_transfer.evaluation.calibration import Bin


def reliability_diagram(of: Mapping[str, Sequence[Bin]]) -> Figure:
    """The share that is right against the probability, a line for each name; the size of a point
    goes by its number of spans."""
    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    most = max(one.spans for bins in of.values() for one in bins)
    for (name, bins), marker in zip(of.items(), "osD^", strict=False):
        line = axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], label=name)[0]
        sizes = [20 + 180 * one.spans / most for one in bins]
        axes.scatter(
            [one.confidence for one in bins],
            [one.accuracy for one in bins],
            s=sizes,
            marker=marker,
            color=line.get_color(),
            alpha=0.7,
        )
    axes.set_xlabel("probability of a span")
    axes.set_ylabel("share of these spans that is right")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper left")
    return figure
