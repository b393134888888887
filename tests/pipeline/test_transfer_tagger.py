"""`transfer_tagger` as a spaCy user meets it."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import spacy
import srsly
from seqeval.metrics import accuracy_score
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry

from spacy_transfer.corpus.marks import TARGET, mark
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.pipeline.transfer_tagger import score_tags
from tests.conftest import add_small_pipe, blank, examples, sentences

TEXT = "Ann Lee lives in New York now"
TAGS = ["person", "person", "VERB", "ELSE", "place", "place", "ELSE"]


def tags(doc: Doc) -> list[str]:
    return [token.tag_ for token in doc]


def train(nlp: Language, batch: list[Example], steps: int = 20) -> Language:
    optimizer = adagrad(0.1)
    for _ in range(steps):
        nlp.update(batch, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def trained_bytes() -> bytes:
    nlp = add_small_pipe("transfer_tagger", blank())
    both = [*examples(nlp, TARGET, 20, layer="tag"), *examples(nlp, "source", 20, layer="tag")]
    nlp.initialize(lambda: both)
    return bytes(train(nlp, both).to_bytes())


@pytest.fixture
def tagger(nlp: Language, trained_bytes: bytes) -> Language:
    """Trained on tags, with tags as the source."""
    return add_small_pipe("transfer_tagger", nlp).from_bytes(trained_bytes)


def test_learns_its_training_sentences(tagger: Language) -> None:
    gold = sentences(tagger, TARGET, 20)
    predicted = tagger.pipe([Doc(tagger.vocab, words=[t.text for t in doc]) for doc in gold])
    assert [tags(doc) for doc in predicted] == [tags(doc) for doc in gold]
    assert tagger(tagger.make_doc("")).text == ""


def test_saved_and_loaded(tagger: Language, tmp_path: Path) -> None:
    tagger.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    copied = add_small_pipe("transfer_tagger", blank()).from_bytes(tagger.to_bytes())
    texts = [TEXT, "Bo left Xyzzy", "in Rome we met Ann Lee"]
    for other in (loaded, copied):
        assert [tags(doc) for doc in other.pipe(texts)] == [tags(doc) for doc in tagger.pipe(texts)]
    assert tags(loaded(TEXT)) == TAGS
    dev = examples(loaded, TARGET, 10, seed=1, layer="tag")
    before, after = (nlp.evaluate(dev) for nlp in (tagger, loaded))
    assert {k: after[k] for k in ("tag_acc", "tag_acc_unseen")} == {
        k: before[k] for k in ("tag_acc", "tag_acc_unseen")
    }


def test_processes_agree(tagger: Language) -> None:
    texts = [TEXT, "Bo left", "Oslo is far from here"] * 4
    alone = [tags(tagger(text)) for text in texts]
    assert [tags(d) for d in tagger.pipe(texts, n_process=2, batch_size=4)] == alone


def test_labels_from_a_file(nlp: Language, tmp_path: Path) -> None:
    pipe = add_small_pipe("transfer_tagger", nlp).get_pipe("transfer_tagger")
    both = [*examples(nlp, TARGET, 9, layer="tag"), *examples(nlp, "source", 9)]
    nlp.initialize(lambda: both)
    written = pipe.label_data
    assert written == {TARGET: ["ELSE", "VERB", "person", "place"], "source": ["LOC", "PER"]}
    written[TARGET].append("never")
    srsly.write_json(tmp_path / "labels.json", written)
    labels = registry.readers.get("spacy.read_labels.v1")(tmp_path / "labels.json")
    pipe.initialize(lambda: both, labels=labels)
    assert pipe.label_data == written


def test_added_label_can_be_learned(tagger: Language) -> None:
    pipe = tagger.get_pipe("transfer_tagger")
    assert pipe.add_label("THING") == 1
    assert tags(tagger(TEXT)) == TAGS
    doc = Doc(tagger.vocab, words=["a", "lamp"], tags=["ELSE", "THING"])
    train(tagger, [Example(tagger.make_doc("a lamp"), doc)])
    assert tags(tagger("a lamp")) == ["ELSE", "THING"]


def test_tokens_without_a_tag_teach_nothing(tagger: Language) -> None:
    pipe = tagger.get_pipe("transfer_tagger")
    words = ["a", "lamp", "left"]

    def loss(tags: list[str]) -> float:
        doc = Doc(tagger.vocab, words=words, tags=tags)
        value, _ = pipe.get_loss([Example(Doc(tagger.vocab, words=words), doc)], None)
        return float(value)

    # What is known of all but one token is implied by any tag of that one.
    whole = [loss(["ELSE", tag, "VERB"]) for tag in pipe.labels]
    of_known = loss(["ELSE", "", "VERB"])
    expected = -math.log(sum(math.exp(-value) for value in whole))
    assert of_known == pytest.approx(expected, rel=1e-4)
    assert loss(["", "", ""]) == 0.0


@pytest.mark.parametrize("layer", ["tag", "spans:chunks"])
def test_entities_learned_beside_a_source_of_another_layer(nlp: Language, layer: str) -> None:
    add_small_pipe("transfer_ner", nlp)
    both = examples(nlp, TARGET, 20) + examples(nlp, "source", 20, layer=layer)
    nlp.initialize(lambda: both)
    train(nlp, both)
    assert nlp.evaluate(examples(nlp, TARGET, 20))["ents_f"] == 1.0
    assert nlp.get_pipe("transfer_ner").labels == ("person", "place")
    # The source is tagged in its own layer.
    nlp.get_pipe("transfer_ner").task = "source"
    doc = nlp("Ida lives in Paris now")
    assert not doc.ents
    if layer == "tag":
        assert tags(doc) == ["PER", "VERB", "ELSE", "LOC", "ELSE"]
    else:
        chunks = [(span.text, span.label_) for span in doc.spans["chunks"]]
        assert chunks == [("Ida", "NP"), ("lives", "VP"), ("Paris", "NP")]


@pytest.mark.parametrize("layer", ["ents", "spans:chunks"])
def test_tags_learned_beside_a_source_of_spans(nlp: Language, layer: str) -> None:
    add_small_pipe("transfer_tagger", nlp)
    both = examples(nlp, TARGET, 20, layer="tag") + examples(nlp, "source", 20, layer=layer)
    nlp.initialize(lambda: both)
    train(nlp, both)
    assert tags(nlp(TEXT)) == TAGS


def test_t_a_does_not_mix_tags_and_spans(nlp: Language) -> None:
    add_small_pipe("transfer_tagger", nlp, sharing="T-A")
    both = examples(nlp, TARGET, 2, layer="tag") + examples(nlp, "source", 2)
    with pytest.raises(ValueError, match="tag layers and span layers cannot be mixed"):
        nlp.initialize(lambda: both)


def test_accuracy_is_that_of_the_conll_scorer(nlp: Language) -> None:
    rng = random.Random(0)
    words, labels = [*"abcdefgh", "\xa0"], ["X", "Y", "O", "I-Z"]
    seen = {"a", "B", "c", "\xa0"}
    batch, gold, predicted, unseen = [], [], [], []
    for _ in range(30):
        sentence = rng.choices(words, k=rng.randint(1, 9))
        gold.append(rng.choices(labels, k=len(sentence)))
        predicted.append(rng.choices(labels, k=len(sentence)))
        unseen += [
            g == p
            for w, g, p in zip(sentence, gold[-1], predicted[-1], strict=True)
            if w not in seen
        ]
        docs = [Doc(nlp.vocab, words=sentence, tags=t) for t in (predicted[-1], gold[-1])]
        batch.append(Example(*docs))
    scores = score_tags(iter(batch), target_words=sorted(seen), task=TARGET)
    assert scores["tag_acc"] == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)
    assert scores["tag_acc_unseen"] == pytest.approx(sum(unseen) / len(unseen), abs=1e-12)


def test_accuracy_where_there_is_no_gold(nlp: Language) -> None:
    gold = Doc(nlp.vocab, words=["a", "b", "c"], tags=["X", "", "Y"])
    right = Doc(nlp.vocab, words=["a", "b", "c"], tags=["X", "X", "Z"])
    bare = Doc(nlp.vocab, words=["a", "b", "c"])
    none = {"tag_acc": None, "tag_acc_unseen": None}
    assert score_tags([]) == score_tags([Example(right, bare)]) == none
    assert score_tags([Example(right, gold)])["tag_acc"] == 0.5
    assert score_tags([Example(bare, gold)])["tag_acc"] == 0.0
    assert score_tags([Example(right, gold)], target_words="abc")["tag_acc_unseen"] is None


def test_accuracy_follows_another_tokenisation(nlp: Language) -> None:
    gold = Doc(nlp.vocab, words=["New", "York", "can't"], tags=["N", "N", "V"])
    predicted = Doc(
        nlp.vocab,
        words=["New York", "ca", "n't"],
        spaces=[True, False, True],
        tags=["N", "V", "X"],
    )
    assert score_tags([Example(predicted, gold)])["tag_acc"] == pytest.approx(2 / 3)


def test_unseen_words_are_those_of_the_target(nlp: Language) -> None:
    add_small_pipe("transfer_tagger", nlp)
    target = Doc(nlp.vocab, words=["Ann", "left"], tags=["N", "V"])
    source = Doc(nlp.vocab, words=["Ida", "left"], tags=["N", "V"])
    mark(source, "source", "tag")
    nlp.initialize(lambda: [Example(nlp.make_doc(d.text), d) for d in (target, source)])
    pipe = nlp.get_pipe("transfer_tagger")
    test = Doc(nlp.vocab, words=["ann", "Ida", "left"], tags=["V", "N", "V"])
    for doc, score in ((["V", "V", "V"], 0.5), (["N", "V", "V"], 0.0), (["V", "N", "N"], 1.0)):
        example = Example(Doc(nlp.vocab, words=["ann", "Ida", "left"], tags=doc), test)
        assert pipe.score([example])["tag_acc_unseen"] == score
