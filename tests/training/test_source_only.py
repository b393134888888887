"""Zero labels: a source alone is learned, and the target is tagged through the label map."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.cli.evaluate import evaluate
from spacy.tokens import DocBin, Span

from tests.conftest import LABEL_MAP, SMALL_CONFIG, Train, sentences, with_schedule


def zero_label_config(path: Path) -> Path:
    """The small config without a target."""
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    start = text.index("[corpora.train.target]")
    text = text[:start] + text[text.index("[corpora.train.sources]") :]
    path.write_text(
        with_schedule(text, "SourceOnly")
        .replace("\ntarget = null", "")
        .replace('sharing = "T-B"', 'sharing = "T-A"'),
        encoding="utf-8",
    )
    return path


def test_zero_labels_from_training_to_evaluation(train: Train, tmp_path: Path) -> None:
    run = train(
        {
            "training.optimizer.learn_rate": 0.1,
            "training.optimizer.initial_accumulator": 0.0,
            "training.dropout": 0.0,
            "training.max_steps": 40,
            "training.eval_frequency": 20,
        },
        config=zero_label_config(tmp_path / "zero.cfg"),
    )
    assert run.status == 0, run.err
    nlp = spacy.load(run.output / "model-last")
    assert nlp.get_pipe("transfer_ner").label_data == {
        "target": ["person", "place"],
        "source": ["LOC", "PER"],
    }
    doc = nlp("Ida lives in Paris now")
    assert [(e.text, e.label_) for e in doc.ents] == [("Ida", "person"), ("Paris", "place")]
    # The sentences that were learned, in the target's labels.
    renamed = {source: target for target, source in LABEL_MAP.items()}
    gold = sentences(nlp, "source", 20)
    for doc in gold:
        doc.set_ents([Span(doc, e.start, e.end, renamed[e.label_]) for e in doc.ents])
    DocBin(docs=gold).to_disk(tmp_path / "test.spacy")
    scores = evaluate(str(run.output / "model-last"), tmp_path / "test.spacy", silent=True)
    assert scores["ents_f"] == 1.0
    assert set(scores["ents_per_type"]) == {"person", "place"}


def test_other_schedules_need_the_target(train: Train, tmp_path: Path) -> None:
    path = zero_label_config(tmp_path / "zero.cfg")
    path.write_text(path.read_text().replace("SourceOnly", "TargetOnly"), encoding="utf-8")
    run = train(config=path)
    assert run.status == 1
    assert "no corpus of task 'target': set [corpora.train.target]" in run.err
