"""The words of text without labels, or whose labels do not matter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from spacy.language import Language
from spacy.vocab import Vocab

from spacy_transfer.corpus.columns import read_columns
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines
from spacy_transfer.corpus.schemes import SchemeDetector
from spacy_transfer.corpus.shards import read_shards

Format = Literal["text", "columns", "spacy"]
_LINES = 10_000  # tokenised at a time
_LABELLED = re.compile(r"\S.*[ \t](O|[BIESLU]-\S+)")


def read_words(path: Path, nlp: Language, format: str | None = None) -> Iterator[list[str]]:
    """The words of each sentence or document of a file, without those that are blank.

    `format` is `text` (UTF-8, plain or .gz, a sentence or document a line, tokenised by `nlp`),
    `columns` (the token in the first) or `spacy` (a file, or a folder of them). Where it is None,
    the ending of `path` tells: a folder or `.spacy`; `.txt` for text; any other means columns.

    Raises ValueError for an unknown format, CorpusError for a file that is not of its format.
    """
    if format is not None and format not in get_args(Format):
        raise ValueError(f"unknown format {format!r}: expected {', '.join(get_args(Format))}")
    format = format or _format_of(path)
    if format == "text":
        sentences = _read_text(path, nlp)
    else:
        sentences = _read_columns(path) if format == "columns" else _read_spacy(path)
    for sentence in sentences:
        words = [word for word in sentence if not word.isspace()]
        if words:
            yield words


def _format_of(path: Path) -> Format:
    if path.is_dir() or path.suffix == ".spacy":
        return "spacy"
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        message = "expected text, columns or .spacy; `spacy transfer convert` reads JSON lines"
        raise CorpusError(path, None, message)
    if not path.name.removesuffix(".gz").endswith(".txt"):
        return "columns"
    first = next(((number, line) for number, line in read_lines(path) if line.strip()), None)
    if first and _LABELLED.fullmatch(first[1]):
        # Column files are often named .txt, and would pass as text without a sign.
        message = f"expected text, found a token and its label: {first[1][:40]!r}"
        raise CorpusError(path, first[0], f"{message}; --format columns or text says which it is")
    return "text"


def _read_text(path: Path, nlp: Language) -> Iterator[list[str]]:
    lines = read_lines(path)
    while batch := list(islice(lines, _LINES)):
        with nlp.memory_zone():  # else the vocabulary keeps every word that it ever met
            tokenised = [[token.text for token in nlp.tokenizer(line)] for _, line in batch]
        yield from tokenised


def _read_columns(path: Path) -> Iterator[list[str]]:
    # In the layer `tag` any label will do.
    for doc in read_columns(path, "tag", SchemeDetector(path), Counter()):
        yield [token.text for token in doc]


def _read_spacy(path: Path) -> Iterator[list[str]]:
    for shard in read_shards(path):
        for doc in shard.get_docs(Vocab()):
            yield [token.text for token in doc]
