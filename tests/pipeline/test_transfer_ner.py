"""`transfer_ner` as a spaCy user meets it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, Optimizer

from spacy_transfer.corpus.marks import TARGET, mark, mark_weight
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.nn import encoders
from tests.conftest import add_small_ner, blank, examples, renamed, sentences

TEXT = "Ann Lee lives in New York now"


def entities(doc: Doc) -> list[tuple[int, int, str]]:
    return [(e.start, e.end, e.label_) for e in doc.ents]


def weights(nlp: Language) -> dict[str, torch.Tensor]:
    network = shim_of(nlp.get_pipe("transfer_ner").model).network
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_learns_its_training_sentences(trained: Language) -> None:
    gold = sentences(trained, TARGET, 20)
    predicted = trained.pipe([Doc(trained.vocab, words=[t.text for t in doc]) for doc in gold])
    assert [entities(doc) for doc in predicted] == [entities(doc) for doc in gold]


def test_default_component_trains(nlp: Language) -> None:
    nlp.add_pipe("transfer_ner")
    batch = examples(nlp, TARGET, 5)
    nlp.initialize(lambda: batch)
    optimizer = nlp.get_pipe("transfer_ner").create_optimizer()
    first = nlp.update(batch, sgd=optimizer)["transfer_ner"]
    for _ in range(8):
        last = nlp.update(batch, sgd=optimizer, losses={})["transfer_ner"]
    assert last < first / 2


def test_initialisation_reads_the_examples_once(nlp: Language) -> None:
    read: list[Example] = []

    def get_examples() -> Iterator[Example]:
        for example in examples(nlp, TARGET, 5):
            read.append(example)
            yield example

    nlp.add_pipe("transfer_ner")
    nlp.initialize(get_examples)
    assert len(read) == 5


def test_initialisation_wants_examples(nlp: Language) -> None:
    nlp.add_pipe("transfer_ner")
    with pytest.raises(TypeError, match=r"initialize"):
        nlp.initialize(lambda: [nlp.make_doc(TEXT)])


def test_predicting_before_initialisation_says_what_to_do(nlp: Language) -> None:
    nlp.add_pipe("transfer_ner")
    with pytest.raises(ValueError, match=r"not initialised: call nlp.initialize"):
        nlp(TEXT)


def test_losses_are_named_and_add_up(trained: Language) -> None:
    both = examples(trained, TARGET, 3) + examples(trained, "source", 3)
    losses = trained.update(both, sgd=None, losses={})
    terms = {name.removeprefix("transfer_ner_"): value for name, value in losses.items()}
    total = terms.pop("transfer_ner")
    assert set(terms) == {"crf_target", "crf_source", "mmd_source", "crf_l2_source", "l2"}
    assert sum(terms.values()) == pytest.approx(total, rel=1e-5)
    assert min(terms.values()) > 0


def test_a_marked_weight_scales_the_loss_of_its_sentence(nlp: Language) -> None:
    add_small_ner(nlp, word_dropout=0.0)
    both = examples(nlp, TARGET, 3) + examples(nlp, "source", 3)
    nlp.initialize(lambda: both)

    def loss(*given: Example) -> dict[str, float]:
        return nlp.update(given, sgd=False, losses={})

    each = [loss(example)["transfer_ner_crf_source"] for example in both[3:]]
    unweighted = loss(*both)
    scales = [0.5, 0.0, 1.0]
    for example, weight in zip(both[3:], scales, strict=True):
        mark_weight(example.reference, weight)
    weighted = loss(*both)
    expected = sum(scale * value for scale, value in zip(scales, each, strict=True)) / 3
    assert weighted["transfer_ner_crf_source"] == pytest.approx(expected, rel=1e-5)
    assert weighted["transfer_ner_crf_target"] == unweighted["transfer_ner_crf_target"]
    assert unweighted["transfer_ner_crf_source"] == pytest.approx(sum(each) / 3, rel=1e-5)


def partial(nlp: Language, count: int) -> list[Example]:
    """Examples in two thirds of which people are not annotated."""
    found = examples(nlp, TARGET, count)
    for number, example in enumerate(found):
        doc = example.reference
        people = [ent for ent in doc.ents if ent.label_ == "person"] if number % 3 else []
        kept = [ent for ent in doc.ents if ent not in people]
        doc.set_ents(kept, missing=people, default="outside")
    return found


@pytest.mark.parametrize("constrained", [False, True])
def test_what_is_not_annotated_is_not_outside(nlp: Language, constrained: bool) -> None:
    add_small_ner(nlp, constrained=constrained)
    known = partial(nlp, 30)
    nlp.initialize(lambda: known)
    optimizer = adagrad(0.1)
    for _ in range(20):
        nlp.update(known, sgd=optimizer)
    scores = nlp.evaluate(examples(nlp, TARGET, 30, seed=1))
    assert scores["ents_per_type"]["person"]["r"] > 0.9
    # Read as outside, what is missing would be learned as such: it is the larger part.
    as_outside = [e.reference.copy() for e in known]
    for doc in as_outside:
        doc.set_ents(list(doc.ents), default="outside")
    other = add_small_ner(blank())
    batch = [Example(other.make_doc(doc.text), doc) for doc in as_outside]
    other.initialize(lambda: batch)
    for _ in range(20):
        other.update(batch, sgd=optimizer)
    assert other.evaluate(examples(other, TARGET, 30, seed=1))["ents_per_type"]["person"]["r"] < 0.8


def test_update_without_optimizer_keeps_the_weights(trained: Language) -> None:
    before = weights(trained)
    trained.update(examples(trained, TARGET, 3), sgd=False, losses={})
    assert all(torch.equal(before[name], value) for name, value in weights(trained).items())


def test_empty_docs_and_batches(trained: Language) -> None:
    docs = [trained.make_doc(""), Doc(trained.vocab, words=["Oslo"])]
    assert [len(doc.ents) for doc in trained.pipe(docs)] == [0, 1]
    assert list(trained.pipe([])) == []
    before = weights(trained)
    only_empty = Example(trained.make_doc(""), trained.make_doc(""))
    assert trained.update([only_empty], sgd=adagrad(), losses={}) == {"transfer_ner": 0.0}
    assert trained.get_pipe("transfer_ner").get_loss([], None) == (0.0, 1.0)
    assert all(torch.equal(before[name], value) for name, value in weights(trained).items())


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_does_not_change_predictions(trained: Language, batch_size: int) -> None:
    texts = [TEXT, "Bo", "in Rome we met Cy Dee Fay and others", "nothing", "a b c d e f g h i"]
    alone = [entities(trained(text)) for text in texts]
    assert [entities(d) for d in trained.pipe(texts, batch_size=batch_size)] == alone


def test_processes_agree(trained: Language) -> None:
    texts = [TEXT, "Bo left", "Oslo is far from here"] * 4
    alone = [entities(trained(text)) for text in texts]
    assert [entities(d) for d in trained.pipe(texts, n_process=2, batch_size=4)] == alone


def test_spawned_processes_agree(trained: Language, tmp_path: Path) -> None:
    texts = [TEXT, "Bo left", "Oslo is far from here"] * 4
    trained.to_disk(tmp_path / "model")
    script = tmp_path / "script.py"
    script.write_text(
        "import json, multiprocessing, spacy\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        f"    nlp = spacy.load({str(tmp_path / 'model')!r})\n"
        f"    docs = nlp.pipe({texts!r}, n_process=2, batch_size=4)\n"
        "    print(json.dumps([[(e.start, e.end, e.label_) for e in d.ents] for d in docs]))\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    spawned = [[tuple(e) for e in doc] for doc in json.loads(run.stdout)]
    assert spawned == [entities(trained(text)) for text in texts]


def predicted(nlp: Language, monkeypatch: pytest.MonkeyPatch, worth_it: int) -> list[list[int]]:
    monkeypatch.setattr(encoders, "WORTH_IT", worth_it)
    docs = sentences(nlp, TARGET, 20)
    return [found.tags.tolist() for found in nlp.get_pipe("transfer_ner").predict(docs)]


def test_remembered_words_are_forgotten_when_weights_change(
    trained: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = trained.get_pipe("transfer_ner")
    once = predicted(trained, monkeypatch, 1)
    assert predicted(trained, monkeypatch, 1) == once == predicted(trained, monkeypatch, 10**6)
    before, seen = pipe.to_bytes(), [once]
    optimizer = adagrad(1.0, initial_accumulator=0.0)
    batch = examples(trained, TARGET, 5)
    for change in (
        lambda: trained.update(batch, sgd=optimizer),
        # Predicting between a gradient and its step, as `annotating_components` do.
        lambda: (
            pipe.update(batch),
            predicted(trained, monkeypatch, 1),
            pipe.finish_update(optimizer),
        ),
        lambda: pipe.add_label("thing"),
        lambda: pipe.from_bytes(before),
    ):
        change()
        seen.append(predicted(trained, monkeypatch, 1))
        assert seen[-1] == predicted(trained, monkeypatch, 10**6)
    assert seen[-1] == once
    assert seen[1] != once


def test_component_goes_to_another_process_by_pickle(trained: Language) -> None:
    # What multiprocessing does where it cannot fork.
    pipe = trained.get_pipe("transfer_ner")
    doc = trained(TEXT)
    copied = pickle.loads(pickle.dumps(pipe))
    found = [of.tag_names(of.predict([doc])[0].tags) for of in (copied, pipe)]
    assert found[0] == found[1]


def test_disk_round_trip_in_a_new_process(trained: Language, tmp_path: Path) -> None:
    texts = [TEXT, "Bo left Xyzzy", "in Rome we met Ann Lee"]
    trained.to_disk(tmp_path / "model")
    code = (
        "import json, spacy, sys\n"
        f"nlp = spacy.load({str(tmp_path / 'model')!r})\n"
        f"docs = nlp.pipe({texts!r})\n"
        "print(json.dumps([[(e.start, e.end, e.label_) for e in d.ents] for d in docs]))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [[tuple(e) for e in doc] for doc in json.loads(run.stdout)]
    assert loaded == [entities(doc) for doc in trained.pipe(texts)]
    assert sum(map(len, loaded)) >= 4


def test_bytes_round_trip_keeps_every_weight(trained: Language) -> None:
    other = add_small_ner(blank()).from_bytes(trained.to_bytes())
    before, after = weights(trained), weights(other)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert other.get_pipe("transfer_ner").label_data == trained.get_pipe("transfer_ner").label_data


@pytest.mark.parametrize("place", ["model", "shim"])
def test_pickled_weights_are_refused(trained: Language, tmp_path: Path, place: str) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    payload, message = pickle.dumps(Payload()), "extra data"
    if place == "shim":
        parts = srsly.msgpack_loads(trained.get_pipe("transfer_ner").model.to_bytes())
        payload = srsly.msgpack_dumps({**parts, "shims": [[payload]]})
        message = "not a safetensors file"
    trained.to_disk(tmp_path / "model")
    (tmp_path / "model" / "transfer_ner" / "model").write_bytes(payload)
    with pytest.raises(ValueError, match=message):
        spacy.load(tmp_path / "model")
    assert not (tmp_path / "executed").exists()


def test_another_tag_scheme_than_that_of_the_weights(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path / "model")
    config = {"components": {"transfer_ner": {"tag_scheme": "BIO"}}}
    with pytest.raises(ValueError, match="is BIO in the config, but it was trained with BIOES"):
        spacy.load(tmp_path / "model", config=config)


@pytest.mark.parametrize(("sharing", "tasks"), [("T-A", ["source"]), ("T-B", [])])
def test_beta_without_a_crf_to_tie(nlp: Language, sharing: str, tasks: list[str]) -> None:
    add_small_ner(nlp, sharing=sharing, beta=0.1)
    of_all = [example for task in (TARGET, *tasks) for example in examples(nlp, TARGET, 3)]
    if tasks:
        renamed(of_all[3:], "source")
    with pytest.raises(ValueError, match=r"^beta is 0.1, but no source has a CRF of its own"):
        nlp.initialize(lambda: of_all)


def test_source_head_by_name_and_dropped(trained: Language) -> None:
    pipe = trained.get_pipe("transfer_ner")
    target = entities(trained(TEXT))
    pipe.task = "source"
    assert pipe.labels == ("LOC", "PER")
    assert {label for _, _, label in entities(trained("Ida lives in Paris now"))} == {"PER", "LOC"}
    pipe.task = TARGET
    size = len(pipe.to_bytes())
    pipe.drop_task("source")
    assert pipe.tasks == (TARGET,)
    assert entities(trained(TEXT)) == target
    assert len(pipe.to_bytes()) < size
    with pytest.raises(ValueError, match="no task 'source'"):
        pipe.task = "source"


def test_target_cannot_be_dropped(trained: Language) -> None:
    with pytest.raises(ValueError, match="cannot be dropped"):
        trained.get_pipe("transfer_ner").drop_task(TARGET)


@pytest.mark.parametrize("optimizer", [adagrad(0.1), Adam(0.05)], ids=["AdaGrad", "Adam"])
def test_added_label_keeps_predictions_and_can_be_learned(
    trained: Language, optimizer: Optimizer
) -> None:
    trained.update(examples(trained, TARGET, 3), sgd=optimizer)  # it has seen the old shape
    pipe = trained.get_pipe("transfer_ner")
    before = weights(trained)
    assert pipe.add_label("thing") == 1
    assert pipe.add_label("thing") == 0
    after = weights(trained)
    grown = after["heads.target.emission.weight"]
    assert len(grown) == len(before["heads.target.emission.weight"]) + 4
    assert torch.equal(grown[:-4], before["heads.target.emission.weight"])
    example = Example.from_dict(trained.make_doc("we met a lamp"), {"entities": [(9, 13, "thing")]})
    for _ in range(20):
        trained.update([example], sgd=optimizer, losses={})
    assert entities(trained("we met a lamp")) == [(3, 4, "thing")]


def test_label_added_before_initialisation_is_kept(nlp: Language) -> None:
    pipe = add_small_ner(nlp).get_pipe("transfer_ner")
    pipe.add_label("thing")
    nlp.initialize(lambda: examples(nlp, TARGET, 10))
    assert pipe.labels == ("person", "place", "thing")
    nlp.initialize(lambda: examples(nlp, "source", 10) + examples(nlp, TARGET, 10))
    assert pipe.label_data == {TARGET: ["person", "place"], "source": ["LOC", "PER"]}


def test_labels_from_a_file(nlp: Language) -> None:
    add_small_ner(nlp)
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    labels = {"target": ["place", "person", "never"], "source": ["PER", "LOC"]}
    nlp.config["initialize"]["components"]["transfer_ner"] = {"labels": labels}
    nlp.initialize(lambda: both)
    assert nlp.get_pipe("transfer_ner").label_data == labels


def test_labels_of_a_task_without_examples_are_an_error(nlp: Language) -> None:
    add_small_ner(nlp)
    nlp.config["initialize"]["components"]["transfer_ner"] = {"labels": {"sorce": ["PER"]}}
    with pytest.raises(ValueError, match="labels are given for task 'sorce', which has no exampl"):
        nlp.initialize(lambda: examples(nlp, TARGET, 5))


@pytest.mark.parametrize("name", ["conll.ner", "train", ""])
def test_task_names_that_cannot_be(nlp: Language, name: str) -> None:
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    for example in both[5:]:
        mark(example.reference, name, "ents")
    with pytest.raises(ValueError, match=f"a task cannot be named {name!r}"):
        add_small_ner(nlp).initialize(lambda: both)


def test_label_map_errors_name_the_line(nlp: Language, label_map_file: Path) -> None:
    label_map_file.write_text("place\tLOC\nperson\tHUMAN\n")
    add_small_ner(nlp)
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    nlp.config["initialize"]["components"]["transfer_ner"] = {"label_map": str(label_map_file)}
    with pytest.raises(ValueError, match=r"label_map.tsv:2: 'HUMAN' is not a label of the source"):
        nlp.initialize(lambda: both)


def test_no_annotation_is_an_error(nlp: Language) -> None:
    add_small_ner(nlp)
    doc = nlp.make_doc("nothing labelled")
    with pytest.raises(ValueError, match="no labels for task 'target'"):
        nlp.initialize(lambda: [Example(doc, doc.copy())])


def test_unknown_label_in_training_is_an_error(trained: Language) -> None:
    example = Example.from_dict(trained.make_doc("a lamp"), {"entities": [(2, 6, "thing")]})
    with pytest.raises(ValueError, match="'S-thing' is not one of task 'target'"):
        trained.update([example])


def test_not_finite_loss_names_its_term(trained: Language) -> None:
    network = shim_of(trained.get_pipe("transfer_ner").model).network
    with torch.no_grad():
        network.head("source").emission.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="'crf_source' of 'transfer_ner' is nan"):
        trained.update(examples(trained, TARGET, 2) + examples(trained, "source", 2))


@pytest.mark.parametrize("sharing", ["T-A", "T-B", "T-C"])
@pytest.mark.parametrize(
    "encoder",
    [
        {"char_encoder": "gru", "word_encoder": "gru", "char_layers": 2, "word_layers": 2},
        {"char_encoder": "lstm", "word_encoder": "lstm"},
        {"char_encoder": "gru-reset-before", "word_encoder": "gru-reset-before"},
        {"char_encoder": "cnn", "word_encoder": "cnn", "word_layers": 2},
        {"char_encoder": "none", "word_encoder": "gru"},
    ],
    ids=lambda e: f"{e['char_encoder']}-{e['word_encoder']}",
)
def test_every_plan_and_encoder_learns(
    nlp: Language, label_map_file: Path, sharing: str, encoder: dict[str, Any]
) -> None:
    add_small_ner(nlp, sharing=sharing, cost=1.0, **encoder)
    both = examples(nlp, TARGET, 12) + examples(nlp, "source", 12)
    nlp.config["initialize"]["components"]["transfer_ner"] = {"label_map": str(label_map_file)}
    nlp.initialize(lambda: both)
    optimizer = adagrad(0.1)
    for _ in range(20):
        nlp.update(both, sgd=optimizer)
    assert nlp.evaluate(examples(nlp, TARGET, 12))["ents_f"] == 1.0


def test_t_a_shares_one_head_and_answers_in_target_labels(
    nlp: Language, label_map_file: Path
) -> None:
    add_small_ner(nlp, sharing="T-A")
    both = examples(nlp, TARGET, 4) + examples(nlp, "source", 20)
    nlp.config["initialize"]["components"]["transfer_ner"] = {"label_map": str(label_map_file)}
    nlp.initialize(lambda: both)
    optimizer = adagrad(0.1)
    source = examples(nlp, "source", 20)
    for _ in range(20):
        nlp.update(source, sgd=optimizer)
    assert "heads.target.emission.weight" in weights(nlp)
    # Only source examples were learned, and their entities come out under the target's names.
    assert {e.label_ for e in nlp("Ida lives in Paris now").ents} == {"person", "place"}


def test_t_c_has_a_word_level_a_task(nlp: Language) -> None:
    add_small_ner(nlp, sharing="T-C")
    both = examples(nlp, TARGET, 4) + examples(nlp, "source", 4)
    nlp.initialize(lambda: both)
    names = weights(nlp)
    assert {
        "words.target.encoder.layers.0.weight_ih_l0",
        "words.source.encoder.layers.0.weight_ih_l0",
    } <= names.keys()
    assert sum(name.startswith("characters.embedding") for name in names) == 1


def test_matched_tags_and_constraints_reach_the_network(
    nlp: Language, label_map_file: Path
) -> None:
    both = examples(nlp, TARGET, 10) + examples(nlp, "source", 10)
    add_small_ner(nlp, tag_scheme="BIO")
    nlp.config["initialize"]["components"]["transfer_ner"] = {"label_map": str(label_map_file)}
    nlp.initialize(lambda: both)
    state = weights(nlp)
    # Source: O, B-LOC, I-LOC, B-PER, I-PER; target: O, B-person, I-person, B-place, I-place.
    assert state["matched.source.pairs"].tolist() == [[0, 0], [3, 1], [4, 2], [1, 3], [2, 4]]
    for task in (TARGET, "source"):
        assert state[f"constraints.{task}.start"].tolist() == [True, True, False, True, False]
        assert state[f"constraints.{task}.end"].all()
        assert state[f"constraints.{task}.transitions"].int().tolist() == [
            [1, 1, 0, 1, 0],
            [1, 1, 1, 1, 0],
            [1, 1, 1, 1, 0],
            [1, 1, 0, 1, 1],
            [1, 1, 0, 1, 1],
        ]


def test_word_dropout_is_for_words_seen_once_that_have_no_vector(nlp: Language) -> None:
    nlp.vocab.set_vector("bo", np.ones(8, dtype="float32"))
    example = Example.from_dict(nlp.make_doc("Bo met Cy and met Di"), {"entities": [(0, 2, "per")]})
    add_small_ner(nlp).initialize(lambda: [example])
    shim = shim_of(nlp.get_pipe("transfer_ner").model)
    rare = shim.network.state_dict()["embeddings.target.rare"].tolist()
    words = ["", *shim.vocabularies["target"].words]
    assert {word for word, of_word in zip(words, rare, strict=True) if of_word} == {
        *("cy", "and", "di")
    }


def test_unseen_words_use_static_vectors(nlp: Language) -> None:
    rng = np.random.default_rng(0)
    rome = rng.normal(size=8).astype("float32")
    for word in ("rome", "vienna"):
        nlp.vocab.set_vector(word, rome)
    add_small_ner(nlp, char_encoder="none")
    batch = examples(nlp, TARGET, 20)
    nlp.initialize(lambda: batch)
    optimizer = adagrad(0.1)
    network = shim_of(nlp.get_pipe("transfer_ner").model).network
    vocabulary = shim_of(nlp.get_pipe("transfer_ner").model).vocabularies["target"]
    row = network.state_dict()["embeddings.target.weight"][1 + vocabulary.words.index("rome")]
    assert torch.equal(row, torch.from_numpy(rome))
    for _ in range(20):
        nlp.update(batch, sgd=optimizer)
    # "Vienna" was never seen in training; its vector is that of "Rome".
    assert [(e.text, e.label_) for e in nlp("Vienna is far from here").ents] == [
        ("Vienna", "place")
    ]
