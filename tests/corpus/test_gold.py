from __future__ import annotations

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_transfer.corpus.gold import (
    annotated_spans,
    gold_spans,
    gold_tags,
    is_annotated,
    labels_in,
)
from spacy_transfer.corpus.marks import TARGET, layer_of, mark, task_of

NLP = spacy.blank("en")
WORDS = ["Ann", "Lee", "sees", "New", "York", "can't", "wait"]
SPLIT = ["Ann", "Lee", "sees", "New", "York", "ca", "n't", "wait"]


def doc_of(words: list[str]) -> Doc:
    spaces = [word != "ca" for word in words]
    return Doc(NLP.vocab, words=words, spaces=spaces)


def example_of(reference: Doc, words: list[str] = WORDS) -> Example:
    return Example(doc_of(words), reference)


def with_ents(spans: list[tuple[int, int, str]], **settings: object) -> Doc:
    doc = doc_of(WORDS)
    doc.set_ents([Span(doc, *span) for span in spans], **settings)
    return doc


def with_group(spans: list[tuple[int, int, str]]) -> Doc:
    doc = doc_of(WORDS)
    doc.spans["np"] = [Span(doc, *span) for span in spans]
    return doc


SPANS = [(0, 2, "PER"), (3, 5, "LOC")]


def test_marks_survive_nlp_update() -> None:
    seen: list[tuple[str, str]] = []

    @spacy.Language.component("spy_on_marks")
    def component(doc: Doc) -> Doc:
        return doc

    class Spy:
        def __call__(self, doc: Doc) -> Doc:
            return doc

        def update(self, examples: list[Example], **_: object) -> dict[str, float]:
            seen.extend((task_of(eg.reference), layer_of(eg.reference, "tag")) for eg in examples)
            return {}

    spacy.Language.factory("spy_on_marks_factory", func=lambda nlp, name: Spy())
    nlp = spacy.blank("en")
    nlp.add_pipe("spy_on_marks_factory")
    marked, unmarked = example_of(with_ents(SPANS)), example_of(with_ents(SPANS))
    mark(marked.reference, "news", "spans:np")
    nlp.update([marked, unmarked], sgd=False)
    assert seen == [("news", "spans:np"), (TARGET, "tag")]


@pytest.mark.parametrize(
    ("layer", "reference"), [("ents", with_ents(SPANS)), ("spans:np", with_group(SPANS[::-1]))]
)
def test_spans_on_the_same_tokens(layer: str, reference: Doc) -> None:
    example = example_of(reference)
    assert gold_spans(example, layer) == SPANS
    assert gold_tags(example, layer, "BIOES") == ["B-PER", "E-PER", "O", "B-LOC", "E-LOC", "O", "O"]
    assert gold_tags(example, layer, "BIO") == ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O", "O"]
    assert labels_in(example, layer) == {"PER": 1, "LOC": 1}


@pytest.mark.parametrize("layer", ["ents", "spans:np"])
def test_spans_follow_another_tokenisation(layer: str) -> None:
    spans = [(3, 5, "LOC"), (5, 6, "MODAL"), (6, 7, "VERB")]
    example = example_of(with_ents(spans) if layer == "ents" else with_group(spans), SPLIT)
    assert gold_spans(example, layer) == [(3, 5, "LOC"), (5, 7, "MODAL"), (7, 8, "VERB")]
    tags = gold_tags(example, layer, "BIOES")
    assert tags == ["O", "O", "O", "B-LOC", "E-LOC", "B-MODAL", "E-MODAL", "S-VERB"]


def test_a_span_inside_a_predicted_token_is_left_out() -> None:
    reference = doc_of(SPLIT)
    reference.set_ents([Span(reference, 6, 7, "NEG"), Span(reference, 7, 8, "VERB")])
    assert gold_tags(example_of(reference), "ents", "BIO") == ["O"] * 6 + ["B-VERB"]


def test_missing_entity_tokens_are_not_known() -> None:
    reference = with_ents([(0, 2, "PER")], default="missing")
    tags = gold_tags(example_of(reference), "ents", "BIOES")
    assert tags == ["B-PER", "E-PER", "", "", "", "", ""]


def test_a_token_that_stands_for_a_missing_one_is_not_known() -> None:
    reference = doc_of(SPLIT)
    reference.set_ents([Span(reference, 0, 1, "PER")], missing=[reference[7:8]], default="outside")
    tags = gold_tags(example_of(reference), "ents", "BIO")
    assert tags == ["B-PER", *["O"] * 5, ""]
    resplit = doc_of(WORDS)
    resplit.set_ents([], missing=[resplit[5:6]], default="outside")
    assert gold_tags(example_of(resplit, SPLIT), "ents", "BIO") == [*["O"] * 5, "", "", "O"]


def test_tags() -> None:
    reference = doc_of(WORDS)
    for token, tag in zip(reference, ["NNP", "NNP", "VBZ", "NNP", "NNP", "MD", ""], strict=True):
        token.tag_ = tag
    example = example_of(reference)
    assert gold_tags(example, "tag", "BIOES") == ["NNP", "NNP", "VBZ", "NNP", "NNP", "MD", ""]
    assert labels_in(example, "tag") == {"NNP": 4, "VBZ": 1, "MD": 1}
    resplit = example_of(reference, SPLIT)
    assert gold_tags(resplit, "tag", "BIO") == ["NNP", "NNP", "VBZ", "NNP", "NNP", "MD", "MD", ""]


def test_a_token_of_two_gold_tags_has_none() -> None:
    reference = doc_of(SPLIT)
    for token in reference:
        token.tag_ = f"T{token.i}"
    tags = gold_tags(example_of(reference), "tag", "BIO")
    assert tags == ["T0", "T1", "T2", "T3", "T4", "", "T7"]


@pytest.mark.parametrize("layer", ["ents", "tag", "spans:np"])
def test_no_annotation(layer: str) -> None:
    example = example_of(doc_of(WORDS))
    assert not is_annotated(example.reference, layer)
    assert gold_tags(example, layer, "BIO") is None
    assert labels_in(example, layer) == {}


@pytest.mark.parametrize(("layer", "doc"), [("ents", with_ents([])), ("spans:np", with_group([]))])
def test_annotated_without_a_span(layer: str, doc: Doc) -> None:
    """Nothing found is annotation too, before and after a file."""
    reread = next(DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(NLP.vocab))
    for reference in (doc, reread):
        example = example_of(reference)
        assert gold_spans(example, layer) == []
        assert gold_tags(example, layer, "BIOES") == ["O"] * 7


def test_overlap_names_the_group_and_the_places() -> None:
    example = example_of(with_group([(0, 2, "PER"), (3, 5, "LOC"), (4, 6, "X")]))
    with pytest.raises(ValueError, match=r"\['np'\] overlap: LOC at characters 13-21 and X at 17-"):
        gold_tags(example, "spans:np", "BIOES")


@pytest.mark.parametrize("layer", ["ent", "spans", "spans:", ""])
def test_unknown_layer(layer: str) -> None:
    with pytest.raises(ValueError, match="expected 'ents', 'tag' or 'spans:KEY'"):
        gold_tags(example_of(with_ents(SPANS)), layer, "BIO")


def test_what_a_layer_annotates() -> None:
    tagged = doc_of(WORDS)
    tagged[1].tag_, tagged[3].tag_ = "NNP", "JJ"
    for doc, layer, texts in (
        (with_ents(SPANS), "ents", ["Ann Lee", "New York"]),
        (with_group([*SPANS, (0, 1, "PER")]), "spans:np", ["Ann Lee", "New York", "Ann"]),
        (tagged, "tag", ["Lee", "New"]),
        (tagged, "ents", []),
        (tagged, "spans:np", []),
    ):
        assert [span.text for span in annotated_spans(doc, layer)] == texts
