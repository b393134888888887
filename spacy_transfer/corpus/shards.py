"""Reading documents from a `.spacy` file or a folder of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from spacy_transfer.corpus.errors import CorpusError


def shards(path: Path) -> list[Path]:
    """The `.spacy` file `path`, or all those in the folder `path` and below, sorted.

    Raises CorpusError when there is none.
    """
    if path.is_dir():
        inside = (file.relative_to(path) for file in path.rglob("*.spacy") if file.is_file())
        visible = [f for f in inside if not any(part.startswith(".") for part in f.parts)]
        if not visible:
            raise CorpusError(path, None, "expected .spacy files in this folder, found none")
        return [path / file for file in sorted(visible)]
    if not path.exists():
        raise CorpusError(path, None, "no such file or folder: expected a corpus in .spacy format")
    if path.suffix != ".spacy":
        raise CorpusError(
            path, None, "expected a .spacy file; `spacy transfer convert` makes one from others"
        )
    return [path]


def read_shards(path: Path) -> Iterator[DocBin]:
    """A `.spacy` file, or those of a folder one by one.

    Raises CorpusError where there is none, and for a file in another format.
    """
    for shard in shards(path):
        try:
            docs = DocBin().from_disk(shard)
        except (ValueError, KeyError, TypeError) as error:
            message = "expected spaCy's .spacy format; the file is of another or damaged"
            raise CorpusError(shard, None, message) from error
        yield docs


def read_docs(path: Path, vocab: Vocab) -> Iterator[Doc]:
    """The documents of a `.spacy` file or a folder of them, without those that have no token."""
    for docs in read_shards(path):
        yield from (doc for doc in docs.get_docs(vocab) if len(doc))


def read_lengths(path: Path) -> Iterator[int]:
    """The lengths in tokens of what `read_docs` reads, without the cost of making it."""
    for docs in read_shards(path):
        yield from (len(tokens) for tokens in docs.tokens if len(tokens))
