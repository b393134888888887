"""Several sources, each with its own plan, vocabulary and vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET, mark
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.nn.tagger import TransferTagger
from spacy_transfer.pipeline.base import TransferPipe
from tests.conftest import LABEL_MAP, add_small_ner, examples, renamed

Initialize = Callable[..., TransferPipe]


@pytest.fixture
def three(nlp: Language) -> list[Example]:
    """A target and three sources: entities, tags, and words of another language."""
    foreign = []
    for example in examples(nlp, "source", 12, seed=3):
        words = [token.text[::-1] for token in example.reference]
        doc = Doc(
            nlp.vocab,
            words=words,
            ents=[
                t.ent_iob_ + "-" + t.ent_type_ if t.ent_type_ else "O" for t in example.reference
            ],
        )
        doc.has_unknown_spaces = True
        foreign.append(Example(doc.copy(), doc))
    return [
        *examples(nlp, TARGET, 12),
        *renamed(examples(nlp, "source", 12), "a"),
        *renamed(examples(nlp, "source", 12, seed=1), "b", "tag"),
        *renamed(foreign, "c"),
    ]


@pytest.fixture
def initialize(nlp: Language, label_map_file: Path, three: list[Example]) -> Initialize:
    def run(sharing: object, **settings: Any) -> TransferPipe:
        add_small_ner(nlp, sharing=sharing, beta=0.1, alpha=0.1)
        settings = {"label_map": str(label_map_file), **settings}
        nlp.config["initialize"]["components"]["transfer_ner"] = settings
        nlp.initialize(lambda: three)
        pipe = nlp.get_pipe("transfer_ner")
        assert isinstance(pipe, TransferPipe)
        return pipe

    return run


def network_of(pipe: TransferPipe) -> TransferTagger:
    return shim_of(pipe.model).network


PLANS = {"a": "T-A", "b": "T-B", "c": "T-C"}


def test_each_source_shares_what_its_plan_says(
    nlp: Language, initialize: Initialize, three: list[Example], tmp_path: Path
) -> None:
    pipe = initialize(PLANS)
    network = network_of(pipe)
    assert set(network.words) == set(network.embeddings) == {TARGET, "c"}
    assert set(network.heads) == {TARGET, "b", "c"}
    assert network.head("a") is network.head(TARGET)
    optimizer = adagrad(0.1)
    losses: dict[str, float] = {}
    for _ in range(30):
        nlp.update(three, sgd=optimizer, losses=losses)
    # What is tied to the target's head is what is not it.
    tied = {name.removeprefix("transfer_ner_crf_l2_") for name in losses if "crf_l2" in name}
    assert tied == {"b", "c"}
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    for pipeline in (nlp, loaded):
        component = pipeline.get_pipe("transfer_ner")
        assert [(e.text, e.label_) for e in pipeline("Ann Lee lives in New York now").ents] == [
            ("Ann Lee", "person"),
            ("New York", "place"),
        ]
        component.task = "a"
        doc = pipeline("Jo Kim Lou lives in Bonn now")
        assert [(e.text, e.label_) for e in doc.ents] == [("Jo Kim Lou", "PER"), ("Bonn", "LOC")]
        component.task = "b"
        assert [t.tag_ for t in pipeline("Ida left")] == ["PER", "VERB"]
        component.task = "c"
        assert [(e.text, e.label_) for e in pipeline("adI sevil ni nnoB won").ents] == [
            ("adI", "PER"),
            ("nnoB", "LOC"),
        ]
    with pytest.raises(ValueError, match="'a' cannot be dropped: it is the target or shares"):
        loaded.get_pipe("transfer_ner").drop_task("a")
    for source in ("b", "c"):
        loaded.get_pipe("transfer_ner").drop_task(source)
    assert set(network_of(loaded.get_pipe("transfer_ner")).words) == {TARGET}
    assert len(loaded("Ann Lee lives in New York now").ents) == 2


def test_a_map_serves_all_sources_that_have_its_labels(initialize: Initialize) -> None:
    network = network_of(initialize("T-B"))
    # Two labels of four tags each and O; the tags of source b match no entity.
    assert {t: len(network._pairs(t)) for t in "abc"} == {"a": 9, "b": 0, "c": 9}


def test_words_of_the_target_alone_with_t_c(initialize: Initialize, three: list[Example]) -> None:
    pipe = initialize({**PLANS, "a": "T-C", "b": "T-C"})
    blueprint = shim_of(pipe.model).blueprint
    assert blueprint is not None
    words = {group: set(level.words) for group, level in blueprint.words.items()}
    assert "rome" in words[TARGET]
    assert "paris" in words["a"] & words["b"]
    assert not {"paris", "nnob"} & words[TARGET]
    assert "nnob" in words["c"]
    # One table of characters for all.
    assert set("RBPn") <= set(blueprint.characters)


def vectors(path: Path, width: int, words: list[str]) -> str:
    other = spacy.blank("xx")
    other.vocab.reset_vectors(width=width)
    for number, word in enumerate(words, start=1):
        other.vocab.set_vector(word, np.full(width, number, dtype=np.float32))
    other.to_disk(path)
    return str(path)


def test_vectors_of_another_width(
    nlp: Language, initialize: Initialize, three: list[Example], tmp_path: Path
) -> None:
    nlp.vocab.set_vector("Rome", np.full(5, 9.0, dtype=np.float32))
    nlp.vocab.set_vector("adi", np.full(5, 9.0, dtype=np.float32))
    path = vectors(tmp_path / "vectors", 3, ["adI", "unseen"])
    pipe = initialize(PLANS, source_vectors={"c": path})
    blueprint, network = shim_of(pipe.model).blueprint, network_of(pipe)
    assert blueprint is not None
    assert {group: level.width for group, level in blueprint.words.items()} == {TARGET: 5, "c": 3}
    state = network.state_dict()
    row = 1 + blueprint.words["c"].words.index("adi")
    assert state["embeddings.c.weight"][row].tolist() == [1.0] * 3
    row = 1 + blueprint.words[TARGET].words.index("rome")
    assert state[f"embeddings.{TARGET}.weight"][row].tolist() == [9.0] * 5
    nlp.update(three, sgd=adagrad(0.1))
    # Unseen words of the source are unknown: the pipeline's vectors are of another language.
    nlp.vocab.set_vector("neu", np.full(5, 1.0, dtype=np.float32))
    pipe.task = "c"
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    text = "neu sevil ni nnoB"
    assert [e.text for e in loaded(text).ents] == [e.text for e in nlp(text).ents]


def test_a_source_without_vectors(nlp: Language, initialize: Initialize) -> None:
    nlp.vocab.set_vector("adi", np.full(5, 9.0, dtype=np.float32))
    pipe = initialize(PLANS, source_vectors={"c": None})
    blueprint = shim_of(pipe.model).blueprint
    assert blueprint is not None
    assert blueprint.words["c"].width == 8
    assert blueprint.words[TARGET].width == 5


@pytest.mark.parametrize(
    ("sharing", "settings", "message"),
    [
        ({"a": "T-A"}, {}, "no sharing plan for 'b', 'c': expected one of T-A, T-B, T-C"),
        ({**PLANS, "d": "T-B"}, {}, "a sharing plan is given for task 'd', which has no examples"),
        (PLANS, {"source_vectors": {"d": None}}, "vectors are given for task 'd', which has no"),
        (PLANS, {"source_vectors": {"b": None}}, "vectors are given for task 'b', .* needs T-C"),
        (PLANS, {"source_vectors": {"c": "/nowhere"}}, "/nowhere: expected a pipeline with vector"),
        ({**PLANS, "b": "T-A"}, {}, "T-A shares one CRF: tag layers and span layers"),
    ],
)
def test_wrong_settings(
    initialize: Initialize, sharing: object, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        initialize(sharing, **settings)


def test_a_map_to_a_label_of_no_source(initialize: Initialize, tmp_path: Path) -> None:
    path = tmp_path / "wrong.tsv"
    path.write_text("".join(f"{t}\t{s}\n" for t, s in {**LABEL_MAP, "place": "LOK"}.items()))
    with pytest.raises(ValueError, match=r"wrong\.tsv:2: 'LOK' is not a label of the source"):
        initialize(PLANS, label_map=str(path))


def test_the_map_of_a_shared_crf_is_not_that_of_the_other_sources(
    nlp: Language, tmp_path: Path
) -> None:
    """Without a file, equal names match: also where T-A sends one of them to a default."""
    target = examples(nlp, "source", 8)
    for example in target:
        mark(example.reference, TARGET, "ents")
    people = [eg for eg in examples(nlp, "source", 20) if len(eg.reference.ents) == 1]
    people = [eg for eg in people if eg.reference.ents[0].label_ == "PER"]
    add_small_ner(nlp, sharing={"a": "T-A", "b": "T-B"})
    pipe = nlp.get_pipe("transfer_ner")
    both = renamed(people, "a") + renamed(examples(nlp, "source", 8), "b")
    pipe.initialize(lambda: target + both, default_label="O")
    assert pipe.cfg["renamed"] == {"LOC": "O", "PER": "PER"}
    # Outside, and four tags each of both labels.
    assert len(network_of(pipe)._pairs("b")) == 9


def test_labels_that_are_given_are_all(nlp: Language) -> None:
    both = examples(nlp, TARGET, 4) + examples(nlp, "source", 8)
    pipe = add_small_ner(nlp, sharing="T-A").get_pipe("transfer_ner")
    pipe.initialize(
        lambda: both, labels={TARGET: ["place", "person"], "source": ["PER", "LOC"]}, union=True
    )
    assert pipe.label_data == {TARGET: ["place", "person"], "source": ["PER", "LOC"]}
