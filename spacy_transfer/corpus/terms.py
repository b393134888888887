"""Terms to look at: a file of them, and when two spellings are one term."""

from __future__ import annotations

from pathlib import Path

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines


def term_key(text: str) -> str:
    """What spellings of a term have in common: all but upper case and white space.

    Text of known tokens and unknown spaces has a space between any two.
    """
    return "".join(text.lower().split())


def read_terms(path: Path) -> dict[str, list[str]]:
    """Read terms, one a line, with their synonyms after it: `term<TAB>synonym<TAB>synonym`.

    Gives the keys of each term and its synonyms. Blank lines and lines that begin with `#` are
    skipped. Raises CorpusError for a file that cannot be read or has no term, and naming the line
    for a spelling that comes twice.
    """
    if not path.is_file():
        raise CorpusError(path, None, "no such file: expected terms, one a line")
    terms: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    for number, line in read_lines(path):
        spellings = [" ".join(field.split()) for field in line.split("\t") if field.strip()]
        if not spellings or line.startswith("#"):
            continue
        terms[spellings[0]] = keys = [term_key(spelling) for spelling in spellings]
        for key, spelling in zip(keys, spellings, strict=True):
            if key in seen:
                raise CorpusError(path, number, f"{spelling!r} is already in line {seen[key]}")
            seen[key] = number
    if not terms:
        raise CorpusError(path, None, "expected terms, one a line, found none")
    return terms
