"""Are spans that come with a probability of p right in a share p of all cases?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from spacy.language import Language
from spacy.training import Example

from spacy_transfer.corpus.task_corpus import TaskCorpus
from spacy_transfer.evaluation.counts import judged_predictions, predicted
from spacy_transfer.evaluation.table import markdown_table
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.confidence import SCORES, Confidence

BINS = 10
_RANGE = 0.2, 10.0  # of temperatures
_LEAST = 1e-6  # a probability of 0 or 1 that is wrong is not infinitely so


class Judged(NamedTuple):
    """Predicted spans: the probability of each, and whether it is right. Both [spans]."""

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]


class Bin(NamedTuple):
    """Spans of like probability: how many, mean probability, and the share that is right."""

    spans: int
    confidence: float
    accuracy: float


class Calibration(NamedTuple):
    """What a temperature does to the probabilities of a component.

    Attributes:
        temperature: the one with the least log-loss.
        before: spans on the dev corpus, at the temperature that the component had.
        after: spans on the dev corpus, at this temperature.
    """

    temperature: float
    before: Judged
    after: Judged


def calibrate(nlp: Language, pipe: TransferPipe, corpus: TaskCorpus) -> Calibration:
    """Find the temperature with the least log-loss of predicted spans being right on a dev corpus
    (Guo et al. 2017), and set it. What is predicted stays the same.

    ValueError where nothing is predicted.
    """
    before = judge(nlp, pipe, corpus)
    if not len(before.scores):
        raise ValueError(f"{corpus.path}: nothing is predicted, so there is nothing to calibrate")

    def loss(log_temperature: float) -> float:
        pipe.temperature = float(np.exp(log_temperature))
        return log_loss(judge(nlp, pipe, corpus))

    bounds = tuple(np.log(_RANGE))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.01})
    pipe.temperature = float(np.exp(found.x))
    return Calibration(pipe.temperature, before, judge(nlp, pipe, corpus))


def judge(nlp: Language, pipe: TransferPipe, corpus: TaskCorpus) -> Judged:
    """What a component predicts for a corpus, with probabilities, against its gold.

    Components after it in the pipeline are left out: they may write where it has written.
    """
    pipes = [component for _, component in nlp.pipeline]
    after = nlp.pipe_names[pipes.index(pipe) + 1 :]
    with pipe.use_confidence(Confidence()), nlp.select_pipes(disable=after):
        examples = predicted(nlp, corpus(nlp))
    key = corpus.layer.partition(":")[2] or pipe.name
    pairs = [pair for example in examples for pair in _judged(example, corpus.layer, key)]
    scores, right = zip(*pairs, strict=True) if pairs else ((), ())
    return Judged(np.array(scores, dtype=np.float64), np.array(right, dtype=np.bool_))


def log_loss(judged: Judged) -> float:
    """The mean of -log of the probability of what is the case, in nats."""
    scores = judged.scores.clip(_LEAST, 1 - _LEAST)
    return float(-np.where(judged.right, np.log(scores), np.log1p(-scores)).mean())


def bins_of(judged: Judged) -> list[Bin]:
    """Spans by probability, in bins of equal width; empty ones are left out."""
    places = np.minimum((judged.scores * BINS).astype(int), BINS - 1)
    return [
        Bin(int(of.sum()), float(judged.scores[of].mean()), float(judged.right[of].mean()))
        for of in (places == place for place in range(BINS))
        if of.any()
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """The mean over spans of how far the share that is right is from the probability of its bin."""
    total = sum(one.spans for one in bins)
    return sum(one.spans * abs(one.accuracy - one.confidence) for one in bins) / total


def calibration_table(judged: Mapping[str, Judged]) -> str:
    """A Markdown table: spans, the share that is right, mean probability, error and log-loss."""
    lines = [["", "Spans", "Right", "Mean probability", "Calibration error", "Log-loss"]]
    for name, of_name in judged.items():
        if not len(of_name.scores):
            lines.append([name, "0", "", "", "", ""])
            continue
        error = expected_calibration_error(bins_of(of_name))
        shares = [of_name.right.mean(), of_name.scores.mean(), error]
        lines.append(
            [
                name,
                f"{len(of_name.scores):,}",
                *(f"{100 * share:.2f} %" for share in shares),
                f"{log_loss(of_name):.4f}",
            ]
        )
    return markdown_table(lines)


def _judged(example: Example, layer: str, key: str) -> Iterator[tuple[float, bool]]:
    group = example.predicted.spans[key]
    scores = {
        (span.start, span.end): score
        for span, score in zip(group, group.attrs[SCORES], strict=True)
    }
    for span, right in judged_predictions(example, layer):
        if (span.start, span.end) not in scores:  # an entity of a component before this one
            continue
        yield scores[span.start, span.end], right
