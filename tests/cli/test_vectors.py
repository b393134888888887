from __future__ import annotations

from pathlib import Path

import spacy
from typer import Typer
from typer.testing import CliRunner, Result

from spacy_transfer.cli.vectors import vectors


def run(*arguments: str | Path) -> Result:
    app = Typer()
    app.command()(vectors)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_makes_a_directory(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("a 1 2 3\nb 4 5 6\n")
    output = tmp_path / "vectors"
    result = run(tmp_path / "v.txt", output, "--lang", "de")
    assert result.exit_code == 0
    assert result.stdout == f"{output}: 2 words, 3 dimensions\n"
    nlp = spacy.load(output)
    assert nlp.lang == "de"
    assert nlp.vocab["b"].vector.tolist() == [4, 5, 6]


def test_errors_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("a 1 2 3\nb 4 5\n")
    result = run(path, tmp_path / "vectors")
    assert result.exit_code == 1
    assert result.stderr.endswith(f"error: {path}:2: expected a word and 3 numbers, got 'b 4 5'\n")
    assert not (tmp_path / "vectors").exists()
    assert run(tmp_path / "none.txt", tmp_path / "vectors").exit_code == 1
