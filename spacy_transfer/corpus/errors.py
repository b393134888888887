"""The error of everything that reads labelled data."""

from __future__ import annotations

from pathlib import Path


class CorpusError(ValueError):
    """Bad input data: names the file, the line (from 1) if there is one, and what was expected."""

    def __init__(self, path: str | Path, line: int | None, message: str) -> None:
        place = f"{path}" if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {message}")
