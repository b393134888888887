"""A target that starts from a saved source pipeline, and may be tied to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.nn.tagger import TransferTagger
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.source_pipeline import LAYERS
from tests.conftest import add_small_ner, blank, examples, renamed

Initialize = Callable[..., TransferPipe]


def learn(nlp: Language, batch: list[Example], steps: int = 20) -> dict[str, float]:
    optimizer, losses = adagrad(0.1), dict[str, float]()
    for _ in range(steps):
        nlp.update(batch, sgd=optimizer, losses=losses)
    return losses


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that was trained on the source alone."""
    torch.manual_seed(1)
    nlp = add_small_ner(blank())
    batch = renamed(examples(nlp, "source", 20), TARGET)
    nlp.initialize(lambda: batch)
    learn(nlp, batch)
    path = tmp_path_factory.mktemp("saved") / "source"
    nlp.to_disk(path)
    return path


@pytest.fixture
def initialize(nlp: Language, saved: Path, label_map_file: Path) -> Initialize:
    def run(of_component: dict[str, object] | None = None, **settings: Any) -> TransferPipe:
        add_small_ner(nlp, **(of_component or {}))  # type: ignore[arg-type]
        nlp.config["initialize"]["components"]["transfer_ner"] = {
            "source_pipeline": str(saved),
            "label_map": str(label_map_file),
            **settings,
        }
        batch = examples(nlp, TARGET, 12)
        nlp.initialize(lambda: batch)
        pipe = nlp.get_pipe("transfer_ner")
        assert isinstance(pipe, TransferPipe)
        return pipe

    return run


def network_of(pipe: Any) -> TransferTagger:
    return shim_of(pipe.model).network


def entities(nlp: Language, texts: list[str]) -> list[list[tuple[str, str]]]:
    return [[(e.text, e.label_) for e in nlp(text).ents] for text in texts]


def test_the_source_tags_as_before(nlp: Language, initialize: Initialize, saved: Path) -> None:
    texts = [example.reference.text for example in examples(nlp, "source", 20, seed=7)]
    expected = entities(spacy.load(saved), texts)
    assert any(expected)
    initialize().task = "source"
    assert entities(nlp, texts) == expected


def test_matched_labels_tag_as_the_source(nlp: Language, initialize: Initialize) -> None:
    """Without a step of its own the target finds what the source does, under its own labels."""
    initialize()
    assert entities(nlp, ["Ida lives in Paris now"]) == [[("Ida", "person"), ("Paris", "place")]]


def carried(pipe: TransferPipe, saved: Path) -> set[str]:
    """The layers of the target that are those of the saved pipeline."""
    ours, theirs = (shim_of(p.model) for p in (pipe, spacy.load(saved).get_pipe("transfer_ner")))
    new, old = ours.network, theirs.network
    for known in (ours.blueprint, theirs.blueprint, new.characters, old.characters):
        assert known is not None
    found = set()

    def same(a: torch.Tensor, b: torch.Tensor) -> bool:
        return bool(torch.equal(a, b))

    character = ours.blueprint.characters.index("n"), theirs.blueprint.characters.index("n")
    if same(
        new.characters.embedding.weight[character[0] + 1],
        old.characters.embedding.weight[character[1] + 1],
    ) and all(map(same, new.characters.encoder.parameters(), old.characters.encoder.parameters())):
        found.add("characters")
    words = [shim.blueprint.words[TARGET].words for shim in (ours, theirs)]
    if same(
        new.embedding(TARGET).weight[words[0].index("lives") + 1],
        old.embedding(TARGET).weight[words[1].index("lives") + 1],
    ):
        assert set(words[1]) <= set(words[0])
        rows = [words[0].index(word) + 1 for word in words[1]]
        assert not new.embedding(TARGET).rare[rows].any()
        assert same(new.embedding(TARGET).weight[0], old.embedding(TARGET).weight[0])
        found.add("embeddings")
    if all(map(same, new.words.parameters(), old.words.parameters())):
        found.add("words")
    tags = spacy.load(saved).get_pipe("transfer_ner").task_tags(TARGET).ids
    person, per = pipe.task_tags(TARGET).ids, tags
    inside = [(person[f"{p}-person"], per[f"{p}-PER"]) for p in "BIES"]
    if all(
        same(new.head(TARGET).emission.weight[a], old.head(TARGET).emission.weight[b])
        and same(new.head(TARGET).emission.bias[a], old.head(TARGET).emission.bias[b])
        and same(new.head(TARGET).crf.start[a], old.head(TARGET).crf.start[b])
        and same(new.head(TARGET).crf.end[a], old.head(TARGET).crf.end[b])
        and same(
            new.head(TARGET).crf.transitions[a, person["O"]],
            old.head(TARGET).crf.transitions[b, per["O"]],
        )
        for a, b in inside
    ):
        found.add("crf")
    return found


@pytest.mark.parametrize("left_out", [*LAYERS, "none"])
def test_what_is_carried_over_is_a_choice(
    initialize: Initialize, saved: Path, left_out: str
) -> None:
    layers = [layer for layer in LAYERS if layer != left_out]
    assert carried(initialize(carry_over=layers), saved) == set(layers)


def distance(pipe: TransferPipe) -> float:
    network = network_of(pipe)
    pairs = network.matched["source"].pairs.tolist()
    ours, theirs = network.head(TARGET).emission.weight, network.head("source").emission.weight
    return sum((ours[t] - theirs[s]).pow(2).sum().item() for s, t in pairs)


def test_the_target_is_tied_to_a_head_that_stays(nlp: Language, initialize: Initialize) -> None:
    pipe = initialize({"beta": 0.5}, carry_over=["characters", "embeddings", "words"])
    head = {
        name: value.clone() for name, value in network_of(pipe).head("source").state_dict().items()
    }
    before = distance(pipe)
    losses = learn(nlp, examples(nlp, TARGET, 12), steps=40)
    assert losses.keys() >= {"transfer_ner_crf_target", "transfer_ner_crf_l2_source"}
    after = network_of(pipe).head("source").state_dict()
    assert all(torch.equal(value, after[name]) for name, value in head.items())
    assert distance(pipe) < before / 4


def test_the_head_stays_after_loading_too(
    nlp: Language, initialize: Initialize, tmp_path: Path
) -> None:
    initialize({"beta": 0.5})
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    network = network_of(loaded.get_pipe("transfer_ner"))
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in network.named_parameters() if "heads.source" in name}
    loaded.get_pipe("transfer_ner").drop_task("source")
    network = network_of(loaded.get_pipe("transfer_ner"))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_with_t_a_the_one_crf_starts_from_the_source_and_learns(
    nlp: Language, initialize: Initialize
) -> None:
    pipe = initialize({"sharing": "T-A"})
    text = "Ida lives in Paris now"
    assert entities(nlp, [text]) == [[("Ida", "person"), ("Paris", "place")]]
    before = network_of(pipe).head(TARGET).emission.weight.clone()
    learn(nlp, examples(nlp, TARGET, 12))
    assert not torch.equal(before, network_of(pipe).head(TARGET).emission.weight)
    assert entities(nlp, ["Bo lives in Rome now"]) == [[("Bo", "person"), ("Rome", "place")]]


@pytest.mark.parametrize(
    ("of_component", "settings", "message"),
    [
        ({}, {"source_pipeline": "nowhere"}, "nowhere: expected a saved pipeline"),
        ({}, {"carry_over": ["lstm"]}, "carry_over: expected some of characters, .*; found 'lstm'"),
        ({"word_hidden": 5}, {}, "its word_hidden is 12, this pipeline's is 5"),
        ({"word_embedding": 9}, {}, "its width of the word embeddings is 8, this pipeline's is 9"),
        ({"tag_scheme": "BIO"}, {}, "its tag_scheme is BIOES, this pipeline's is BIO"),
        ({"sharing": "T-C"}, {}, "a saved source needs the sharing plan T-A or T-B"),
    ],
)
def test_what_cannot_be_carried_over(
    initialize: Initialize, of_component: dict[str, object], settings: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        initialize(of_component, **settings)


def test_a_pipeline_without_a_tagger(initialize: Initialize, tmp_path: Path) -> None:
    blank().to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match="blank: expected one transfer component; found 0"):
        initialize(source_pipeline=str(tmp_path / "blank"))


def test_a_corpus_of_the_same_name(nlp: Language, saved: Path) -> None:
    add_small_ner(nlp)
    nlp.config["initialize"]["components"]["transfer_ner"] = {"source_pipeline": str(saved)}
    both = examples(nlp, TARGET, 5) + examples(nlp, "source", 5)
    with pytest.raises(ValueError, match="the saved source is named 'source'"):
        nlp.initialize(lambda: both)
