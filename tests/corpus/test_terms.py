from __future__ import annotations

from pathlib import Path

import pytest

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.terms import read_terms, term_key


def test_spellings_of_one_term() -> None:
    spellings = ("Heart-disease", "heart - disease", "HEART-\tdisease")
    assert len({term_key(text) for text in spellings}) == 1
    assert term_key("风湿性 心脏病") == term_key("风湿性心脏病")
    assert term_key("heart disease") != term_key("heart diseases")


def test_terms_and_synonyms(tmp_path: Path) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text("# a comment\nHeart  disease\tcardiac disease\t\n\n gout \n", encoding="utf-8")
    assert read_terms(path) == {
        "Heart disease": ["heartdisease", "cardiacdisease"],
        "gout": ["gout"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, ": no such file: expected terms, one a line"),
        ("\n# gout\n", ": expected terms, one a line, found none"),
        ("gout\n\nhay fever\tGout\n", ":3: 'Gout' is already in line 1"),
        ("gout\tGOUT\n", ":1: 'GOUT' is already in line 1"),
    ],
)
def test_bad_files(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "terms.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CorpusError) as error:
        read_terms(path)
    assert str(error.value) == f"{path}{message}"
