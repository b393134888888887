"""Posterior probabilities of spans, as a spaCy user meets them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span, SpanGroup, Token
from spacy.tokens.underscore import Underscore
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.pipeline import confidence, factories
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.confidence import Confidence, register, set_with_scores
from tests.conftest import add_small_pipe, blank, examples

FACTORIES = {"transfer_ner": "ents", "transfer_tagger": "tag", "transfer_chunker": "spans:chunks"}
ALL = Confidence()


@pytest.fixture(autouse=True)
def _registered() -> None:
    register()


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


def tagged(nlp: Language, confidence: Confidence = ALL) -> list[Doc]:
    with pipe_of(nlp).use_confidence(confidence):
        return list(nlp.pipe(texts(nlp)))


def one(nlp: Language, text: str, confidence: Confidence = ALL) -> Doc:
    with pipe_of(nlp).use_confidence(confidence):
        return nlp(text)


def group_of(doc: Doc, nlp: Language) -> Any:
    return doc.spans["chunks" if nlp.pipe_names == ["transfer_chunker"] else nlp.pipe_names[0]]


@pytest.mark.parametrize(("factory", "layer"), FACTORIES.items())
def test_every_span_has_its_probability(
    pipelines: dict[str, Language], factory: str, layer: str
) -> None:
    nlp = pipelines[factory]
    without = [annotation(doc, layer) for doc in nlp.pipe(texts(nlp))]
    assert all(factory not in doc.spans for doc in nlp.pipe(texts(nlp)))
    docs = tagged(nlp)
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
    together, alone = (
        [score for doc in docs for score in doc.spans["transfer_ner"].attrs["scores"]]
        for docs in (tagged(nlp), [one(nlp, text) for text in texts(nlp)])
    )
    assert together == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize(("factory", "layer"), FACTORIES.items())
def test_what_is_below_the_threshold_is_dropped_or_marked(
    pipelines: dict[str, Language], factory: str, layer: str
) -> None:
    nlp = pipelines[factory]
    scores = [s for doc in tagged(nlp) for s in group_of(doc, nlp).attrs["scores"]]
    threshold = sorted(scores)[len(scores) // 2]
    marked = tagged(nlp, Confidence(threshold, "mark"))
    dropped = tagged(nlp, Confidence(threshold, "drop"))
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
    doc = one(nlp, "Bo left Oslo")
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
    for n, message in ((1.5, "whole number; found 1.5"), (0, "at least 1; found 0")):
        for of in (doc, nlp("")):
            with pytest.raises(ValueError, match=f"n must be (a )?{message}"):
                pipe.n_best(of, n)  # type: ignore[arg-type]


def test_scores_survive_a_docbin(pipelines: dict[str, Language], tmp_path: Path) -> None:
    nlp = pipelines["transfer_ner"]
    doc = one(nlp, "Ann Lee lives in Rome now")
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
    assert list(one(nlp, "").spans["transfer_ner"]) == []
    doc = one(nlp, "Ann Lee lives in Rome now")
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
    expected = nlp.evaluate(gold)["ents_f"]
    with pipe_of(nlp).use_confidence(Confidence()):
        assert nlp.evaluate(examples(nlp, TARGET, 20, seed=2))["ents_f"] == expected


def test_who_writes_the_entities_last_is_asked(nlp: Language) -> None:
    doc = Doc(nlp.vocab, words=["Ann", "left"])
    for key, score in (("first", 0.25), ("second", 0.5), ("first", 0.75)):
        set_with_scores(doc, "ents", ["S-person", "O"], [score, 0.0], key, Confidence())
        assert doc.ents[0]._.confidence == score
    [again] = DocBin(docs=[doc], store_user_data=True).get_docs(nlp.vocab)
    assert again.ents[0]._.confidence == 0.75
    set_with_scores(doc, "ents", ["S-place", "O"], [0.9, 0.0], "second", Confidence())
    assert doc.ents[0]._.confidence == 0.9


def test_two_components_and_one_without_confidence(pipelines: dict[str, Language]) -> None:
    nlp = trained_on("transfer_ner", "ents")
    nlp.add_pipe("transfer_ner", name="second", source=pipelines["transfer_ner"])
    second = nlp.get_pipe("second")
    assert isinstance(second, TransferPipe)
    try:
        second.temperature = 3.0
        with pipe_of(nlp).use_confidence(Confidence()), second.use_confidence(Confidence()):
            doc = nlp("Ann Lee lives in Rome now")
            assert list(doc.spans) == ["transfer_ner", "second"]
            # The second looks for more entities, and leaves those of the first with their scores.
            scores = doc.spans["transfer_ner"].attrs["scores"]
            assert scores == [ent._.confidence for ent in doc.ents][: len(scores)]
            assert len(scores) > 1
            nlp.disable_pipe("transfer_ner")
            alone = nlp("Ann Lee lives in Rome now")
            assert [e._.confidence for e in alone.ents] == alone.spans["second"].attrs["scores"]
            assert alone.spans["second"].attrs["scores"] != scores
    finally:
        second.temperature, second.name = 1.0, "transfer_ner"


@pytest.mark.parametrize("factory", FACTORIES)
def test_scores_of_what_was_found_before_are_forgotten(
    pipelines: dict[str, Language], factory: str
) -> None:
    nlp = pipelines[factory]
    doc = one(nlp, "Ann Lee lives in Rome now")
    spans = list(group_of(doc, nlp))
    assert all(span._.confidence for span in spans)
    pipe_of(nlp)(doc)
    assert [span._.confidence for span in spans] == [None] * len(spans)
    assert [token._.confidence for token in doc] == [None] * len(doc)
    doc.spans[factory] = spans[:1]  # somebody else's
    pipe_of(nlp)(doc)
    assert list(doc.spans[factory]) == spans[:1]


def test_what_is_tagged_again_keeps_its_scores(pipelines: dict[str, Language]) -> None:
    nlp = pipelines["transfer_ner"]
    for doc in tagged(nlp):
        before = [(entity.start, entity._.confidence) for entity in doc.ents]
        with pipe_of(nlp).use_confidence(ALL):
            again = nlp(doc)
        assert [(entity.start, entity._.confidence) for entity in again.ents] == before
        # An entity of somebody else has none, then or now.
        doc.ents = [Span(doc, 0, 1, label="other")]
        with pipe_of(nlp).use_confidence(ALL):
            mine = nlp(doc).spans["transfer_ner"]
        assert "other" not in {span.label_ for span in mine}


def test_each_tag_has_its_probability(pipelines: dict[str, Language]) -> None:
    doc = one(pipelines["transfer_tagger"], "Ann Lee lives in Rome now")
    scores = doc.spans["transfer_tagger"].attrs["scores"]
    assert [token._.confidence for token in doc] == scores
    assert [span._.confidence for span in doc.spans["transfer_tagger"]] == scores
    doc[1].tag_ = "other"
    assert [token._.confidence for token in doc] == [scores[0], None, *scores[2:]]
    sure = max(scores)
    doc = one(pipelines["transfer_tagger"], doc.text, Confidence(sure))
    assert [token._.confidence for token in doc] == [s if s == sure else None for s in scores]
    # What an entity has, its tokens have not.
    doc = one(pipelines["transfer_ner"], doc.text)
    assert {token._.confidence for token in doc} == {None}


def test_scores_are_those_of_the_group_as_it_is_now(nlp: Language) -> None:
    doc = Doc(nlp.vocab, words=["a"] * 6)
    tags = ["S-A", "S-B", "O", "S-A", "O", "O"]
    set_with_scores(doc, "ents", tags, [0.1, 0.2, 0, 0.3, 0, 0], "ner", Confidence())
    first, second, third = doc.ents
    group = doc.spans["ner"]
    assert [span._.confidence for span in (first, second, third)] == [0.1, 0.2, 0.3]
    group.attrs["scores"][1] = 0.9
    assert second._.confidence == 0.9
    other = Span(doc, 1, 3, label="C")
    group[1] = other
    assert (second._.confidence, other._.confidence) == (None, 0.9)
    early, late = Span(doc, 0, 2, label="A"), Span(doc, 5, 6, label="B")
    group.extend([late, early])
    assert early._.confidence is None  # no score yet
    group.attrs["scores"] += [0.4, 0.5]
    assert (early._.confidence, late._.confidence) == (0.5, 0.4)
    group[0], group[1] = other, first
    assert (first._.confidence, other._.confidence) == (0.9, 0.1)
    doc.spans["ner"] = SpanGroup(doc, spans=[third], attrs={"scores": [0.7]})
    assert [span._.confidence for span in (first, third)] == [None, 0.7]
    del doc.spans["ner"]
    assert third._.confidence is None


def test_merged_tokens_have_no_score_of_others(nlp: Language) -> None:
    doc = Doc(nlp.vocab, words=["a", "b", "c", "d", "e"])
    tags = ["B-A", "E-A", "S-A", "S-A", "O"]
    set_with_scores(doc, "ents", tags, [0.1, 0, 0.2, 0.3, 0], "ner", Confidence())
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    assert [(ent.start, ent._.confidence) for ent in doc.ents] == [(0, 0.1), (1, 0.2), (2, 0.3)]
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[2:4])
    assert [ent._.confidence for ent in doc.ents][:2] in ([0.1, 0.2], [None, None])


def test_a_long_doc_is_looked_through_once(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    place = confidence._place
    monkeypatch.setattr(confidence, "_place", lambda span: looked_at.append(1) or place(span))
    size = 512
    doc = Doc(nlp.vocab, words=["a"] * size)
    tags, other = ["S-A"] * size, ["S-B"] * size
    set_with_scores(doc, "ents", tags, [0.5] * size, "first", Confidence())
    set_with_scores(doc, "ents", other, [0.6] * size, "second", Confidence())
    assert {ent._.confidence for ent in doc.ents} == {0.6}
    assert {span._.confidence for span in doc.spans["first"]} == {0.5}
    assert len(looked_at) < 20 * size


def loaded_with(folder: Path, settings: dict[str, Any]) -> Language:
    config = {f"components.transfer_ner.{name}": value for name, value in settings.items()}
    return spacy.load(folder, config=config)


def test_settings_are_those_of_the_config(tmp_path: Path) -> None:
    trained_on("transfer_ner", "ents").to_disk(tmp_path / "model")
    for settings in ({"threshold": 0.5}, {"below": "mark"}):
        with pytest.raises(ValueError, match="of 'transfer_ner' need confidence = true"):
            loaded_with(tmp_path / "model", settings)
    with pytest.raises(ValueError, match="threshold must be from 0 to 1; found 2"):
        loaded_with(tmp_path / "model", {"threshold": 2.0})
    nlp = loaded_with(tmp_path / "model", {"confidence": True, "threshold": 0.5})
    pipe = pipe_of(nlp)
    for name in ("confidence", "threshold", "below"):
        with pytest.raises(AttributeError, match=rf"{name} .* config={{'components\.transfer_ner"):
            setattr(pipe, name, 0.9)
    with pipe.use_confidence(Confidence(0.9)):
        assert pipe.confidence == Confidence(0.9)
        nlp.to_disk(tmp_path / "again")
    assert pipe.confidence == Confidence(0.5)
    assert pipe_of(spacy.load(tmp_path / "again")).confidence == Confidence(0.5)


@pytest.fixture
def _no_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    for of in ("span", "token"):
        monkeypatch.setattr(Underscore, f"{of}_extensions", {})


@pytest.mark.usefixtures("_no_extensions")
def test_a_component_with_confidence_makes_the_extensions_known(nlp: Language) -> None:
    importlib.reload(factories)  # as spaCy does at the first pipeline of a process
    nlp.add_pipe("transfer_tagger")
    assert not Span.has_extension("confidence")
    for name in ("one", "two"):  # the second without a warning
        nlp.add_pipe("transfer_ner", name=name, config={"confidence": True})
    doc = nlp.make_doc("a b")
    assert doc[:1]._.confidence is doc[0]._.confidence is None


@pytest.mark.usefixtures("_no_extensions")
def test_a_name_that_is_taken_stays_with_who_has_it(nlp: Language) -> None:
    Span.set_extension("confidence", default=0.25)
    message = r"span\._\.confidence is another extension already: spacy_transfer\.pipeline\.conf"
    with pytest.warns(UserWarning, match=message) as caught:
        nlp.add_pipe("transfer_ner", config={"confidence": True})
    assert len(caught) == 1
    assert nlp.make_doc("a b")[:1]._.confidence == 0.25
    assert Token.has_extension("confidence")


def test_pipe_analysis_knows_of_the_groups(nlp: Language) -> None:
    for factory in FACTORIES:
        nlp.add_pipe(factory)
    attributes = nlp.analyze_pipes()["attrs"]
    for attribute in ("doc.spans", "span._.confidence"):
        assert attributes[attribute]["assigns"] == list(FACTORIES)
    assert attributes["token._.confidence"]["assigns"] == ["transfer_tagger"]
