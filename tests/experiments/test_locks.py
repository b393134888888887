"""A command that was killed leaves runs behind for a moment: nobody works in their folders then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spacy_transfer.experiments import locks
from spacy_transfer.experiments.engines import LOG, start
from spacy_transfer.experiments.worker import RUN

pytest.importorskip("fcntl")


def test_a_command_waits_for_the_end_of_a_run_whose_command_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "key"
    folder.mkdir(parents=True)
    os.mkfifo(folder / RUN)
    with start(folder, threads=1) as process:
        assert process.stdin
        writer = os.open(folder / RUN, os.O_WRONLY)  # goes on when the run reads its settings
        with monkeypatch.context() as patch:
            patch.setattr(locks, "PATIENCE", 0)
            message = "a run of a killed experiment is still at work"
            with pytest.raises(ValueError, match=message), locks.alone(tmp_path):
                pass
        process.stdin.close()  # as the end of the command does
        with locks.alone(tmp_path):
            assert process.wait() == 1
        os.close(writer)
    assert (folder / LOG).read_text() == ""


def test_a_run_does_not_begin_under_another_command(tmp_path: Path) -> None:
    with (tmp_path / ".runs.lock").open("w") as lock:
        locks.fcntl.flock(lock, locks.fcntl.LOCK_EX)
        message = "another experiment began before this run"
        with pytest.raises(ValueError, match=message), locks.one_of_many(tmp_path):
            pass
