"""T-A: one CRF over source labels, and a label map on top of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET, mark
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.pipeline.base import TransferPipe
from tests.conftest import add_small_pipe, examples

SOURCE_TEXT = "Ida lives in Paris now"
Initialize = Callable[..., TransferPipe]


@pytest.fixture
def initialize(nlp: Language, tmp_path: Path) -> Initialize:
    """A function that initialises a T-A component with a map and a default, and returns it."""

    def run(
        of_examples: list[Example],
        pairs: dict[str, str] | None,
        default: str | None = None,
        sharing: str = "T-A",
        factory: str = "transfer_ner",
        union: bool = False,
    ) -> TransferPipe:
        settings: dict[str, object] = {"default_label": default, "union": union}
        if pairs is not None:
            settings["label_map"] = str(tmp_path / "map.tsv")
            lines = (f"{target}\t{source}\n" for target, source in pairs.items())
            (tmp_path / "map.tsv").write_text("".join(lines), encoding="utf-8")
        add_small_pipe(factory, nlp, sharing=sharing)
        nlp.config["initialize"]["components"][factory] = settings
        nlp.initialize(lambda: of_examples)
        pipe = nlp.get_pipe(factory)
        assert isinstance(pipe, TransferPipe)
        return pipe

    return run


def learn(nlp: Language, batch: list[Example]) -> None:
    optimizer = adagrad(0.1)
    for _ in range(20):
        nlp.update(batch, sgd=optimizer)


def test_a_label_that_the_map_leaves_out_is_an_error(nlp: Language, initialize: Initialize) -> None:
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    with pytest.raises(ValueError, match=r"map\.tsv: no source label for 'place'"):
        initialize(both, {"person": "PER"})


def test_without_a_map_names_must_be_equal(nlp: Language, initialize: Initialize) -> None:
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    with pytest.raises(ValueError, match="equal names: no source label for 'person', 'place'"):
        initialize(both, None)


def test_a_map_need_not_be_complete_where_heads_are_apart(
    nlp: Language, initialize: Initialize
) -> None:
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    pipe = initialize(both, {"person": "PER"}, sharing="T-B")
    assert pipe.labels == ("person", "place")


def test_a_union_has_tags_of_its_own_for_what_matches_nothing(
    nlp: Language, initialize: Initialize, tmp_path: Path
) -> None:
    both = examples(nlp, TARGET, 20) + examples(nlp, "source", 20)
    pipe = initialize(both, {"person": "PER"}, union=True)
    network = shim_of(pipe.model).network
    # PER and LOC of the source, place of the target, and outside.
    assert len(network.state_dict()["heads.target.emission.weight"]) == 3 * 4 + 1
    learn(nlp, both)
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert [(e.text, e.label_) for e in loaded("Ida lives in Rome now").ents] == [
        ("Ida", "person"),
        ("Rome", "place"),
    ]
    loaded.get_pipe("transfer_ner").task = "source"
    assert [(e.text, e.label_) for e in loaded("Ida lives in Paris now").ents] == [
        ("Ida", "PER"),
        ("Paris", "LOC"),
    ]


def test_the_log_says_which_labels_only_one_side_has(
    nlp: Language, initialize: Initialize, caplog: pytest.LogCaptureFixture
) -> None:
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    with caplog.at_level("INFO", "spacy_transfer"):
        initialize(both, {"person": "PER"}, union=True)
    assert caplog.messages == [
        "One CRF for the target and source. "
        "Labels of the target alone: place. Of sources alone: LOC."
    ]


@pytest.mark.parametrize(
    ("objective", "pairs", "warned"),
    [
        ({"alpha": 0.1}, None, True),
        ({"beta": 0.1}, None, True),
        ({"beta": 0.1}, {"person": "PER"}, False),
        ({"alpha": 0.1, "mmd": "marginal"}, None, False),
        ({}, None, False),
    ],
)
def test_a_warning_where_no_label_matches(
    nlp: Language,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    objective: dict[str, Any],
    pairs: dict[str, str] | None,
    warned: bool,
) -> None:
    add_small_pipe("transfer_ner", nlp, **objective)
    if pairs:
        (tmp_path / "map.tsv").write_text("person\tPER\n")
        label_map = {"label_map": str(tmp_path / "map.tsv")}
        nlp.config["initialize"]["components"]["transfer_ner"] = label_map
    nlp.initialize(lambda: examples(nlp, TARGET, 5) + examples(nlp, "source", 5))
    expected = ["No label of the target means the same as one of 'source': "] if warned else []
    assert [message[: len(expected[0])] for message in caplog.messages] == expected


@pytest.mark.parametrize("setting", [{"default": "PER"}, {"union": True}])
def test_a_default_is_for_t_a(
    nlp: Language, initialize: Initialize, setting: dict[str, Any]
) -> None:
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    with pytest.raises(ValueError, match="default_label and union are for T-A"):
        initialize(both, None, **setting, sharing="T-B")


def test_the_default_of_spans_may_be_outside(nlp: Language, initialize: Initialize) -> None:
    both = examples(nlp, TARGET, 20) + examples(nlp, "source", 20)
    pipe = initialize(both, {"person": "PER"}, default="O")
    assert pipe.labels == ("person", "place")
    learn(nlp, examples(nlp, "source", 20))
    assert [(e.text, e.label_) for e in nlp(SOURCE_TEXT).ents] == [("Ida", "person")]


def test_tags_have_no_outside(nlp: Language, initialize: Initialize) -> None:
    layer = "tag"
    both = examples(nlp, TARGET, 5, layer=layer) + examples(nlp, "source", 5, layer=layer)
    with pytest.raises(ValueError, match="default_label 'O' is not a label of the source"):
        initialize(both, None, default="O", factory="transfer_tagger")


def test_many_to_one_answers_with_the_most_frequent(
    nlp: Language, initialize: Initialize, tmp_path: Path
) -> None:
    both = examples(nlp, TARGET, 12) + examples(nlp, "source", 20)
    for example in both[:4]:
        ents = example.reference.ents
        renamed = [span for span in ents if span.label_ != "person"]
        people = [
            spacy.tokens.Span(example.reference, e.start, e.end, "actor")
            for e in ents
            if e.label_ == "person"
        ]
        example.reference.set_ents([*people, *renamed])
    counts = [e.label_ for example in both[:12] for e in example.reference.ents]
    assert 0 < counts.count("actor") < counts.count("person")
    # The first in the file, and in the alphabet, is the rarer one.
    pipe = initialize(both, {"actor": "PER", "place": "LOC", "person": "PER", "town": "LOC"})
    assert pipe.labels == ("actor", "person", "place", "town")
    emissions = shim_of(pipe.model).network.state_dict()["heads.target.emission.weight"]
    assert len(emissions) == 1 + 4 * 2
    learn(nlp, both)
    assert {e.label_ for e in nlp("Ann Lee lives in New York now").ents} == {"person", "place"}
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert {e.label_ for e in loaded(SOURCE_TEXT).ents} == {"person", "place"}


def test_target_labels_that_the_sample_lacks_come_from_the_map(
    nlp: Language, initialize: Initialize
) -> None:
    target = [eg for eg in examples(nlp, TARGET, 20) if len(eg.reference.ents) == 1]
    target = [eg for eg in target if eg.reference.ents[0].label_ == "person"]
    initialize(target + examples(nlp, "source", 20), {"person": "PER", "place": "LOC"})
    learn(nlp, examples(nlp, "source", 20))
    assert {e.label_ for e in nlp(SOURCE_TEXT).ents} == {"person", "place"}


@pytest.mark.parametrize(
    ("factory", "layer", "pairs"),
    [
        ("transfer_ner", "ents", {"person": "PER", "place": "LOC"}),
        ("transfer_chunker", "spans:chunks", {"noun": "NP", "name": "NP", "verb": "VP"}),
        ("transfer_tagger", "tag", {"N": "PER", "P": "LOC", "V": "VERB", "X": "ELSE"}),
    ],
)
def test_no_label_of_the_target(
    nlp: Language,
    initialize: Initialize,
    tmp_path: Path,
    factory: str,
    layer: str,
    pairs: dict[str, str],
) -> None:
    source = examples(nlp, "source", 20, layer=layer)
    pipe = initialize(source, pairs, factory=factory)
    assert pipe.label_data[TARGET] == sorted(pairs)
    learn(nlp, source)
    nlp.to_disk(tmp_path / "model")
    doc = spacy.load(tmp_path / "model")(SOURCE_TEXT)
    assert {
        "transfer_ner": [e.label_ for e in doc.ents],
        "transfer_chunker": [s.label_ for s in doc.spans.get("chunks", [])],
        "transfer_tagger": [t.tag_ for t in doc],
    }[factory] == {
        "transfer_ner": ["person", "place"],
        "transfer_chunker": ["noun", "verb", "noun"],
        "transfer_tagger": ["N", "V", "X", "P", "X"],
    }[factory]


def test_without_a_map_both_have_the_same_labels(nlp: Language, initialize: Initialize) -> None:
    source = examples(nlp, "source", 20)
    one = next(eg for eg in examples(nlp, "source", 20, seed=1) if len(eg.reference.ents) == 1)
    mark(one.reference, TARGET, "ents")
    pipe = initialize([one, *source], None)
    assert pipe.label_data == {TARGET: ["LOC", "PER"], "source": ["LOC", "PER"]}
    learn(nlp, source)
    assert [(e.text, e.label_) for e in nlp(SOURCE_TEXT).ents] == [("Ida", "PER"), ("Paris", "LOC")]


def test_no_label_of_the_target_and_no_map(nlp: Language, initialize: Initialize) -> None:
    source = examples(nlp, "source", 20)
    # Of two tasks with the same labels, the source tells those of the target.
    pipe = initialize(source, None)
    assert pipe.labels == ("LOC", "PER")
    learn(nlp, source)
    assert [(e.text, e.label_) for e in nlp(SOURCE_TEXT).ents] == [("Ida", "PER"), ("Paris", "LOC")]
    with pytest.raises(ValueError, match="no labels for task 'target'"):
        initialize(source, {"person": "PER"}, sharing="T-B", factory="transfer_chunker")


def test_a_word_level_without_examples_is_an_error(nlp: Language) -> None:
    pipe = add_small_pipe("transfer_ner", nlp, sharing="T-C").get_pipe("transfer_ner")
    with pytest.raises(ValueError, match="no words for the target"):
        pipe.initialize(lambda: examples(nlp, "source", 5), labels=["person"])


def test_label_added_to_a_trained_t_a(nlp: Language, initialize: Initialize) -> None:
    both = examples(nlp, TARGET, 12) + examples(nlp, "source", 12)
    pipe = initialize(both, {"person": "PER", "place": "LOC"})
    learn(nlp, both)
    before = [(e.text, e.label_) for e in nlp(SOURCE_TEXT).ents]
    assert pipe.add_label("thing") == 1
    assert [(e.text, e.label_) for e in nlp(SOURCE_TEXT).ents] == before
    learn(nlp, [Example.from_dict(nlp.make_doc("we met a lamp"), {"entities": [(9, 13, "thing")]})])
    assert [(e.text, e.label_) for e in nlp("we met a lamp").ents] == [("lamp", "thing")]
