"""Posterior probabilities of spans, as a spaCy user meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.confidence import Confidence
from tests.conftest import add_small_pipe, blank, examples

FACTORIES = {"transfer_ner": "ents", "transfer_tagger": "tag", "transfer_chunker": "spans:chunks"}


def trained_on(factory: str, layer: str, scheme: str = "BIOES") -> Language:
    nlp = add_small_pipe(factory, blank(), tag_scheme=scheme)
    batch = examples(nlp, TARGET, 20, layer=layer)
    nlp.initialize(lambda: batch)
    optimizer = adagrad(0.1)
    for _ in range(5):
        nlp.update(batch, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Language]:
    return {factory: trained_on(factory, layer) for factory, layer in FACTORIES.items()}


def pipe_of(nlp: Language) -> TransferPipe:
    pipe = nlp.get_pipe(nlp.pipe_names[0])
    assert isinstance(pipe, TransferPipe)
    return pipe


def texts(nlp: Language, count: int = 20) -> list[str]:
    return [example.reference.text for example in examples(nlp, TARGET, count, seed=2)]


def annotation(doc: Doc, layer: str) -> list[tuple[int, int, str]]:
    if layer == "tag":
        return [(token.i, token.i + 1, token.tag_) for token in doc if token.tag]
    spans = doc.ents if layer == "ents" else doc.spans["chunks"]
    return [(span.start, span.end, span.label_) for span in spans]


def group_of(doc: Doc, nlp: Language) -> Any:
    return doc.spans["chunks" if nlp.pipe_names == ["transfer_chunker"] else nlp.pipe_names[0]]


@pytest.mark.parametrize(("factory", "layer"), FACTORIES.items())
def test_every_span_has_its_probability(
    pipelines: dict[str, Language], factory: str, layer: str
) -> None:
    nlp = pipelines[factory]
    pipe_of(nlp).confidence = None
    without = [annotation(doc, layer) for doc in nlp.pipe(texts(nlp))]
    assert all(factory not in doc.spans for doc in nlp.pipe(texts(nlp)))
    pipe_of(nlp).confidence = Confidence()
    docs = list(nlp.pipe(texts(nlp)))
    assert [annotation(doc, layer) for doc in docs] == without
    scores = []
    for doc, expected in zip(docs, without, strict=True):
        group = group_of(doc, nlp)
        assert [(span.start, span.end, span.label_) for span in group] == expected
        assert len(group.attrs["scores"]) == len(expected)
        assert not any(group.attrs["below"])
        scores += group.attrs["scores"]
        if layer == "ents":
            assert [ent._.confidence for ent in doc.ents] == group.attrs["scores"]
            assert doc[:1]._.confidence is None or expected[0][:2] == (0, 1)
    assert all(0 < score <= 1 for score in scores)
    assert len({round(score, 6) for score in scores}) > 10


def test_batches_do_not_change_probabilities(pipelines: dict[str, Language]) -> None:
    nlp = pipelines["transfer_ner"]
    pipe_of(nlp).confidence = Confidence()
    together, alone = (
        [score for doc in docs for score in doc.spans["transfer_ner"].attrs["scores"]]
        for docs in (nlp.pipe(texts(nlp), batch_size=20), map(nlp, texts(nlp)))
    )
    assert together == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize(("factory", "layer"), FACTORIES.items())
def test_what_is_below_the_threshold_is_dropped_or_marked(
    pipelines: dict[str, Language], factory: str, layer: str
) -> None:
    nlp = pipelines[factory]
    pipe_of(nlp).confidence = Confidence()
    scores = [s for doc in nlp.pipe(texts(nlp)) for s in group_of(doc, nlp).attrs["scores"]]
    threshold = sorted(scores)[len(scores) // 2]
    pipe_of(nlp).confidence = Confidence(threshold, "mark")
    marked = list(nlp.pipe(texts(nlp)))
    pipe_of(nlp).confidence = Confidence(threshold, "drop")
    dropped = list(nlp.pipe(texts(nlp)))
    for with_all, with_some in zip(marked, dropped, strict=True):
        group = group_of(with_all, nlp)
        sure = [
            (span.start, span.end, span.label_)
            for span, below in zip(group, group.attrs["below"], strict=True)
            if not below
        ]
        assert annotation(with_some, layer) == sure
        assert len(annotation(with_all, layer)) == len(group)
        assert all(score >= threshold for score in group_of(with_some, nlp).attrs["scores"])
    assert sum(len(annotation(doc, layer)) for doc in dropped) < len(scores)


@pytest.mark.parametrize(("factory", "layer"), FACTORIES.items())
def test_the_most_probable_readings(
    pipelines: dict[str, Language], factory: str, layer: str
) -> None:
    nlp = pipelines[factory]
    pipe = pipe_of(nlp)
    pipe.confidence = Confidence()
    doc = nlp("Bo left Oslo")
    readings = pipe.n_best(doc, 200_000)
    best = [(span.start, span.end, span.label_) for span in readings[0].spans]
    assert best == annotation(doc, layer)
    probabilities = [reading.probability for reading in readings]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-4)
    # A span is as probable as all readings that have it.
    for span, score in zip(group_of(doc, nlp), group_of(doc, nlp).attrs["scores"], strict=True):
        having = [
            reading.probability
            for reading in readings
            if any(
                (s.start, s.end, s.label_) == (span.start, span.end, span.label_)
                for s in reading.spans
            )
        ]
        assert sum(having) == pytest.approx(score, abs=1e-4)
    assert [len(pipe.n_best(doc, n)) for n in (1, 3)] == [1, 3]
    assert pipe.n_best(nlp(""), 3)[0].spans == []


def test_scores_survive_a_docbin(pipelines: dict[str, Language], tmp_path: Path) -> None:
    nlp = pipelines["transfer_ner"]
    pipe_of(nlp).confidence = Confidence()
    doc = nlp("Ann Lee lives in Rome now")
    DocBin(docs=[doc]).to_disk(tmp_path / "docs.spacy")
    [loaded] = DocBin().from_disk(tmp_path / "docs.spacy").get_docs(spacy.blank("xx").vocab)
    scores = doc.spans["transfer_ner"].attrs["scores"]
    assert loaded.spans["transfer_ner"].attrs["scores"] == pytest.approx(scores)
    assert [ent._.confidence for ent in loaded.ents] == pytest.approx(scores)
    assert scores


def test_confidence_by_the_config_and_after_loading(tmp_path: Path) -> None:
    nlp = trained_on("transfer_ner", "ents", "BIO")
    nlp.to_disk(tmp_path / "model")
    config = {"confidence": True, "threshold": 0.25, "below": "mark"}
    settings = {f"components.transfer_ner.{name}": value for name, value in config.items()}
    loaded = spacy.load(tmp_path / "model", config=settings)
    assert pipe_of(loaded).confidence == Confidence(0.25, "mark")
    assert loaded("Ann Lee lives in Rome now").spans["transfer_ner"].attrs["scores"]
    assert "transfer_ner" not in spacy.load(tmp_path / "model")("Ann is here").spans


def test_empty_docs_and_the_score_of_a_span_that_was_not_found(
    pipelines: dict[str, Language],
) -> None:
    nlp = pipelines["transfer_ner"]
    pipe_of(nlp).confidence = Confidence()
    assert list(nlp("").spans["transfer_ner"]) == []
    doc = nlp("Ann Lee lives in Rome now")
    assert Span(doc, 0, 2, label="place")._.confidence is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "threshold must be from 0 to 1; found 1.5"),
        ({"below": "hide"}, "below must be drop or mark; found 'hide'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Confidence(**settings)


def test_scores_are_evaluated_as_without(pipelines: dict[str, Language]) -> None:
    nlp = pipelines["transfer_ner"]
    gold: list[Example] = examples(nlp, TARGET, 20, seed=2)
    pipe_of(nlp).confidence = None
    expected = nlp.evaluate(gold)["ents_f"]
    pipe_of(nlp).confidence = Confidence()
    assert nlp.evaluate(examples(nlp, TARGET, 20, seed=2))["ents_f"] == expected
