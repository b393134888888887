from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin

from spacy_transfer.corpus import unlabelled
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.unlabelled import read_words

NLP = spacy.blank("en")


def test_text_is_tokenised_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled, "_LINES", 2)
    (tmp_path / "a.txt").write_text("Pt can't walk.\n\n  \nBP 120/80,  stable\nO\n")
    known = len(NLP.vocab.strings)
    assert list(read_words(tmp_path / "a.txt", NLP)) == [
        ["Pt", "ca", "n't", "walk", "."],
        ["BP", "120/80", ",", "stable"],
        ["O"],
    ]
    assert len(NLP.vocab.strings) == known


def test_chinese_text_is_read_by_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("我去了Rome 3天。".encode()))
    assert list(read_words(path, spacy.blank("zh"))) == [list("我去了Rome3天。")]


def test_labels_of_column_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.iob").write_text("Rome\tNNP\tB-X\nis\tVBZ\tE-wrong\n\nfar\tJJ\t?\n")
    assert list(read_words(tmp_path / "a.iob", NLP)) == [["Rome", "is"], ["far"]]


def test_spacy_corpora_are_read_with_their_tokens(tmp_path: Path) -> None:
    doc = Doc(NLP.vocab, words=["can't", "\n", "walk"])
    for name in "ab":
        DocBin(docs=[doc, Doc(NLP.vocab)]).to_disk(tmp_path / f"{name}.spacy")
    assert list(read_words(tmp_path / "a.spacy", NLP)) == [["can't", "walk"]]
    assert list(read_words(tmp_path, NLP)) == [["can't", "walk"]] * 2


@pytest.mark.parametrize("line", ["EU NNP B-NP S-ORG", "-DOCSTART- -X- -X- O", "in\tO"])
def test_a_column_file_does_not_pass_as_text(tmp_path: Path, line: str) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        list(read_words(path, NLP))
    assert str(caught.value).startswith(f"{path}:2: expected text, found a token and its label")
    assert list(read_words(path, NLP, "columns")) == ([] if line[0] == "-" else [[line.split()[0]]])
    assert len(list(read_words(path, NLP, "text"))) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"one\n\xff\n", ":2: expected UTF-8 text"),
        ("a.iob", b"one O\ntwo\n", ":2: expected 2 columns"),
        ("a.spacy", b"one", ": expected spaCy's .spacy format"),
        ("a.jsonl.gz", b"{}", ": expected text, columns or .spacy"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        list(read_words(tmp_path / name, NLP))
    assert str(caught.value).startswith(f"{tmp_path / name}{message}")


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format 'csv': expected text, columns, spacy"):
        list(read_words(tmp_path / "a.txt", NLP, "csv"))
