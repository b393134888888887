"""White space, the starts of sentences and entities that are there, as a spaCy user meets them."""

from __future__ import annotations

import math

import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.confidence import Confidence
from tests.conftest import add_small_pipe, blank, examples

WORDS = ["\n", "Ann", "  ", "Lee", "\n", "Bo", "Oslo", "Rome", "\t"]
LAYERS = {"transfer_ner": "ents", "transfer_chunker": "spans:chunks"}
FOUND = tuple[int, int, str]


def eager(factory: str, scheme: str) -> tuple[Language, TransferPipe]:
    """A component that would have everything in spans, as long ones as there may be."""
    nlp = add_small_pipe(factory, blank(), tag_scheme=scheme)
    batch = examples(nlp, TARGET, 10, layer=LAYERS[factory])
    nlp.initialize(lambda: batch)
    pipe = nlp.get_pipe(factory)
    assert isinstance(pipe, TransferPipe)
    head = shim_of(pipe.model).network.head(TARGET)
    inside = [number for number, tag in pipe.task_tags(TARGET).names.items() if tag[0] == "I"]
    outside = [number for number, tag in pipe.task_tags(TARGET).names.items() if tag == "O"]
    with torch.no_grad():
        head.emission.bias[inside] += 6
        head.emission.bias[outside] -= 6
    return nlp, pipe


def found_in(doc: Doc, layer: str) -> list[FOUND]:
    spans = doc.ents if layer == "ents" else doc.spans[layer.partition(":")[2]]
    return [(span.start, span.end, span.label_) for span in spans]


@pytest.mark.parametrize("scheme", ["BIOES", "BIO"])
@pytest.mark.parametrize(("factory", "layer"), LAYERS.items())
def test_no_span_begins_or_ends_on_white_space(factory: str, layer: str, scheme: str) -> None:
    nlp, pipe = eager(factory, scheme)
    with pipe.use_confidence(Confidence()):
        doc = pipe(Doc(nlp.vocab, words=WORDS))
    spans = found_in(doc, layer)
    assert spans
    for start, end, _ in spans:
        assert not doc[start].is_space
        assert not doc[end - 1].is_space
    if scheme == "BIO":  # the last of a span is an I, like any other
        assert not any(token.is_space for start, end, _ in spans for token in doc[start:end])
    else:
        assert any(token.is_space for start, end, _ in spans for token in doc[start:end])


@pytest.mark.parametrize("scheme", ["BIOES", "BIO"])
@pytest.mark.parametrize(("factory", "layer"), LAYERS.items())
def test_no_span_goes_on_into_the_next_sentence(factory: str, layer: str, scheme: str) -> None:
    nlp, pipe = eager(factory, scheme)
    words = ["Ann", "Lee", "met", "Bo", "Rome", "Oslo"]
    doc = pipe(Doc(nlp.vocab, words=words))
    assert any(start < 3 < end for start, end, _ in found_in(doc, layer))
    for sentence_starts in ([1, 0, 0, 1, 0, 0], [1, -1, -1, 1, -1, -1]):
        doc = Doc(nlp.vocab, words=words)
        for token, value in zip(doc, sentence_starts, strict=True):
            token.is_sent_start = {1: True, 0: None, -1: False}[value]
        spans = found_in(pipe(doc), layer)
        assert spans
        assert not any(start < 3 < end for start, end, _ in spans)


@pytest.mark.parametrize("scheme", ["BIOES", "BIO"])
def test_probabilities_are_those_of_what_is_possible(scheme: str) -> None:
    nlp, pipe = eager("transfer_ner", scheme)
    words = ["Ann", "\n", "Lee", " "]
    readings = pipe.n_best(Doc(nlp.vocab, words=words), 10_000)
    assert math.fsum(reading.probability for reading in readings) == pytest.approx(1, abs=1e-4)
    for reading in readings:
        assert not any(span[0].is_space or span[-1].is_space for span in reading.spans)
    with pipe.use_confidence(Confidence()):
        [entity] = pipe(Doc(nlp.vocab, words=words)).ents[:1]
    expected = math.fsum(
        reading.probability
        for reading in readings
        if any(
            (span.start, span.end, span.label) == (entity.start, entity.end, entity.label)
            for span in reading.spans
        )
    )
    assert entity._.confidence == pytest.approx(expected, abs=1e-4)


def test_a_text_with_white_space_leaves_the_others_of_its_batch_alone(trained: Language) -> None:
    texts = ["Ann Lee lives in New York now", "Bo left", "in Oslo we met Cy Dee Fay"]
    alone = [found_in(doc, "ents") for doc in trained.pipe(texts)]
    with_space = [found_in(doc, "ents") for doc in trained.pipe([*texts, "\n\nBo  left\n"])]
    assert with_space[:3] == alone


@pytest.mark.parametrize("confident", [False, True])
@pytest.mark.parametrize("scheme", ["BIOES", "BIO"])
def test_entities_that_are_there_stay(scheme: str, confident: bool) -> None:
    nlp, pipe = eager("transfer_ner", scheme)
    doc = Doc(nlp.vocab, words=["Ann", "Lee", "met", "Bo", "Rome", "Oslo", "Bo"])
    there = Span(doc, 2, 4, label="EVENT", kb_id="Q1", span_id="meeting")
    doc.set_ents([there], blocked=[doc[5:6]], outside=[doc[6:7]], default="missing")
    with pipe.use_confidence(Confidence() if confident else None):
        pipe(doc)
    [event] = [ent for ent in doc.ents if ent.label_ == "EVENT"]
    assert (event.start, event.end, event.kb_id_, event.ent_id_) == (2, 4, "Q1", "meeting")
    ours = [ent for ent in doc.ents if ent.label_ != "EVENT"]
    assert {token.i for ent in ours for token in ent} == {0, 1, 4, 6}
    assert doc[5].ent_iob_ == "B"  # still blocked, which no other annotation is
    assert not doc[5].ent_type
    assert all(token.ent_iob for token in doc)
    if confident:
        assert found_in(doc, "spans:transfer_ner") == [(e.start, e.end, e.label_) for e in ours]
        assert all(ent._.confidence > 0 for ent in ours)
        assert event._.confidence is None


def test_what_was_read_as_outside_or_is_not_known_can_be_found(trained: Language) -> None:
    text = "Ann Lee lives in New York now"
    expected = found_in(trained(text), "ents")
    assert len(expected) == 2
    for default in ("outside", "missing"):
        doc = trained.make_doc(text)
        doc.set_ents([], default=default)
        assert found_in(trained.get_pipe("transfer_ner")(doc), "ents") == expected
        assert all(token.ent_iob for token in doc)


def test_readings_and_sources_begin_anew(trained: Language) -> None:
    """Of a Doc that the component has tagged already."""
    pipe = trained.get_pipe("transfer_ner")
    doc = trained("Ann Lee lives in New York now")
    [best] = pipe.n_best(doc, 1)
    assert [(s.start, s.end, s.label_) for s in best.spans] == found_in(doc, "ents") != []
    source = examples(trained, "source", 20, seed=1)
    fresh = pipe.score(source)["source_ents_f"]
    for example in source:
        trained(example.predicted)
    assert pipe.score(source)["source_ents_f"] == fresh > 0.9


def test_an_entity_ruler_before_it(trained: Language) -> None:
    ruler = trained.add_pipe("entity_ruler", before="transfer_ner")
    ruler.add_patterns([{"label": "TIME", "pattern": "now"}, {"label": "NAME", "pattern": "Lee"}])
    doc = trained("Ann Lee lives in New York now")
    labels = {ent.text: ent.label_ for ent in doc.ents}
    assert labels.items() >= {"Lee": "NAME", "now": "TIME", "New York": "place"}.items()
