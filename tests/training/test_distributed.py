"""Training with several processes: the same as with one on the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch

SMALL_CONFIG = Path(__file__).parents[1] / "small.cfg"
ENCODER = "components.transfer_ner.model.encoder"


def launch(
    processes: int, output: Path, settings: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command = [sys.executable, "-m", *(launcher if processes > 1 else []), "spacy_transfer"]
    options = [f"--{name}={value}" for name, value in settings.items()]
    return subprocess.run(
        [*command, "train", str(SMALL_CONFIG), "--output", str(output), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def settings(corpus_files: Callable[..., Path], label_map_file: Path) -> dict[str, Any]:
    """Everything random is off, so that the processes together do what one does alone."""
    return {
        "paths.target": corpus_files("target", 20),
        "paths.source": corpus_files("source", 20),
        "paths.dev": corpus_files("target", 10, seed=1),
        "paths.label_map": label_map_file,
        f"{ENCODER}.word_dropout": 0.0,
        "training.dropout": 0.0,
        "training.batcher.target_size": 5,
        "training.batcher.source_size": 3,
        "components.transfer_ner.model.objective.alpha": 1.0,
    }


def weights(output: Path) -> dict[str, Any]:
    pipe = spacy.load(output / "model-last").get_pipe("transfer_ner")
    return pipe.model.shims[0].network.state_dict()


def test_two_processes_learn_what_one_does(settings: dict[str, Any], tmp_path: Path) -> None:
    runs = {n: launch(n, tmp_path / str(n), settings) for n in (1, 2)}
    for run in runs.values():
        assert run.returncode == 0, run.stderr
        assert run.stdout.count("best dev score") == 1
    one, two = (weights(tmp_path / str(n)) for n in (1, 2))
    assert one.keys() == two.keys()
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-4, atol=1e-5)
    logs = [
        [json.loads(line) for line in (tmp_path / n / "log.jsonl").read_text().splitlines()]
        for n in "12"
    ]
    for alone, together in zip(*logs, strict=True):
        assert together["losses"] == pytest.approx(alone["losses"], rel=1e-4)
        assert together["score"] == pytest.approx(alone["score"])


def test_a_batch_too_small_for_the_processes(settings: dict[str, Any], tmp_path: Path) -> None:
    run = launch(2, tmp_path / "out", {**settings, "training.batcher.source_size": 1})
    assert run.returncode == 1
    assert "1 annotated sentences of task 'source' in a batch are too few for 2 proc" in run.stderr
    assert not (tmp_path / "out" / "model-best").exists()
