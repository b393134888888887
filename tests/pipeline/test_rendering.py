from __future__ import annotations

import re

import pytest
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup

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
