"""Saving pipelines so that a crash never leaves half of one."""

from __future__ import annotations

import shutil
from pathlib import Path

from spacy.language import Language

BEST = "model-best"
LAST = "model-last"


def save_pipeline(nlp: Language, path: Path) -> None:
    """Write a pipeline beside `path`, then put it in the place of what was there.

    A model card is its README.md, which `spacy package` then takes for the package.
    """
    new, old = (path.with_name(f".{path.name}.{suffix}") for suffix in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        nlp.to_disk(new)
        if "spacy_transfer" in nlp.meta:
            card = f"{nlp.meta['description']}\n\n{nlp.meta['notes']}\n"
            (new / "README.md").write_text(card, encoding="utf-8")
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if path.exists():
        path.replace(old)
    new.replace(path)
    shutil.rmtree(old, ignore_errors=True)
