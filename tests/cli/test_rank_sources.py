"""`spacy transfer rank-sources` on the command line: what it prints, writes and refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import spacy
from spacy.vectors import Vectors

from spacy_transfer.corpus.label_map import read_label_map
from spacy_transfer.corpus.marks import TARGET
from tests.cli.running import exit_code
from tests.conftest import LABEL_MAP

run = partial(exit_code, "rank-sources")
Files = Callable[..., Path]


@pytest.fixture
def files(corpus_files: Files) -> list[Path]:
    return [corpus_files(TARGET, 20), corpus_files("source", 30), corpus_files(TARGET, 20, seed=1)]


def test_ranking(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nlp = spacy.blank("xx")
    nlp.vocab.vectors = Vectors(shape=(20, 3))
    words = ["ann", "bo", "cy", "dee", "rome", "oslo", "york", "ida", "jo", "bonn", "paris"]
    for number, word in enumerate(words):
        nlp.vocab.set_vector(word, [number, number % 3, 1.0])
    nlp.to_disk(tmp_path / "vectors")
    maps = tmp_path / "maps"
    assert run(*files, "--vectors", tmp_path / "vectors", "--maps", maps) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"target: {files[0]}, 20 sentences, ")
    assert [line.split("|")[1].strip() for line in lines[4:6]] == ["target-1", "source-0"]
    assert all(line.split("|")[9].strip() != "-" for line in lines[4:6])  # the MMD
    assert any(line.startswith("agreement: source-0 last, as it needs") for line in lines)
    assert any("person = PER?" in line for line in lines)
    assert lines[-2:] == [
        f"suggested labels, to be edited: {maps / name}.tsv" for name in ("source-0", "target-1")
    ]
    assert read_label_map(maps / "source-0.tsv") == LABEL_MAP


def test_limit_and_layer(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--layer", "tag", "--limit", "10", "--seed", "3"]
    assert run(*files, *options) == 0
    first = capsys.readouterr().out
    assert "10 sentences" in first
    assert "layer tag" in first
    assert run(*files, *options) == 0
    assert capsys.readouterr().out == first
    assert run(*files, *options[:-1], "4") == 0
    assert capsys.readouterr().out != first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{target}", "{target}"], "is the target itself, expected other corpora as sources"),
        (["{target}", "{source}", "{source}"], "source-0.spacy: expected each source once"),
        (["{target}", "nowhere.conll"], "nowhere.conll: cannot be read: No such file"),
        (
            ["{target}", "{source}", "--layer", "spans:x"],
            "expected sentences with spans:x, found none",
        ),
        (
            ["{target}", "{source}", "--layer", "tags"],
            "unknown layer 'tags': expected 'ents', 'tag'",
        ),
        (
            ["{target}", "{source}", "--vectors", "nowhere"],
            "nowhere: expected a pipeline with word",
        ),
    ],
)
def test_one_clear_error(
    files: list[Path],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [argument.format(target=files[0], source=files[1]) for argument in arguments]
    assert run(*paths, "--maps", tmp_path / "maps") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert not (tmp_path / "maps").exists()
