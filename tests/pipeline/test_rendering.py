from __future__ import annotations

import re

import pytest
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup

from spacy_transfer.pipeline.confidence import Confidence, set_with_scores
from spacy_transfer.pipeline.rendering import with_confidence


@pytest.fixture
def doc(nlp: Language) -> Doc:
    doc = Doc(nlp.vocab, words=["Ann", "<", "Rome", "&", "Oslo"])
    spans = [Span(doc, 2, 3, label="place"), Span(doc, 0, 1, label="person")]
    doc.spans["plain"] = [Span(doc, 0, 5, label="else")]
    doc.spans["ner"] = SpanGroup(doc, spans=spans, attrs={"scores": [0.426, 1.0]})
    return doc


def test_each_label_with_its_confidence(doc: Doc) -> None:
    html = displacy.render(with_confidence(doc), style="ent", manual=True, jupyter=False)
    marks = re.findall(r"<mark.*?>(.*?)</mark>", html, re.DOTALL)
    texts = [re.sub(r"<.*?>", "", mark).split() for mark in marks]
    assert texts == [["Ann", "person", "1.00"], ["Rome", "place", "0.43"]]
    assert "&lt;" in html.split("Rome")[0]
    # All else is as displaCy draws entities.
    doc.set_ents(list(doc.spans["ner"]))
    plain = displacy.render(doc, style="ent", jupyter=False)
    assert re.sub(r' <span style="font-weight: normal">[\d.]+</span>', "", html) == plain


def test_other_groups(doc: Doc) -> None:
    doc.spans["chunks"] = SpanGroup(doc, spans=[doc[4:5]], attrs={"scores": [0.5]})
    assert [ent["start"] for ent in with_confidence(doc, "chunks")["ents"]] == [13]
    with pytest.raises(ValueError, match="with scores named 'plain'; found ner, chunks: a comp"):
        with_confidence(doc, "plain")
    doc.spans.clear()
    with pytest.raises(ValueError, match="a span group with scores; found none: a component"):
        with_confidence(doc)


def test_the_entities_before_tags_and_chunks(nlp: Language) -> None:
    doc = Doc(nlp.vocab, words=["Ann", "left", "Rome"])
    sure, threshold = Confidence(), Confidence(0.5, "mark")
    set_with_scores(doc, "ents", ["S-person", "O", "S-place"], [0.9, 0, 0.4], "ner", threshold)
    set_with_scores(doc, "tag", ["NN", "VB", "NN"], [0.1, 0.2, 0.3], "tagger", sure)
    set_with_scores(doc, "spans:chunks", ["S-NP", "O", "S-place"], [0.5, 0, 0.6], "x", sure)
    html = displacy.render(with_confidence(doc), style="ent", manual=True, jupyter=False)
    marks = re.findall(r"<mark.*?>(.*?)</mark>", html, re.DOTALL)
    texts = [re.sub(r"<.*?>", "", mark).split() for mark in marks]
    assert texts == [["Ann", "person", "0.90"], ["Rome", "place", "0.40", "below"]]
    # Of two components, what the last one has found is in doc.ents.
    set_with_scores(doc, "ents", ["S-person", "O", "S-place"], [0.7, 0, 0.8], "second", sure)
    params = [ent["params"]["kb_link"] for ent in with_confidence(doc)["ents"]]
    assert ["0.70" in params[0], "0.80" in params[1]] == [True, True]
    # No entity is none to draw, and no reason to draw tags.
    doc.ents = []
    del doc.spans["ner"], doc.spans["second"]
    set_with_scores(doc, "ents", ["O", "O", "O"], [0, 0, 0], "second", sure)
    assert with_confidence(doc)["ents"] == []
    assert len(with_confidence(doc, "tagger")["ents"]) == 3
