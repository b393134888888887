"""Gazetteers: word lists, one phrase a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from spacy.tokens import Doc

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines


def read_phrases(path: Path, make_doc: Callable[[str], Doc] | None) -> Iterator[list[str]]:
    """The phrases of a list, plain or .gz, as words.

    Each is split at white space, and by the tokenizer `make_doc` where that gives other words, so
    that it is found in text of either kind. Blank lines are skipped. Raises CorpusError for a file
    that cannot be read or has no phrase.
    """
    if not path.is_file():
        raise CorpusError(path, None, "no such file: expected a list of phrases, one a line")
    count = 0
    for _, line in read_lines(path):
        words = line.split()
        if not words:
            continue
        count += 1
        yield words
        tokens = [token.text for token in make_doc(" ".join(words))] if make_doc else words
        if tokens != words:
            yield tokens
    if not count:
        raise CorpusError(path, None, "expected phrases, one a line, found none")
