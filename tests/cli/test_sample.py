from __future__ import annotations

import re
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin
from typer import Typer
from typer.testing import CliRunner, Result

from spacy_transfer.cli.sample import sample


def run(*arguments: str | Path) -> Result:
    app = Typer()
    app.command()(sample)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    nlp = spacy.blank("en")
    DocBin(docs=[nlp(f"number {n}") for n in range(40)]).to_disk(tmp_path / "all.spacy")
    return tmp_path / "all.spacy"


def test_says_what_it_kept(corpus: Path, tmp_path: Path) -> None:
    output, rest = tmp_path / "dev.spacy", tmp_path / "train.spacy"
    result = run(corpus, output, "--rate", "0.1", "--seed", "3", "--rest", rest)
    assert result.exit_code == 0
    assert result.stdout == f"{output}: 4 of 40 sentences, 8 of 80 tokens\n"
    assert len(DocBin().from_disk(output)) == 4
    assert len(DocBin().from_disk(rest)) == 36


@pytest.mark.parametrize(
    ("source", "rate", "message"),
    [
        ("all.spacy", "0", "rate 0.0: expected a share above 0 and up to 1"),
        ("none.spacy", "0.1", "none.spacy: no such file or folder"),
        ("text.conll", "0.1", "text.conll: expected a .spacy file"),
    ],
)
def test_errors_are_one_line(
    corpus: Path, tmp_path: Path, source: str, rate: str, message: str
) -> None:
    (tmp_path / "text.conll").write_text("EU B-ORG\n")
    result = run(tmp_path / source, tmp_path / "out.spacy", "--rate", rate)
    assert result.exit_code == 1
    assert re.fullmatch(rf"error: .*{re.escape(message)}.*\n", result.stderr)
    assert not (tmp_path / "out.spacy").exists()
