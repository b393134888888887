"""Runs that are stopped and resumed: they end as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.util import registry

from spacy_transfer.training.resume import CHECKPOINT
from tests.conftest import SMALL_CONFIG, Run, Train

CRASH = "spacy_transfer.tests.Crash.v1"
SETTINGS = {"training.max_steps": 12, "training.eval_frequency": 3}
ADAM = """[training.optimizer]
@optimizers = "Adam.v1"
use_averages = true

[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
initial_rate = 0.05
warmup_steps = 5
total_steps = 20

"""
ALTERNATE = """[training.batcher]
@batchers = "spacy_transfer.Alternate.v1"
batch_size = 4
window = 3

"""


def log(output: Path) -> list[dict[str, Any]]:
    lines = (output / "log.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    for line in found:
        del line["seconds"], line["scores"]["speed"]
    return found


def results(output: Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """What must be equal: the log without times, and the files of both pipelines."""
    models = [output / name for name in ("model-best", "model-last")]
    files = ("transfer_ner/model", "transfer_ner/cfg", "meta.json", "config.cfg")
    return log(output), [(model / file).read_bytes() for model in models for file in files]


@pytest.fixture
def crash() -> list[int]:
    """Steps before which a run breaks down, each once."""
    steps: list[int] = []

    def before_update(nlp: Language, info: dict[str, int]) -> None:
        if info["step"] in steps:
            steps.remove(info["step"])
            raise OSError("the machine is gone")

    registry.callbacks.register(CRASH, func=lambda: before_update)
    return steps


def config_with(path: Path, **sections: str) -> Path:
    """The small config with the callback, and with other sections of `[training]`."""
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    for name, section in sections.items():
        start = text.index(f"[training.{name}]")
        end = text.index("[training.", start + 1)
        text = text[:start] + section + text[end:]
    callback = f'[training.before_update]\n@callbacks = "{CRASH}"\n\n'
    place = text.index("[training.batcher]")
    path.write_text(text[:place] + callback + text[place:], encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "sections", [{}, {"optimizer": ADAM}, {"batcher": ALTERNATE}], ids=["adagrad", "adam", "window"]
)
def test_a_resumed_run_has_the_result_of_one_that_never_stopped(
    resumed: Resumed, train: Train, crash: list[int], tmp_path: Path, sections: dict[str, str]
) -> None:
    config = config_with(tmp_path / "crash.cfg", **sections)
    whole = train(SETTINGS, config=config, output=tmp_path / "whole")
    assert whole.status == 0, whole.err
    crash += [2, 5, 6, 11]
    runs = [resumed(SETTINGS, config=config) for _ in range(5)]
    assert [run.status for run in runs] == [1, 1, 1, 1, 0], runs[-1].err
    assert crash == []
    assert "no run to resume: this one starts from the beginning" in runs[0].err
    for run, step in zip(runs[2:], (3, 3, 9), strict=True):
        assert f"going on from step {step}" in run.err
    assert results(runs[-1].output) == results(whole.output)
    assert runs[-1].out.splitlines()[-1].split(": ")[0] == whole.out.splitlines()[-1].split(": ")[0]


Resumed = Callable[..., Run]


@pytest.fixture
def resumed(train: Train) -> Resumed:
    """As `train`, with --resume."""

    def run(settings: dict[str, object], **given: Any) -> Run:
        return train(settings, arguments=["--resume"], **given)

    return run
