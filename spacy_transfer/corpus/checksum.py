"""Is a file the one that was meant, or the one that it was?

`spacy project assets` only reports a checksum that does not match, and exits with status 0.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import srsly
from spacy.util import is_package

from spacy_transfer.corpus.errors import CorpusError


def file_hash(file: Path, algorithm: str) -> str:
    """The hash of a file's content in hexadecimal, read piece by piece."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def digest(path: Path) -> str:
    """A hash of a file or of all files in a folder; of neither, the name."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # none, or too long for a name, as prose may be
        return str(path)
    if S_ISDIR(found.st_mode):
        files = sorted(file for file in path.rglob("*") if file.is_file())
        parts = [f"{file.relative_to(path)} {digest(file)}" for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    if not S_ISREG(found.st_mode):
        return str(path)
    return _digest_of_file(path, found.st_mtime_ns, found.st_size)


@cache
def _digest_of_file(path: Path, _changed: int, _size: int) -> str:
    return file_hash(path, "sha256")


def contents(value: Any) -> Any:
    """A config's values, with hashes in the place of files and versions beside packages."""
    if isinstance(value, dict):
        return {name: contents(v) for name, v in value.items()}
    if isinstance(value, list):
        return [contents(v) for v in value]
    if not isinstance(value, str):
        return value
    path, *rest = value.split("\n")
    # Names of settings, such as `gru`, may be those of files here, but are none.
    if "/" in path or os.sep in path or Path(path).suffix:
        return [digest(Path(path)), *rest]
    if is_package(path):
        return [path, version(path.replace("_", "-"))]
    return value


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
