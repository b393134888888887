"""Experiments from end to end, through the command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import spacy

from spacy_transfer.evaluation.significance import f1
from spacy_transfer.experiments.engines import Engine, finish
from spacy_transfer.experiments.grid import read_grid, runs_of
from spacy_transfer.experiments.results import read_rows
from spacy_transfer.experiments.runner import Experiment
from spacy_transfer.training.resume import Checkpoint
from tests.cli.running import exit_code

experiment = partial(exit_code, "experiment")


def rows(output: Path) -> list[dict[str, Any]]:
    return read_rows([output / "small" / "results.jsonl"])


@pytest.fixture
def two(edit: Callable[[str, str], Path]) -> Path:
    """The experiment file with two runs: each starts a process, and processes start slowly."""
    edit("  - {target: aim, sources: [tags], methods: [La-DTL, joint], rates: [0.5]}\n", "")
    edit("rates: [0.5, 1]", "rates: [0.5]")
    return edit("seeds: [0, 1]", "seeds: [0]")


def stamps(output: Path) -> dict[str, int]:
    """When the result of each run was written."""
    found = (output / "runs").glob("*/result.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in found}


def test_an_experiment_from_files_to_a_table(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert experiment(two, "--output", output, "--jobs", 2) == 0
    assert f"results: {output / 'small' / 'results.jsonl'}" in capsys.readouterr().out
    table = rows(output)
    assert [(row["method"], row["sources"]) for row in table] == [
        ("none", []),
        ("La-DTL", ["other"]),
    ]
    ladtl = table[1]
    assert (ladtl["target"], ladtl["rate"], ladtl["seed"]) == ("aim", 0.5, 0)
    assert (ladtl["score"], ladtl["published"]) == ("ents_f", 45.5)
    assert (ladtl["steps"], ladtl["best_step"] in (2, 4, 6)) == (6, True)
    assert set(ladtl["losses"]) >= {"transfer_ner_crf_target", "transfer_ner_mmd_other"}
    tokens = {task: count for task, count in ladtl["tokens"].items() if task != "target"}
    lines = two.with_name("other.iob").read_text().split("\n")
    assert tokens == {"other": sum(bool(line) for line in lines)}
    assert ladtl["test_score"] == ladtl["test_scores"]["ents_f"]
    steps, seconds, scores = zip(*ladtl["history"], strict=True)
    assert steps == (2, 4, 6)
    assert 0 <= seconds[0] <= seconds[1] <= seconds[2] <= ladtl["train_seconds"]
    assert (max(scores), steps[scores.index(max(scores))]) == (
        ladtl["dev_score"],
        ladtl["best_step"],
    )
    counts = ladtl["test_counts"]
    assert counts.shape == (8, 3)
    assert f1(counts.sum(0)) == pytest.approx(ladtl["test_score"] or 0)
    assert 0 <= ladtl["dev_score"] <= 1
    assert not list((output / "runs").glob("*/model-*"))

    results = output / "small" / "results.jsonl"
    before, written = stamps(output), results.read_text()
    assert experiment(two, "--output", output) == 0
    assert stamps(output) == before
    assert results.read_text() == written

    # A run by hand, from the config that is kept, reaches the same score.
    folder = output / "runs" / ladtl["key"]
    again = tmp_path / "again"
    assert exit_code("train", folder / "config.cfg", "--output", again) == 0
    log = (again / "log.jsonl").read_text().splitlines()
    best = max(json.loads(line)["score"] for line in log)
    assert best == pytest.approx(ladtl["dev_score"], abs=1e-6)


@pytest.mark.usefixtures("in_this_process")
def test_the_same_models_on_more_test_corpora(
    two: Path, edit: Callable[[str, str], Path], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    edit("test: aim.test.iob", "test: aim.test.iob, more_tests: {later: aim.train.iob}")
    edit("methods: [none], rates: [0.5], published: {none: 40}", "methods: [none], rates: [0.5]")
    edit(
        "  - {target: aim, sources: other, methods: [La-DTL], rates: [0.5], label_map: map.tsv,\n",
        "",
    )
    edit("     published: {La-DTL: 45.5}}\n", "")
    assert experiment(two, "--output", output) == 0
    test, later = rows(output)
    assert (test["target"], later["target"]) == ("aim", "later")
    assert test["key"] == later["key"]
    assert test["dev_score"] == later["dev_score"]
    assert [len(row["test_counts"]) for row in (test, later)] == [8, 20]
    assert later["test_score"] == later["test_scores"]["ents_f"]


@pytest.mark.usefixtures("in_this_process")
def test_a_source_is_learned_once_and_before_its_targets(
    retraining_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert experiment(retraining_file, "--output", output) == 0
    assert capsys.readouterr().err.count("Started from") == 2
    table = read_rows([output / "retraining" / "results.jsonl"])
    assert [(row["method"], row["rate"]) for row in table] == [
        ("re-training", 0.5),
        ("re-training", 0.1),
    ]
    before = stamps(output)
    [of_source] = before.keys() - {row["key"] for row in table}
    for row in table:
        config = (output / "runs" / row["key"] / "config.cfg").read_text(encoding="utf-8")
        assert str(output / "runs" / of_source / "model-best") in config
    assert experiment(retraining_file, "--output", output) == 0
    assert stamps(output) == before

    # What the targets start from is needed only where one of them is.
    shutil.rmtree(output / "runs" / of_source / "model-best")
    assert experiment(retraining_file, "--output", output) == 0
    assert stamps(output) == before
    shutil.rmtree(output / "runs" / table[0]["key"])
    (output / "retraining" / "results.jsonl").unlink()
    assert experiment(retraining_file, "--output", output) == 0
    again = stamps(output)
    assert again[table[1]["key"]] == before[table[1]["key"]]
    assert again[of_source] > before[of_source]
    [first, _] = read_rows([output / "retraining" / "results.jsonl"])
    assert first["test_score"] == pytest.approx(table[0]["test_score"])


@pytest.mark.usefixtures("in_this_process")
def test_the_table_of_another_machine_is_gone_on_with(
    two: Path, edit: Callable[[str, str], Path], tmp_path: Path
) -> None:
    edit("test: aim.test.iob", "test: aim.test.iob, more_tests: {later: aim.train.iob}")
    there, here = (tmp_path / name / "small" / "results.jsonl" for name in ("there", "here"))
    assert experiment(two, "--output", tmp_path / "there") == 0
    whole = there.read_text().splitlines()
    assert len(whole) == 4
    here.parent.mkdir(parents=True)
    # Of the second run, the row of the first test corpus was lost.
    here.write_text("\n".join([*whole[:2], whole[3]]) + "\n")
    assert experiment(two, "--output", tmp_path / "here") == 0
    assert stamps(tmp_path / "here").keys() == {json.loads(whole[2])["key"]}
    again = here.read_text().splitlines()
    assert again[:2] == whole[:2]
    for line, expected in zip(again[2:], whole[2:], strict=True):
        before, after = json.loads(expected), json.loads(line)
        assert after["test_score"] == pytest.approx(before["test_score"])
        assert after.keys() == before.keys()

    # Models are not in a table.
    assert experiment(two, "--output", tmp_path / "here", "--keep-models") == 0
    assert len(list((tmp_path / "here" / "runs").glob("*/model-best"))) == 2


@pytest.mark.usefixtures("in_this_process")
def test_results_of_a_run_that_is_no_more_are_put_aside(
    two: Path, edit: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, here = (tmp_path / name / "small" / "results.jsonl" for name in ("there", "here"))
    assert experiment(two, "--output", tmp_path / "there") == 0
    whole = there.read_text()
    here.parent.mkdir(parents=True)
    here.write_text(whole)
    capsys.readouterr()
    grid = two.read_text()
    edit("  - {target: aim, methods: [none], rates: [0.5], published: {none: 40}}\n", "")
    for moved in True, False:
        assert experiment(two, "--output", tmp_path / "here") == 0
        assert [row["method"] for row in rows(tmp_path / "here")] == ["La-DTL"]
        assert ("1 results in" in capsys.readouterr().out) == moved
    two.write_text(grid)
    assert experiment(two, "--output", tmp_path / "here") == 0
    assert here.read_text() == whole
    assert stamps(tmp_path / "here") == {}


def test_a_damaged_table_is_left_as_it_is(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "out" / "small" / "results.jsonl"
    table.parent.mkdir(parents=True)
    table.write_text('{"key": "0"}\n')
    assert experiment(two, "--output", tmp_path / "out") == 1
    assert f"{table}:1: expected a result of `spacy transfer exp" in capsys.readouterr().err
    assert table.read_text() == '{"key": "0"}\n'


@pytest.mark.usefixtures("in_this_process")
def test_models_that_are_asked_for_later_are_made_again(
    two: Path, edit: Callable[[str, str], Path], tmp_path: Path
) -> None:
    edit("  - {target: aim, methods: [none], rates: [0.5], published: {none: 40}}\n", "")
    output = tmp_path / "out"
    assert experiment(two, "--output", output) == 0
    [before] = rows(output)
    assert experiment(two, "--output", output, "--keep-models") == 0
    model = output / "runs" / before["key"] / "model-best"
    assert spacy.load(model).pipe_names == ["transfer_ner"]
    [after], written = rows(output), stamps(output)
    assert after["test_score"] == before["test_score"]
    for options in ([], ["--keep-models"]):
        assert experiment(two, "--output", output, *options) == 0
        assert stamps(output) == written
    assert model.exists()


def test_a_run_that_fails_leaves_the_others_alone(
    two: Path,
    edit: Callable[[str, str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit("rates: [0.5], pub", "rates: [0.5], settings: {training.batcher.batch_size: 0}, pub")
    assert experiment(two, "--output", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "1 runs failed\nnone: aim/0.5, seed 0: " in error
    assert "batch sizes must be at least 1; found 0" in error
    assert [row["method"] for row in rows(tmp_path / "out")] == ["La-DTL"]


def test_a_bad_corpus_stops_everything_before_it_begins(
    grid_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid_file.with_name("aim.dev.iob").write_text("Ann\tB-person\nBo\tX-person\n\n")
    assert experiment(grid_file, "--output", tmp_path / "out") == 1
    assert "aim.dev.iob:2: " in capsys.readouterr().err
    assert not stamps(tmp_path / "out")


def test_a_test_corpus_without_the_layer_stops_everything_before_it_begins(
    edit: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edit("aim.test.iob", "tags.spacy")
    assert exit_code("convert", tmp_path / "tags.tsv", tmp_path / "tags.spacy", "--layer=tag") == 0
    assert experiment(path, "--output", tmp_path / "out") == 1
    assert "tags.spacy: none of its documents is annotated in layer 'ents'" in (
        capsys.readouterr().err
    )
    assert not stamps(tmp_path / "out")


def test_one_command_at_a_time_in_a_folder(
    grid_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert experiment(grid_file, "--output", tmp_path / "out") == 1
    assert "out: another experiment is at work here" in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.usefixtures("in_this_process")
def test_chunks_under_another_key_are_chosen_by_their_own_score(
    two: Path, edit: Callable[[str, str], Path], tmp_path: Path
) -> None:
    edit("test: aim.test.iob, ", 'test: aim.test.iob, layer: "spans:sc", ')
    edit("training.max_steps: 6", "training.max_steps: 40")
    lines = [line for line in two.read_text().split("\n") if "La-DTL" not in line or "cfg" in line]
    two.write_text("\n".join(lines))
    assert experiment(two, "--output", tmp_path / "out") == 0
    [row] = rows(tmp_path / "out")
    assert row["score"] == "spans_sc_f"
    assert row["dev_score"] > 0


def test_killed_and_started_again_it_loses_nothing_and_repeats_nothing(
    two: Path, edit: Callable[[str, str], Path], tmp_path: Path
) -> None:
    path, output = edit("seeds: [0]", "seeds: [0, 1]"), tmp_path / "out"
    command = [sys.executable, "-m", "spacy_transfer", "experiment", str(path)]
    command += ["--output", str(output), "--jobs", "2"]
    done: dict[str, int] = {}
    for finished in (0, 1, 3):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline:
                started = list((output / "runs").glob("*/log.txt"))
                if len(stamps(output)) >= finished and len(started) > finished:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        now = stamps(output)
        assert len(now) >= finished
        assert done.items() <= now.items()
        done = now
        # A table that was being written is whole.
        lines = (output / "small" / "results.jsonl").read_text().splitlines()
        assert {json.loads(line)["key"] for line in lines} <= set(now)
    assert experiment(path, "--output", output) == 0
    now = stamps(output)
    assert done.items() <= now.items()
    assert len(rows(output)) == len(now) == 4


def test_a_killed_run_goes_on_from_its_last_evaluation(
    two: Path,
    edit: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_this_process: Engine,
) -> None:
    edit("  - {target: aim, methods: [none], rates: [0.5], published: {none: 40}}\n", "")
    assert experiment(two, "--output", tmp_path / "expected") == 0
    [expected] = rows(tmp_path / "expected")

    runs = list(runs_of(read_grid(two), two.parent, two.parent))
    plan = Experiment("small", runs, tmp_path / "out")
    write, written = Checkpoint.write, []

    def write_and_die(run: Checkpoint, folder: Path) -> None:
        write(run, folder)
        written.append((run.progress.step, run.finished))
        if written[-1] in ((4, False), (6, True)):
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", write_and_die)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            plan.run(in_this_process)
    assert not stamps(tmp_path / "out")
    assert plan.run(in_this_process) == []
    assert written == [(2, False), (4, False), (6, False), (6, True)]
    [row] = rows(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.safetensors"))
    for name in ("key", "dev_score", "test_score", "losses", "steps", "best_step"):
        assert row[name] == expected[name]
    assert [step for step, _, _ in row["history"]] == [2, 4, 6]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Ray needs a Unix here")
def test_ray_does_the_same_runs(two: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "spacy_transfer", "experiment", str(two), "--output"]
    subprocess.run([*command, "out", "--engine", "ray"], check=True, cwd=tmp_path)
    assert experiment(two, "--output", tmp_path / "local") == 0
    local, cluster = rows(tmp_path / "local"), rows(tmp_path / "out")
    assert len(local) == 2
    for one, other in zip(local, cluster, strict=True):
        for name in ("key", "method", "best_step"):
            assert one[name] == other[name]
        # Where memory lies decides the last bit of a product of matrices.
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-5)
        assert one["dev_score"] == pytest.approx(other["dev_score"])


def test_runs_that_a_report_could_not_tell_apart_are_not_begun(
    two: Path,
    edit: Callable[[str, str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "  - {target: aim, methods: [none], rates: [0.5], published: {none: 40}}\n"
    edit(
        line,
        line
        + "  - {target: aim, methods: [none], rates: [0.5], settings: {training.dropout: 0.25}}\n",
    )
    assert experiment(two, "--output", tmp_path / "out") == 1
    message = "two runs of method 'none' on aim/0.5, seed 0, differ in settings or files"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


def test_a_run_that_is_killed_says_so(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        process.kill()
        finish(tmp_path, process)
    assert (tmp_path / "log.txt").read_text() == "\nended by signal 9 (Killed)\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "slurm"], "--engine must be local or ray; found 'slurm'"),
        (["--engine", "ray", "--jobs", "2"], "--jobs is for --engine local"),
        (["--jobs", "0"], "--jobs and --threads must be at least 1"),
    ],
)
def test_wrong_options(
    grid_file: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert experiment(grid_file, *options) == 1
    assert message in capsys.readouterr().err
