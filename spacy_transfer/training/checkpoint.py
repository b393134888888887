"""Saving pipelines so that a crash never leaves half of one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from spacy.language import Language

BEST = "model-best"
LAST = "model-last"


def save_pipeline(nlp: Language, path: Path) -> None:
    """Write a pipeline beside `path`, then put it in the place of what was there."""
    new, old = (path.with_name(f".{path.name}.{suffix}") for suffix in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    nlp.to_disk(new)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)
