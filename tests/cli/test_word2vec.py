from __future__ import annotations

from pathlib import Path

import pytest
import spacy

from tests.cli.running import exit_code


def test_makes_vectors_as_the_tagger_looks_words_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("我去了A10路。\n我去了a20路。\n")
    output = tmp_path / "vectors"
    options = ["--lang", "zh", "--dimensions", "8", "--min-count", "2", "--epochs", "2"]
    assert exit_code("word2vec", tmp_path / "a.txt", output, *options) == 0
    assert capsys.readouterr().out == (
        f"{output}: 7 words, 8 dimensions, from 2 sentences of 16 tokens\n"
    )
    nlp = spacy.load(output)
    assert nlp.lang == "zh"
    assert {nlp.vocab.strings[key] for key in nlp.vocab.vectors} == set("我去了a0路。")


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("one two\n")
    (tmp_path / "b.txt").write_text("EU B-ORG\nleaves O\n")
    assert exit_code("word2vec", tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"error: {tmp_path / 'b.txt'}:1: expected text, found a token")
    (tmp_path / "a.txt").write_text("")
    assert exit_code("word2vec", tmp_path / "a.txt", tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'a.txt'}: no word comes 5 times (min_count) in 0 tokens\n"
    )
    assert not (tmp_path / "out").exists()
