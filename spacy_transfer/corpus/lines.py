"""Text files: their lines, plain or gzip, with their numbers; and writing all or nothing."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from spacy_transfer.corpus.errors import CorpusError


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its end; a byte order mark is dropped.

    A name in `.gz` means gzip. Raises CorpusError where the text is not UTF-8, or the gzip file is
    none or breaks off.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise CorpusError(
                        path,
                        number,
                        f"expected UTF-8 text, found byte 0x{raw[error.start]:02x} "
                        f"at byte {error.start + 1} of the line",
                    ) from None
                yield number, line.rstrip("\r\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        if number == 0 and isinstance(error, gzip.BadGzipFile):
            message = "expected a gzip file, as its name ends in .gz; it is not one"
        else:
            message = (
                f"expected a whole gzip file, it is cut off or damaged after this line: {error}"
            )
        raise CorpusError(path, number or None, message) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file, of which a crash leaves all or what was there before."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
