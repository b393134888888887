"""Saving pipelines so that a crash never leaves half of one."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

from spacy.language import Language


def save_pipeline(nlp: Language, path: Path) -> None:
    """Write a pipeline beside `path`, then put it in the place of what was there.

    A model card is its README.md, which `spacy package` then takes for the package.

    There is a whole pipeline at `path` at every moment where the system can exchange two folders
    (Linux and macOS, on their own file systems); elsewhere `recover` brings back the one that was
    there, if the process is killed between two renames.

    ValueError where something else than a pipeline is there.
    """
    check_replaceable(path)
    recover(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new, _ = _beside(path)
    try:
        nlp.to_disk(new)
        if "spacy_transfer" in nlp.meta:
            card = f"{nlp.meta['description']}\n\n{nlp.meta['notes']}\n"
            (new / "README.md").write_text(card, encoding="utf-8")
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    put_in_place(new, path)


def check_replaceable(path: Path) -> None:
    """ValueError where something is that is no pipeline: to be found before the long work."""
    if path.exists() and not (path / "meta.json").is_file():
        raise ValueError(f"{path}: exists, and is no spaCy pipeline directory to replace")


def put_in_place(new: Path, path: Path) -> None:
    """Let a folder take the place of the one at `path`, if there is one: in one step where the
    system can; else, where the second of two renames fails, the old one comes back."""
    if not path.exists():
        new.replace(path)
    elif _exchange(new, path):
        shutil.rmtree(new, ignore_errors=True)
    else:
        _, old = _beside(path)
        path.replace(old)
        try:
            new.replace(path)
        except (Exception, KeyboardInterrupt):
            old.replace(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def recover(path: Path) -> None:
    """Bring a pipeline back that a killed process had put aside, and remove what it left."""
    new, old = _beside(path)
    if old.exists() and not path.exists():
        old.replace(path)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders swap names at once; False where the system cannot."""
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    try:
        if sys.platform == "linux":
            here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
            return bool(ctypes.CDLL(None).renameat2(here, names[0], here, names[1], swap) == 0)
        if sys.platform == "darwin":
            return bool(ctypes.CDLL(None).renamex_np(*names, 2) == 0)  # RENAME_SWAP
    except AttributeError:  # an old C library
        pass
    return False
