"""Two pipelines on one test corpus: their scores, the difference, and how sure these are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import spacy
from spacy.training import Example

from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.evaluation.counts import Counts, count_correct
from spacy_transfer.evaluation.pipelines import annotate, layer_of
from spacy_transfer.evaluation.significance import DRAWS, Floats, bootstrap, f1, randomisation_test
from spacy_transfer.evaluation.table import markdown_table


class Estimate(NamedTuple):
    """A score, or a difference of scores, and its 95 % interval over test documents."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Two systems on the same documents, of which `spacy transfer convert` makes one a sentence.

    Attributes:
        layer: what they tag.
        documents: on how many of them.
        first: F1 of the first system; of tags, that is the accuracy.
        second: that of the second.
        difference: by how much the second is above the first.
        p: of a two-sided randomisation test.
    """

    layer: str
    documents: int
    first: Estimate
    second: Estimate
    difference: Estimate
    p: float


def compare(
    models: tuple[str, str],
    test: Path,
    layer: str | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Tag a test corpus with two pipelines and compare what they get right.

    Args:
        models: folders or packages.
        test: a `.spacy` file or a folder of them.
        layer: what to compare; by default what the pipelines' transfer components tag.
        draws: the number of shuffles, and of resamples.
        seed: theirs.

    Raises:
        ValueError: pipelines that do not tell the layer, or do not annotate it.
        CorpusError: a corpus that cannot be read, or without annotation of the layer.
    """
    pipelines = {model: spacy.load(model) for model in models}
    corpus = task_corpus(test, layer or layer_of(pipelines))
    first, second = (annotate(model, pipelines[model], corpus) for model in models)
    return compare_examples(first, second, corpus.layer, draws=draws, seed=seed)


def compare_examples(
    first: Sequence[Example],
    second: Sequence[Example],
    layer: str,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compare what two systems got right in a layer of the same examples."""
    of_first, of_second = (count_correct(examples, layer) for examples in (first, second))
    both = bootstrap(np.stack([of_first, of_second]), resamples=draws, seed=seed)
    one, other = (100 * float(f1(counts.sum(0))) for counts in (of_first, of_second))
    return Comparison(
        layer,
        len(first),
        Estimate(one, *_interval(100 * both[:, 0])),
        Estimate(other, *_interval(100 * both[:, 1])),
        Estimate(other - one, *_interval(100 * (both[:, 1] - both[:, 0]))),
        randomisation_test(of_first[None], of_second[None], shuffles=draws, seed=seed),
    )


def comparison_report(
    models: tuple[str, str],
    test: str | Path,
    comparison: Comparison,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> str:
    """What `spacy transfer compare` prints."""
    first, second = models
    return (
        f"A: {first}\nB: {second}\n"
        f"{test}: {comparison.documents:,} documents, layer {comparison.layer}\n\n"
        f"{comparison_table(comparison)}\n\n"
        f"p = {comparison.p:.4f} (two-sided randomised paired test, {draws:,} shuffles of "
        f"documents, seed {seed};\nintervals are percentiles of as many bootstrap resamples)"
    )


def comparison_table(comparison: Comparison) -> str:
    """Scores in percent as a Markdown table, the models as A and B."""
    score = "accuracy" if comparison.layer == "tag" else "F1"
    lines = [["", score, "95 % interval"]]
    for name, (value, low, high), sign in (
        ("A", comparison.first, ""),
        ("B", comparison.second, ""),
        ("B - A", comparison.difference, "+"),
    ):
        lines.append([name, f"{value:{sign}.2f}", f"{low:{sign}.2f} to {high:{sign}.2f}"])
    return markdown_table(lines)


def estimate(counts: Counts, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """F1 in percent, of tags the accuracy, of counts [sentences, 3]."""
    scores = 100 * bootstrap(counts[None], resamples=draws, seed=seed)[:, 0]
    return Estimate(100 * float(f1(counts.sum(0))), *_interval(scores))


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
