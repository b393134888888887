from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from spacy.language import Language

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.corpus.task_corpus import TaskCorpus
from spacy_transfer.evaluation.calibration import (
    Judged,
    bins_of,
    calibrate,
    expected_calibration_error,
    judge,
    log_loss,
)
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.pipeline.base import TransferPipe
from tests.conftest import add_small_pipe, blank, examples

JUDGED = Judged(
    np.array([0.05, 0.31, 0.35, 0.39, 0.8, 0.85, 1.0]),
    np.array([False, True, False, False, True, False, True]),
)


def test_bins_and_their_error_by_hand() -> None:
    bins = bins_of(JUDGED)
    assert [(one.spans, one.accuracy) for one in bins] == [(1, 0), (3, 1 / 3), (2, 0.5), (1, 1)]
    assert [one.confidence for one in bins] == pytest.approx([0.05, 0.35, 0.825, 1.0])
    expected = (0.05 + 3 * abs(1 / 3 - 0.35) + 2 * 0.325 + 0.0) / 7
    assert expected_calibration_error(bins) == pytest.approx(expected)


def test_the_log_loss_by_hand() -> None:
    two = Judged(np.array([0.9, 0.2]), np.array([True, False]))
    assert log_loss(two) == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2)
    assert math.isfinite(log_loss(Judged(np.array([1.0]), np.array([False]))))


@pytest.fixture
def sure(corpus_files: Callable[..., Path]) -> tuple[Language, TransferPipe, TaskCorpus]:
    """A component that has seen too little to be as sure as it is, and text of other names."""
    nlp = add_small_pipe("transfer_ner", blank())
    batch = examples(nlp, TARGET, 3)
    nlp.initialize(lambda: batch)
    optimizer = adagrad(0.1)
    for _ in range(30):
        nlp.update(batch, sgd=optimizer)
    pipe = nlp.get_pipe("transfer_ner")
    assert isinstance(pipe, TransferPipe)
    return nlp, pipe, task_corpus(corpus_files("source", 60))


def test_the_temperature_with_the_least_loss(
    sure: tuple[Language, TransferPipe, TaskCorpus], tmp_path: Path
) -> None:
    nlp, pipe, corpus = sure
    # Labels differ, so that what is predicted for text of the source is never right...
    assert not judge(nlp, pipe, corpus).right.any()
    found = calibrate(nlp, pipe, corpus)
    assert pipe.temperature == found.temperature > 5.0  # ... and any certainty is too much.
    assert log_loss(found.after) < log_loss(found.before)
    assert len(found.after.scores) == len(found.before.scores) > 10
    assert pipe.confidence is None
    best = log_loss(found.after)
    for other in (0.7 * found.temperature, 1.4 * found.temperature):
        pipe.temperature = min(other, 10.0)
        assert log_loss(judge(nlp, pipe, corpus)) >= best - 1e-3
    pipe.temperature = found.temperature
    nlp.to_disk(tmp_path / "model")
    loaded = add_small_pipe("transfer_ner", blank()).from_disk(tmp_path / "model")
    of_loaded = loaded.get_pipe("transfer_ner")
    assert isinstance(of_loaded, TransferPipe)
    assert of_loaded.temperature == pytest.approx(found.temperature)
    np.testing.assert_allclose(
        judge(loaded, of_loaded, corpus).scores, found.after.scores, rtol=1e-4
    )


def test_entities_of_another_component_are_not_judged(
    sure: tuple[Language, TransferPipe, TaskCorpus],
) -> None:
    nlp, pipe, corpus = sure
    ruler = nlp.add_pipe("entity_ruler", before="transfer_ner")
    ruler.add_patterns([{"label": "OTHER", "pattern": "Paris"}])
    docs = list(nlp.pipe(example.predicted for example in corpus(nlp)))
    others = sum(ent.label_ == "OTHER" for doc in docs for ent in doc.ents)
    assert others > 0
    assert len(judge(nlp, pipe, corpus).scores) == sum(len(doc.ents) for doc in docs) - others


def test_the_temperature_changes_probabilities_and_not_what_is_predicted(
    sure: tuple[Language, TransferPipe, TaskCorpus],
) -> None:
    nlp, pipe, _ = sure
    texts = [example.reference.text for example in examples(nlp, TARGET, 20, seed=4)]
    cold = [[(e.start, e.end, e.label_) for e in doc.ents] for doc in nlp.pipe(texts)]
    likely = pipe.n_best(nlp(texts[0]), 1)[0].probability
    pipe.temperature = 4.0
    assert [[(e.start, e.end, e.label_) for e in doc.ents] for doc in nlp.pipe(texts)] == cold
    assert pipe.n_best(nlp(texts[0]), 1)[0].probability < likely
    with pytest.raises(ValueError, match="a temperature must be above 0; found 0"):
        pipe.temperature = 0


@pytest.mark.parametrize("factory", ["transfer_tagger", "transfer_chunker"])
def test_tags_and_chunks_are_judged_too(
    factory: str, nlp: Language, corpus_files: Callable[..., Path]
) -> None:
    layer = "tag" if factory == "transfer_tagger" else "spans:chunks"
    add_small_pipe(factory, nlp)
    batch = examples(nlp, TARGET, 20, layer=layer)
    nlp.initialize(lambda: batch)
    optimizer = adagrad(0.1)
    for _ in range(10):
        nlp.update(batch, sgd=optimizer)
    pipe = nlp.get_pipe(factory)
    assert isinstance(pipe, TransferPipe)
    corpus = task_corpus(corpus_files(TARGET, 20, seed=1), layer)
    judged = judge(nlp, pipe, corpus)
    score = nlp.evaluate(list(corpus(nlp)))["tag_acc" if layer == "tag" else "spans_chunks_p"]
    assert judged.right.mean() == pytest.approx(score)


def test_nothing_predicted_is_nothing_to_calibrate(
    nlp: Language, corpus_files: Callable[..., Path]
) -> None:
    add_small_pipe("transfer_ner", nlp)
    nlp.initialize(lambda: examples(nlp, TARGET, 5))
    pipe = nlp.get_pipe("transfer_ner")
    assert isinstance(pipe, TransferPipe)
    with torch.no_grad():
        shim_of(pipe.model).network.head(TARGET).emission.bias[0] = 100.0  # O
    with pytest.raises(
        ValueError, match=r"target-0\.spacy: nothing is predicted, so there is nothi"
    ):
        calibrate(nlp, pipe, task_corpus(corpus_files(TARGET, 3)))
