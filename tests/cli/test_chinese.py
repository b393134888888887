"""Chinese, with a character a token: from files to the tags of raw text."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from spacy_transfer.corpus.shards import read_docs
from tests.cli.running import exit_code
from tests.conftest import Train

NAMES = {"PER": ["王小明", "李华", "欧阳娜"], "LOC": ["北京", "黑龙江", "T3航站楼"]}
PATTERNS = ["{PER}住在{LOC}。", "昨天{PER}去了{LOC}，花了35.5元。", "在{LOC}遇到{PER}！"]
Sentence = tuple[str, list[tuple[int, int, str]]]


def sentences(count: int, seed: int) -> list[Sentence]:
    """Texts and their entities: first character, the one after the last, label."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        text, entities = "", []
        for part in rng.choice(PATTERNS).replace("}", "{").split("{"):
            name = rng.choice(NAMES.get(part, [part]))
            if part in NAMES:
                entities.append((len(text), len(text) + len(name), part))
            text += name
        found.append((text, entities))
    return found


def write_columns(path: Path, count: int, seed: int) -> Path:
    lines = []
    for text, entities in sentences(count, seed):
        tags = ["O"] * len(text)
        for start, end, label in entities:
            tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
        lines += [*(f"{c}\t{tag}" for c, tag in zip(text, tags, strict=True)), ""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_doccano(path: Path, count: int, seed: int) -> Path:
    records = [{"text": text, "label": entities} for text, entities in sentences(count, seed)]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def converted(path: Path) -> Path:
    output = path.with_suffix(".spacy")
    assert exit_code("convert", path, output, "--layer", "ents", "--lang", "zh") == 0
    return output


@pytest.fixture
def model(train: Train, tmp_path: Path) -> Path:
    """A pipeline of column files and, as its source, JSON lines."""
    run = train(
        {
            "nlp.lang": "zh",
            "components.transfer_ner.model.encoder.char_encoder": "none",
            "paths.target": converted(write_columns(tmp_path / "target.tsv", 40, 1)),
            "paths.source": converted(write_doccano(tmp_path / "source.jsonl", 40, 2)),
            "paths.dev": converted(write_columns(tmp_path / "dev.tsv", 10, 3)),
            "paths.label_map": "null",
            "training.dropout": 0.0,
            "training.optimizer.learn_rate": 0.1,
            "training.max_steps": 60,
            "training.eval_frequency": 20,
        }
    )
    assert run.status == 0, run.err
    return run.output / "model-best"


def entities(nlp: Language, text: str) -> list[tuple[str, str]]:
    return [(entity.text, entity.label_) for entity in nlp(text).ents]


def test_raw_text_is_tagged_as_the_corpus_was(model: Path, tmp_path: Path) -> None:
    nlp = spacy.load(model)
    for text, spans in sentences(10, 3):
        assert entities(nlp, text) == [(text[start:end], label) for start, end, label in spans]
    # Tokens of raw text are those of the files, digits and Latin letters too.
    for doc in read_docs(tmp_path / "dev.spacy", nlp.vocab):
        words = [token.text for token in doc]
        assert [token.text for token in nlp("".join(words))] == words
    # Blanks belong to no token, as in the files that leave them out.
    assert entities(nlp, "李华住在 T3航站楼 。") == [("李华", "PER"), ("T3航站楼", "LOC")]


def test_saved_again_and_evaluated(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = spacy.load(model)
    nlp.get_pipe("transfer_ner").drop_task("source")
    nlp.to_disk(tmp_path / "again")
    again = spacy.load(tmp_path / "again")
    assert entities(again, "王小明去了黑龙江") == [("王小明", "PER"), ("黑龙江", "LOC")]
    scores = tmp_path / "scores.json"
    command = ["evaluate", tmp_path / "again", tmp_path / "dev.spacy", "--output", scores]
    assert exit_code(*command) == 0
    assert json.loads(scores.read_text())["ents_f"] == 1.0
