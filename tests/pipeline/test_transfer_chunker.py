"""`transfer_chunker`, and several components in one pipeline."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import spacy
from seqeval.metrics import f1_score, precision_score, recall_score
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_transfer.corpus.annotate import set_tags
from spacy_transfer.corpus.gold import gold_tags
from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.schemes import decode
from spacy_transfer.models.optimizer import adagrad
from tests.conftest import add_small_pipe, blank, examples, sentences

TEXT = "Ann Lee lives in New York now"
CHUNKS = [(0, 2, "NP"), (2, 3, "VP"), (4, 6, "NP")]


def chunks(doc: Doc, key: str = "chunks") -> list[tuple[int, int, str]]:
    return [(span.start, span.end, span.label_) for span in doc.spans[key]]


def train(nlp: Language, batch: list[Example]) -> Language:
    nlp.initialize(lambda: batch)
    optimizer = adagrad(0.1)
    for _ in range(20):
        nlp.update(batch, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def trained_bytes() -> bytes:
    nlp = add_small_pipe("transfer_chunker", blank())
    target = examples(nlp, TARGET, 20, layer="spans:chunks")
    return bytes(train(nlp, target + examples(nlp, "source", 20, layer="tag")).to_bytes())


@pytest.fixture
def chunker(nlp: Language, trained_bytes: bytes) -> Language:
    """Trained on chunks, with tags as the source."""
    return add_small_pipe("transfer_chunker", nlp).from_bytes(trained_bytes)


def test_learns_its_training_sentences(chunker: Language) -> None:
    assert chunks(chunker(TEXT)) == CHUNKS
    scores = chunker.evaluate(examples(chunker, TARGET, 20))
    assert [scores[f"spans_chunks_{part}"] for part in "prf"] == [1.0, 1.0, 1.0]
    assert set(scores["spans_chunks_per_type"]) == {"NP", "VP"}
    assert chunks(chunker("")) == []


def test_saved_and_loaded(chunker: Language, tmp_path: Path) -> None:
    chunker.to_disk(tmp_path / "model")
    copied = add_small_pipe("transfer_chunker", blank()).from_bytes(chunker.to_bytes())
    for other in (spacy.load(tmp_path / "model"), copied):
        assert chunks(other(TEXT)) == CHUNKS
        assert other.get_pipe("transfer_chunker").label_data == {
            TARGET: ["NP", "VP"],
            "source": ["ELSE", "LOC", "PER", "VERB"],
        }


def test_another_key_is_that_of_all(chunker: Language, tmp_path: Path) -> None:
    chunker.to_disk(tmp_path / "model")
    config = {"components": {"transfer_chunker": {"spans_key": "other"}}}
    nlp = spacy.load(tmp_path / "model", config=config)
    doc = nlp(TEXT)
    assert chunks(doc, "other") == CHUNKS
    assert "chunks" not in doc.spans
    nlp.to_disk(tmp_path / "other")
    again = spacy.load(tmp_path / "other")
    assert chunks(again(TEXT), "other") == CHUNKS
    batch = examples(again, TARGET, 5)
    for example in batch:
        example.reference.spans["other"] = example.reference.spans.pop("chunks")
    assert again.evaluate(batch)["spans_other_f"] == 1.0
    # What it learns is there too.
    assert again.get_pipe("transfer_chunker").task_layer == "spans:other"


def test_processes_agree(chunker: Language) -> None:
    docs = list(chunker.pipe([TEXT, "Bo left"] * 4, n_process=2, batch_size=2))
    assert [chunks(doc) for doc in docs] == [CHUNKS, [(0, 1, "NP"), (1, 2, "VP")]] * 4


def test_labels_given_and_added(nlp: Language) -> None:
    pipe = add_small_pipe("transfer_chunker", nlp).get_pipe("transfer_chunker")
    labels = {TARGET: ["VP", "NP", "PP"], "source": ["PER", "LOC"]}
    nlp.config["initialize"]["components"]["transfer_chunker"] = {"labels": labels}
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    nlp.initialize(lambda: both)
    assert pipe.label_data == labels
    assert pipe.add_label("ADVP") == 1
    assert pipe.labels == ("VP", "NP", "PP", "ADVP")


def test_the_key_is_a_setting(nlp: Language, tmp_path: Path) -> None:
    nlp.add_pipe("transfer_chunker", config={"spans_key": "np"})
    batch = examples(nlp, TARGET, 3)
    for example in batch:
        example.reference.spans["np"] = example.reference.ents
    nlp.initialize(lambda: batch)
    nlp.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    assert set(nlp(TEXT).spans) == {"np"}
    assert nlp.get_pipe("transfer_chunker").labels == ("person", "place")
    assert "spans_np_f" in nlp.evaluate(batch)


def test_scores_are_those_of_the_conll_scorer(nlp: Language) -> None:
    """Chunks and entities alike, on random predictions."""
    rng = random.Random(0)
    add_small_pipe("transfer_chunker", nlp)
    add_small_pipe("transfer_ner", nlp)
    batch = []
    for _ in range(40):
        docs = [Doc(nlp.vocab, words=["w"] * length) for length in [rng.randint(1, 12)] * 2]
        for doc in docs:
            tags = rng.choices(["O", "B-X", "I-X", "B-Y", "I-Y"], k=len(doc))
            set_tags(doc, "ents", tags)
            set_tags(doc, "spans:chunks", tags)
        batch.append(Example(*docs))
    gold, predicted = (
        [gold_tags(Example(doc, doc), "ents", "BIO") or [] for doc in docs]
        for docs in ([eg.reference for eg in batch], [eg.predicted for eg in batch])
    )
    # conlleval by hand: what the rules of its chunks find in both.
    pairs = [(set(decode(g)), set(decode(p))) for g, p in zip(gold, predicted, strict=True)]
    correct = sum(len(g & p) for g, p in pairs)
    precision = correct / sum(len(p) for _, p in pairs)
    recall = correct / sum(len(g) for g, _ in pairs)
    wanted = [precision, recall, 2 * precision * recall / (precision + recall)]
    assert wanted == pytest.approx(
        [scorer(gold, predicted) for scorer in (precision_score, recall_score, f1_score)],
        abs=1e-12,
    )
    for name, prefix in (("transfer_chunker", "spans_chunks"), ("transfer_ner", "ents")):
        scores = nlp.get_pipe(name).score(batch)
        assert [scores[f"{prefix}_{part}"] for part in "prf"] == pytest.approx(wanted, abs=1e-12)


def test_unannotated_is_not_empty(nlp: Language) -> None:
    """A document without the layer does not count; one without a chunk has a false one here."""
    words = ["a", "b"]
    predicted = Doc(nlp.vocab, words=words)
    set_tags(predicted, "spans:chunks", ["B-X", "O"])
    set_tags(predicted, "ents", ["B-X", "O"])
    unknown, empty, right = (Doc(nlp.vocab, words=words) for _ in range(3))
    for layer in ("spans:chunks", "ents"):
        set_tags(empty, layer, ["O", "O"])
        set_tags(right, layer, ["B-X", "O"])
    add_small_pipe("transfer_chunker", nlp)
    add_small_pipe("transfer_ner", nlp)
    for name, prefix in (("transfer_chunker", "spans_chunks"), ("transfer_ner", "ents")):
        pipe = nlp.get_pipe(name)
        assert pipe.score([Example(predicted, unknown)])[f"{prefix}_f"] is None
        both = [Example(predicted, right), Example(predicted, unknown)]
        assert pipe.score(both)[f"{prefix}_p"] == 1.0
        assert pipe.score([*both, Example(predicted, empty)])[f"{prefix}_p"] == 0.5
        nlp.initialize(lambda: [Example(predicted.copy(), right)])
        assert pipe.update([Example(nlp.make_doc("a b"), unknown)]) == {name: 0.0}
        assert pipe.update([Example(nlp.make_doc("a b"), empty)])[name] > 0.0


def test_overlapping_chunks_are_an_error(nlp: Language) -> None:
    doc = nlp.make_doc("a b c")
    doc.spans["chunks"] = [Span(doc, 0, 2, "NP"), Span(doc, 1, 3, "NP")]
    add_small_pipe("transfer_chunker", nlp)
    nlp.initialize(lambda: [Example(nlp.make_doc("a b c"), doc)])
    with pytest.raises(ValueError, match="overlap"):
        nlp.update([Example(nlp.make_doc("a b c"), doc)])


def test_three_components_in_one_pipeline(nlp: Language, tmp_path: Path) -> None:
    names = ("transfer_tagger", "transfer_chunker", "transfer_ner")
    for name in names:
        add_small_pipe(name, nlp)
    train(nlp, examples(nlp, TARGET, 20) + examples(nlp, "source", 20, layer="tag"))
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert loaded.pipe_names == list(names)
    for gold in sentences(loaded, TARGET, 20):
        doc = loaded(Doc(loaded.vocab, words=[token.text for token in gold]))
        assert [token.tag_ for token in doc] == [token.tag_ for token in gold]
        assert set(chunks(doc)) == set(chunks(gold))
        assert [(e.start, e.end, e.label_) for e in doc.ents] == [
            (e.start, e.end, e.label_) for e in gold.ents
        ]
    scores = loaded.evaluate(examples(loaded, TARGET, 20))
    assert [scores[key] for key in ("tag_acc", "spans_chunks_f", "ents_f")] == [1.0, 1.0, 1.0]
