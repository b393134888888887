"""Does `spacy transfer rank-sources` foresee which source helps most?

    python benchmarks/accuracy/rank_sources.py CORPORA RESULTS

CORPORA is what wang_corpora.py wrote, with the vectors that wang_table2.yml says how to train;
RESULTS the results.jsonl of that experiment, or of any other on the same four corpora. The rank of
a source for a target is held against its gain in F1 over the same seed without transfer. The target
is a sample of its training sentences, as many as the runs learned from.

Spearman's rho, of low ranks and high gains, is over all pairs of source and target. Sources are
compared for one target only, so ranks are among the sources of a target, and gains are less the
mean gain of the target. The interval is of 10,000 bootstrap resamples of the pairs and, in each
pair, of the seeds; p is the share of all permutations of gains within targets whose rho is as high.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import permutations, product
from pathlib import Path

import numpy as np
import spacy
from numpy.typing import NDArray
from spearman import rho

from spacy_transfer.corpus.label_map import matched_labels
from spacy_transfer.corpus.labelled import LabelledText, read_labelled_text
from spacy_transfer.evaluation.discrepancy import SpanDiscrepancy
from spacy_transfer.evaluation.ranking import SIGNALS, mean_ranks, signals
from spacy_transfer.evaluation.table import markdown_table
from spacy_transfer.experiments.results import read_rows
from spacy_transfer.experiments.summary import Cell, summarize

RESAMPLES = 10_000
Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Gains = dict[tuple[str, str], list[float]]
"""For each target and source, the gain of each seed, in points."""


def gains_of(cells: Sequence[Cell], method: str, rate: float) -> Gains:
    """The gains of a method with one source."""
    cells = [cell for cell in cells if cell.rate == rate]
    base = {cell.target: cell.scores for cell in cells if not cell.sources}
    gains: Gains = {}
    for cell in cells:
        if cell.method == method and len(cell.sources) == 1:
            without = base.get(cell.target, {})
            both = [score - without[seed] for seed, score in cell.scores.items() if seed in without]
            if both:
                gains[cell.target, cell.sources[0]] = both
    return gains


def ranks_for(
    target: LabelledText, sources: Mapping[str, LabelledText], vectors: Path
) -> dict[str, dict[str, float]]:
    """The mean rank of each source, and its rank by each signal alone."""
    discrepancy = SpanDiscrepancy(target, spacy.load(vectors).vocab.vectors)
    measured = {}
    for name, source in sources.items():
        pairs = dict(matched_labels(target.labels, source.labels))
        measured[name] = signals(target, source, pairs, discrepancy)
    none = dict.fromkeys(signal.name for signal in SIGNALS)
    ranks = {"mean rank": mean_ranks(list(measured.values()))}
    for signal in SIGNALS:
        alone = [{**none, signal.name: of[signal.name]} for of in measured.values()]
        ranks[signal.name] = mean_ranks(alone)
    return {
        name: {by: of_all[place] for by, of_all in ranks.items()}
        for place, name in enumerate(sources)
    }


def interval(
    ranks: Floats, pairs: Sequence[Places], gains: Sequence[Floats]
) -> tuple[float, float]:
    """The 95 % interval of rho over resampled pairs, by their places and their gains."""
    rhos = [rho(-ranks[drawn], gain) for drawn, gain in zip(pairs, gains, strict=True)]
    low, high = np.nanquantile(rhos, [0.025, 0.975])
    return float(low), float(high)


def resample(
    gains: Sequence[Sequence[float]], centres: Floats
) -> tuple[list[Places], list[Floats]]:
    """Pairs drawn anew, by their places, and their centred mean gains over seeds drawn anew."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(len(gains), size=(RESAMPLES, len(gains)))
    # [resamples, pairs]: of each pair once a resample, which does for all that it is drawn.
    means = np.stack(
        [np.asarray(g)[rng.integers(len(g), size=(RESAMPLES, len(g)))].mean(axis=1) for g in gains],
        axis=1,
    )
    return list(pairs), list(np.take_along_axis(means - centres, pairs, axis=1))


def p_value(ranks: Floats, gains: Floats, groups: Sequence[Sequence[int]]) -> float:
    """The share of permutations of gains within groups with a rho as high as that of the gains."""
    observed = rho(-ranks, gains) - 1e-12
    orders = product(*(permutations(group) for group in groups))
    places = [place for group in groups for place in group]
    as_high = [
        rho(-ranks[places], gains[[p for o in order for p in o]]) >= observed for order in orders
    ]
    return float(np.mean(as_high))


def show(method: str, ranks: Mapping[tuple[str, str], Mapping[str, float]], gains: Gains) -> None:
    """Print the ranking for each target and the correlations."""
    pairs = sorted(gains, key=lambda pair: (pair[0], ranks[pair]["mean rank"]))
    rows = [["Target", "Source", "mean rank", "gain", "seeds"]]
    for pair in pairs:
        mean, seeds = float(np.mean(gains[pair])), len(gains[pair])
        rows.append([*pair, f"{ranks[pair]['mean rank']:.2f}", f"{mean:+.2f}", str(seeds)])
    print(f"\n{method}\n\n{markdown_table(rows)}\n")

    targets = [target for target, _ in pairs]
    groups = [[i for i, of in enumerate(targets) if of == t] for t in dict.fromkeys(targets)]
    means = np.array([np.mean(gains[pair]) for pair in pairs])
    centres = np.array(
        [means[[i for i, of in enumerate(targets) if of == t]].mean() for t in targets]
    )
    rows = [["Ranked by", "rho", "95 % interval", "p"]]
    drawn = resample([gains[pair] for pair in pairs], centres)
    for by in ("mean rank", *(signal.name for signal in SIGNALS)):
        of_pairs = np.array([ranks[pair][by] for pair in pairs])
        low, high = interval(of_pairs, *drawn)
        p = p_value(of_pairs, means - centres, groups)
        rows.append(
            [by, f"{rho(-of_pairs, means - centres):.2f}", f"{low:.2f} to {high:.2f}", f"{p:.3f}"]
        )
    print(markdown_table(rows))


def main() -> None:
    """Rank the sources of each target, and compare with the gains of each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--methods", nargs="+", default=["joint", "La-DTL"])
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0, help="of the target's sentences")
    options = parser.parse_args()
    cells = summarize(read_rows(options.results))
    by_method = {method: gains_of(cells, method, options.rate) for method in options.methods}
    pairs = sorted({pair for gains in by_method.values() for pair in gains})
    texts = {
        name: read_labelled_text(options.corpora / name / "train.ner.gz", "ents")
        for name in sorted({name for pair in pairs for name in pair})
    }
    ranks = {}
    for target in sorted({target for target, _ in pairs}):
        size = round(options.rate * len(texts[target].sentences))
        path = options.corpora / target / "train.ner.gz"
        sample = read_labelled_text(path, "ents", limit=size, seed=options.seed)
        sources = {source: texts[source] for of, source in pairs if of == target}
        of_target = ranks_for(sample, sources, options.corpora / "biomed-word2vec")
        ranks.update({(target, source): found for source, found in of_target.items()})
    for method, gains in by_method.items():
        if gains:
            show(method, ranks, gains)


if __name__ == "__main__":
    main()
