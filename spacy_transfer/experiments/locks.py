"""One command at a time in an output folder, and none while the runs of a killed one are ending."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

PATIENCE = 10.0
"""Seconds within which a run whose command was killed has ended."""


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """Be the one command at work in a folder of runs while the body is executed.

    Raises ValueError where another command is at work, or a run of a killed one does not end.
    """
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        if not _taken(lock.fileno(), shared=False):
            raise ValueError(f"{output}: another experiment is at work here")
        with _lock_of_runs(output).open("w") as runs:
            deadline = time.monotonic() + PATIENCE
            while not _taken(runs.fileno(), shared=False):
                if time.monotonic() > deadline:
                    raise ValueError(f"{output}: a run of a killed experiment is still at work")
                time.sleep(0.05)
        yield


@contextmanager
def one_of_many(output: Path) -> Iterator[None]:
    """Be a run at work in a folder of runs while the body is executed."""
    with _lock_of_runs(output).open("w") as runs:
        if not _taken(runs.fileno(), shared=True):
            raise ValueError(f"{output}: another experiment began before this run")
        yield


def _lock_of_runs(output: Path) -> Path:
    return output / ".runs.lock"


def _taken(file: int, *, shared: bool) -> bool:
    """Whether the lock of an open file, which goes when that is closed, could be had."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
