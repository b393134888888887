from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from spacy.cli.evaluate import evaluate
from spacy.language import Language

from spacy_transfer.corpus.marks import TARGET
from tests.cli.running import exit_code
from tests.conftest import add_small_pipe, blank, examples

run = partial(exit_code, "compare")
Files = Callable[..., Path]


def untrained(path: Path, factory: str = "transfer_ner", layer: str = "ents") -> Path:
    nlp = add_small_pipe(factory, blank())
    nlp.initialize(lambda: examples(nlp, TARGET, 9, layer=layer))
    nlp.to_disk(path)
    return path


@pytest.fixture
def model(trained: Language, tmp_path: Path) -> Path:
    trained.to_disk(tmp_path / "model")
    return tmp_path / "model"


def test_scores_difference_and_p(
    model: Path, corpus_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, data = untrained(tmp_path / "other"), corpus_files(TARGET, 40, seed=1)
    assert run(other, model, data, "--shuffles", "2000") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"A: {other}", f"B: {model}", f"{data}: 40 documents, layer ents"]
    rows = {cells[1]: cells[2:] for line in lines if len(cells := line.split("|")) > 1}
    rows = {name.strip(): [cell.strip() for cell in cells] for name, cells in rows.items()}
    scores = {
        name: 100 * (evaluate(str(path), data, silent=True)["ents_f"] or 0)
        for name, path in (("A", other), ("B", model))
    }
    scores["B - A"] = scores["B"] - scores["A"]
    assert scores["B - A"] > 10
    for name, score in scores.items():
        value, interval, _ = rows[name]
        assert float(value) == pytest.approx(score, abs=0.005)
        low, high = map(float, interval.split(" to "))
        assert low <= score <= high
    # The interval of the difference leaves no doubt, and the p-value is the least there can be.
    assert rows["B - A"][1].startswith("+")
    assert lines[-2].startswith("p = 0.0005 (two-sided randomised paired test, 2,000 shuffles")

    assert run(model, model, data, "--layer", "ents") == 0
    assert "\np = 1.0000 " in capsys.readouterr().out


def test_the_layer_is_that_of_the_components(
    corpus_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = corpus_files(TARGET, 9)
    chunker = untrained(tmp_path / "c", "transfer_chunker", "spans:chunks")
    assert run(chunker, chunker, data) == 0
    assert "9 documents, layer spans:chunks" in capsys.readouterr().out
    tagger = untrained(tmp_path / "t", "transfer_tagger", "tag")
    assert run(tagger, tagger, data) == 0
    assert "| accuracy |" in capsys.readouterr().out


def test_pipelines_without_our_components(
    corpus_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = blank()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "place", "pattern": "Rome"}])
    nlp.to_disk(tmp_path / "rules")
    rules, data = tmp_path / "rules", corpus_files(TARGET, 30)
    assert run(rules, rules, data, "--layer", "ents") == 0
    assert float(capsys.readouterr().out.split("| A     |")[1].split("|")[0]) > 0
    assert run(rules, rules, data) == 1
    assert f"{rules}: expected transfer components for one layer, found none: say with --layer" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["nowhere", "a"], [], "nowhere"),
        (["a", "t"], [], "a and {}t tag ents and tag: expected one layer, or --layer"),
        (["a", "a"], ["--layer", "tag"], "a: expected a pipeline that annotates layer 'tag'; it"),
        (["a", "a"], ["--layer", "spans:x"], ".spacy: none of 9 documents is annotated in layer"),
        (["a", "a"], ["--layer", "tags"], "unknown layer 'tags': expected 'ents', 'tag' or"),
        (["a", "a"], ["--gpu-id", "63"], "no GPU 63: torch "),
    ],
)
def test_one_clear_error(
    corpus_files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    models: list[str],
    options: list[str],
    message: str,
) -> None:
    untrained(tmp_path / "a")
    untrained(tmp_path / "t", "transfer_tagger", "tag")
    data = corpus_files(TARGET, 9)
    assert run(*(tmp_path / model for model in models), data, *options) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message.format(f"{tmp_path}/") in printed.err
    assert printed.err.count("\n") == 1


def test_a_corpus_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untrained(tmp_path / "a")
    assert run(tmp_path / "a", tmp_path / "a", tmp_path / "x.spacy") == 1
    assert f"{tmp_path / 'x.spacy'}: no such file or folder: expected a corpus" in (
        capsys.readouterr().err
    )


def test_no_shuffles(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a", "b", "c.spacy", "--shuffles", "0") == 2
    assert "--shuffles" in capsys.readouterr().err
