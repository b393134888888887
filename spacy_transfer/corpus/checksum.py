"""Is a file the one that was meant?

`spacy project assets` only reports a checksum that does not match, and exits with status 0.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import srsly

from spacy_transfer.corpus.errors import CorpusError


def file_hash(file: Path, algorithm: str) -> str:
    """The hash of a file's content in hexadecimal, read piece by piece."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def verify(file: Path, checksum: str) -> None:
    """Raise CorpusError unless `file` has `checksum`, `sha256:HEX` or `md5:HEX`; ValueError when
    that is neither."""
    name, _, expected = checksum.partition(":")
    if name not in ("sha256", "md5"):
        raise ValueError(f"unknown checksum {checksum!r}: expected sha256:HEX or md5:HEX")
    found = file_hash(file, name)
    if found != expected.lower():
        raise CorpusError(file, None, f"expected {name} {expected.lower()}, found {found}")


def asset_checksum(project: Path, file: Path) -> str | None:
    """What the assets of a `project.yml` say that `file` must have; None if it is not among them.

    Raises CorpusError when `project` is not a project file.
    """
    try:
        values = srsly.read_yaml(project)
        assets = values.get("assets") or []
        for asset in assets:
            if (project.parent / asset["dest"]).resolve() == file.resolve():
                return f"md5:{asset['checksum']}" if asset.get("checksum") else None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CorpusError(project, None, f"expected a spaCy project file: {error}") from error
    return None
