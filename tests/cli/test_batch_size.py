from __future__ import annotations

from functools import partial

import pytest

from spacy_transfer.training import batch_size
from spacy_transfer.training.batch_size import Trial
from tests.cli.running import exit_code
from tests.conftest import SMALL_CONFIG

run = partial(exit_code, "batch-size")


def test_prints_every_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []
    trials = [Trial(1, 500.2, 2**29), Trial(2, 1234.6, 2**30), Trial(4, None, 2**31)]

    def try_batch_sizes(config: dict[str, dict[str, object]], use_gpu: int) -> list[Trial]:
        given.append((config["paths"]["target"], use_gpu))
        return trials

    monkeypatch.setattr(batch_size, "try_batch_sizes", try_batch_sizes)
    assert run(SMALL_CONFIG, "--gpu-id", 1, "--paths.target", "x.spacy") == 0
    assert given == [("x.spacy", 1)]
    assert capsys.readouterr().out.splitlines() == [
        "1 sentences: 500 tokens/s, 0.50 GiB",
        "2 sentences: 1,235 tokens/s, 1.00 GiB",
        "4 sentences: out of memory",
        "the largest that fits: 2 sentences",
    ]


def test_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(SMALL_CONFIG, "--gpu-id", 63) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no GPU 63: torch ")
    assert error.count("\n") == 1
