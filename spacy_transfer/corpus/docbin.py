"""Writing documents as a `.spacy` file or as a folder of them, all or nothing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spacy.tokens import Doc, DocBin

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.saving import put_in_place

SHARD = 10_000
"""Documents in one file of a folder."""

_ATTRS = {"ents": ["ENT_IOB", "ENT_TYPE"], "tag": ["TAG"]}


@contextmanager
def docbin_writer(output: Path, layer: str) -> Iterator[Callable[[Doc], None]]:
    """Yield a function that adds a document.

    Its tokens and its spans are kept, of tags and entities what `layer` names.

    A name in `.spacy` becomes one file, which is put together in memory; any other a folder of
    `0000.spacy`, `0001.spacy`, ... with SHARD documents each. All is written beside `output` and
    takes its place when the block ends; when the block raises, nothing of it stays and what was
    there before is untouched. Raises CorpusError when `output` cannot be written or replaced.
    """
    output = output.resolve()
    sharded = output.suffix != ".spacy"
    with _clear(output):
        _check_replaceable(output, sharded)
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    missing = [folder for folder in output.parents if not folder.exists()]
    docs, count = DocBin(_ATTRS.get(layer, [])), 0

    def save() -> None:
        nonlocal docs, count
        docs.to_disk(part / f"{count:04d}.spacy" if sharded else part)
        docs, count = DocBin(_ATTRS.get(layer, [])), count + 1

    def add(doc: Doc) -> None:
        docs.add(doc)
        if sharded and len(docs) == SHARD:
            with _clear(output):
                save()

    try:
        # Made before the first document is read: one hears at once where that is impossible.
        with _clear(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            part.mkdir() if sharded else part.touch()
        yield add
        with _clear(output):
            if len(docs) or not sharded:
                save()
            put_in_place(part, output) if output.is_dir() else part.replace(output)
    except BaseException:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            with suppress(OSError):
                part.unlink()
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def _check_replaceable(output: Path, sharded: bool) -> None:
    folder = next(folder for folder in output.parents if folder.exists())
    if not folder.is_dir():
        raise CorpusError(output, None, f"{folder} is a file: expected a folder")
    if not sharded and output.is_dir():
        raise CorpusError(output, None, "is a folder: expected a file, since its name is in .spacy")
    if sharded and output.exists():
        if not output.is_dir():
            raise CorpusError(output, None, "is a file: expected a folder, or a name in .spacy")
        for found in output.iterdir():
            if not re.fullmatch(r"\d{4,}\.spacy", found.name):
                raise CorpusError(
                    output, None, f"holds {found.name}: expected a folder of shards, or a new one"
                )


@contextmanager
def _clear(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CorpusError(output, None, f"cannot be written: {error.strerror}") from error
