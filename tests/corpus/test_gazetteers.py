from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import spacy

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gazetteers import read_phrases


def test_phrases_in_words_and_as_the_tokenizer_has_them(tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress(b"New  York\r\n\nCoca-Cola Co.\n#1\n"))
    plain = [["New", "York"], ["Coca-Cola", "Co."], ["#1"]]
    assert list(read_phrases(path, None)) == plain
    split = ["Coca", "-", "Cola", "Co."]
    english = list(read_phrases(path, spacy.blank("en").make_doc))
    assert english == [*plain[:2], split, plain[2], ["#", "1"]]


def test_bad_files(tmp_path: Path) -> None:
    missing, empty, latin = (tmp_path / name for name in ("missing", "empty", "latin"))
    empty.write_text("\n \n")
    latin.write_bytes("ok\nM\xfcnchen\n".encode("latin-1"))
    for path, message in (
        (missing, f"{missing}: no such file"),
        (empty, f"{empty}: expected phrases, one a line, found none"),
        (latin, f"{latin}:2: expected UTF-8 text"),
    ):
        with pytest.raises(CorpusError) as error:
            list(read_phrases(path, None))
        assert str(error.value).startswith(message)
