"""Runs that are stopped and resumed: they end as if nothing had happened."""

from __future__ import annotations

import json
import random
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

from spacy_transfer.corpus.saving import save_pipeline
from spacy_transfer.training import loop
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
    if "Alternate" in text:  # no batch has both tasks for the MMD
        text = text.replace("alpha = 0.02", "alpha = 0.0")
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


def test_killed_at_random_moments(
    tmp_path: Path, corpus_files: Callable[..., Path], label_map_file: Path
) -> None:
    paths = {
        "target": corpus_files("target", 20),
        "source": corpus_files("source", 20),
        "dev": corpus_files("target", 10, seed=1),
        "label_map": label_map_file,
    }
    command = [sys.executable, "-m", "spacy_transfer", "train", str(SMALL_CONFIG), "--resume"]
    command += ["--training.max_steps=60", "--training.eval_frequency=2"]
    command += [f"--paths.{name}={path}" for name, path in paths.items()]

    def start(output: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, "--output", output], stdout=subprocess.DEVNULL)

    # In a process like the others: the last bit of a sum depends on where memory lies, too.
    assert start(tmp_path / "whole").wait() == 0
    output = tmp_path / "killed"
    rng = random.Random(0)
    for _ in range(3):
        process = start(output)
        before = stamp(output)
        while process.poll() is None and stamp(output) == before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.wait()
        assert spacy.load(output / "model-best").pipe_names == ["transfer_ner"]
    assert start(output).wait() == 0
    assert results(output) == results(tmp_path / "whole")


def stamp(output: Path) -> int:
    """When the checkpoint was written."""
    path = output / CHECKPOINT
    return path.stat().st_mtime_ns if path.exists() else 0


def test_what_has_ended_stays_as_it_is(train: Train, resumed: Resumed) -> None:
    first = train(SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in first.output.rglob("*")}
    again = resumed(SETTINGS)
    assert again.status == 0
    assert "has ended: nothing is left to do" in again.err
    assert again.out.splitlines() == first.out.splitlines()[-1:]
    assert {path: path.stat().st_mtime_ns for path in first.output.rglob("*")} == before


def test_without_resume_a_run_starts_anew(train: Train, crash: list[int], tmp_path: Path) -> None:
    config = config_with(tmp_path / "crash.cfg")
    whole = train(SETTINGS, config=config, output=tmp_path / "whole")
    crash.append(8)
    assert train(SETTINGS, config=config).status == 1
    again = train(SETTINGS, config=config)
    assert again.status == 0
    assert results(again.output) == results(whole.output)


def test_a_run_can_be_killed_between_its_last_evaluation_and_its_end(
    train: Train, resumed: Resumed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = train(SETTINGS, output=tmp_path / "whole")

    def save(nlp: Language, path: Path) -> None:
        if path.name == "model-last":
            raise OSError("the machine is gone")
        save_pipeline(nlp, path)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "save_pipeline", save)
        assert train(SETTINGS).status == 1
    run = resumed(SETTINGS)
    assert run.status == 0, run.err
    assert results(run.output) == results(whole.output)


def test_other_settings_or_corpora_are_named(
    resumed: Resumed, crash: list[int], tmp_path: Path, corpus_files: Callable[..., Path]
) -> None:
    config = config_with(tmp_path / "crash.cfg")
    crash.append(5)
    first = resumed(SETTINGS, config=config)
    assert first.status == 1
    best = (first.output / "model-best" / "transfer_ner" / "model").read_bytes()
    run = resumed({**SETTINGS, "system.seed": 1, "training.dropout": 0.1}, config=config)
    assert run.status == 1
    assert run.err == (
        f"error: {run.output}: the run there cannot be resumed with other settings: system.seed is "
        "1, was 0; training.dropout is 0.1, was 0.5\n"
    )
    more = corpus_files("target", 21)
    run = resumed({**SETTINGS, "paths.target": more}, config=config)
    assert run.status == 1
    assert run.err.endswith("with other settings: paths.target has other contents\n")
    assert (first.output / "model-best" / "transfer_ner" / "model").read_bytes() == best


def test_a_damaged_checkpoint(resumed: Resumed, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CHECKPOINT).write_bytes(b"x" * 20)
    run = resumed(SETTINGS)
    assert run.status == 1
    assert f"error: {tmp_path / 'out' / CHECKPOINT}: not a checkpoint of a training run" in run.err
