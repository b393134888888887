"""Training runs in which source and target are of different layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.cli.evaluate import evaluate

from tests.conftest import SMALL_CONFIG, Train

SETTINGS: dict[str, object] = {
    "training.optimizer.learn_rate": 0.1,
    "training.optimizer.initial_accumulator": 0.0,
    "training.dropout": 0.0,
    "training.max_steps": 20,
    "training.eval_frequency": 20,
}


def test_entities_with_a_source_of_tags(train: Train, tmp_path: Path) -> None:
    run = train({**SETTINGS, "corpora.train.sources.source.layer": "tag"})
    assert run.status == 0, run.err
    pipe = spacy.load(run.output / "model-last").get_pipe("transfer_ner")
    assert pipe.label_data == {
        "target": ["person", "place"],
        "source": ["ELSE", "LOC", "PER", "VERB"],
    }
    learned = evaluate(str(run.output / "model-last"), tmp_path / "target-0.spacy", silent=True)
    assert learned["ents_f"] == 1.0


@pytest.mark.parametrize(
    ("factory", "layer", "score"),
    [("transfer_tagger", "tag", "tag_acc"), ("transfer_chunker", "spans:chunks", "spans_chunks_f")],
)
def test_other_components_with_a_source_of_entities(
    train: Train, tmp_path: Path, factory: str, layer: str, score: str
) -> None:
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    start = text.index("[initialize.components.transfer_ner]")
    text = text[:start] + text[text.index("[corpora]") :]
    config = tmp_path / "other.cfg"
    text = text.replace("\nlabel_map = null", "")
    text = text.replace('factory = "transfer_ner"', f'factory = "{factory}"')
    config.write_text(text, encoding="utf-8")
    layers = {"corpora.train.target.layer": layer, "corpora.dev.layer": layer}
    run = train({**SETTINGS, **layers}, config=config)
    assert run.status == 0, run.err
    learned = evaluate(str(run.output / "model-last"), tmp_path / "target-0.spacy", silent=True)
    assert learned[score] == 1.0


def test_two_components_in_one_pipeline(train: Train, tmp_path: Path) -> None:
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    end = text.index("[initialize]")
    component = text[text.index("[components.transfer_ner]") : end]
    text = text[:end] + component.replace("transfer_ner", "transfer_tagger") + text[end:]
    text = text.replace('["transfer_ner"]', '["transfer_ner", "transfer_tagger"]')
    config = tmp_path / "both.cfg"
    config.write_text(text, encoding="utf-8")
    run = train(SETTINGS, config=config)
    assert run.status == 0, run.err
    for model in ("model-best", "model-last"):
        learned = evaluate(str(run.output / model), tmp_path / "target-0.spacy", silent=True)
        assert (learned["ents_f"], learned["tag_acc"]) == (1.0, 1.0)
    nlp = spacy.load(run.output / "model-last")
    doc = nlp("Ann Lee lives in Rome now")
    assert [(e.text, e.label_) for e in doc.ents] == [("Ann Lee", "person"), ("Rome", "place")]
    assert [t.tag_ for t in doc] == ["person", "person", "VERB", "ELSE", "place", "ELSE"]
