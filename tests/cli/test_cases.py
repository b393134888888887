from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.corpus.marks import TARGET
from tests.cli.running import exit_code
from tests.conftest import Train

run = partial(exit_code, "cases")
Files = Callable[..., Path]


@pytest.fixture
def model(train: Train, capsys: pytest.CaptureFixture[str]) -> Path:
    path = train().output / "model-last"
    capsys.readouterr()
    return path


def test_a_table_of_terms(
    model: Path, corpus_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = tmp_path / "terms.tsv"
    terms.write_text("Rome\nParis\tBonn\n")
    data = corpus_files(TARGET, 10, seed=1)
    assert run(model, data, "--terms", terms, "--limit", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        f"A: {model}",
        f"source: {tmp_path / 'source-0.spacy'}",
        f"target: {tmp_path / 'target-0.spacy'}",
        f"test: {data}, 10 documents, layer ents",
    ]
    assert lines[5].startswith("| Term        | in source | in target | in test | right: A |")
    # Of terms that were asked for, all are shown.
    assert [line.split("|")[1].strip() for line in lines[7:]] == ["Rome", "Paris", "all 2 terms"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "{data}"], "no term that a source's training data has and the target's lacks"),
        (["nowhere", "{data}"], "nowhere"),
        (["{model}", "nowhere.spacy"], "nowhere.spacy: no such file or folder"),
        (["{model}", "{data}", "--terms", "nowhere"], "nowhere: no such file: expected terms"),
        (["{model}", "{data}", "--layer", "tags"], "unknown layer 'tags': expected 'ents', 'tag'"),
        (["{model}", "{data}", "--gpu-id", "63"], "no GPU 63: torch "),
    ],
)
def test_one_clear_error(
    model: Path,
    corpus_files: Files,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    data = corpus_files(TARGET, 10, seed=1)
    assert run(*(part.format(model=model, data=data) for part in arguments)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_a_warning_is_a_line_without_a_place_in_the_code() -> None:
    """Shown here by the formatter: pytest keeps warnings from stderr."""
    arguments = ("terms.tsv: 'x' is annotated nowhere", UserWarning, "cases.py", 1)
    with clear_errors():
        assert (
            warnings.formatwarning(*arguments) == "warning: terms.tsv: 'x' is annotated nowhere\n"
        )
    assert "cases.py:1: UserWarning" in warnings.formatwarning(*arguments)


def test_a_model_and_a_corpus_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test.spacy") == 2
    assert "Missing argument" in capsys.readouterr().err
