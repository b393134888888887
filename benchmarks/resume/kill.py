"""Is a run that is killed and resumed the run that it would have been?

    python benchmarks/resume/kill.py [--kills 30] [--seed 0]

Trains a small La-DTL on the embedded sample without a stop, and again with so many kills (SIGKILL)
at random moments, each followed by `--resume`. After each kill the pipelines that were there must
load and tag. In the end their parameters must be the same to the last bit, and so must all that the
log says but the time. Prints what each kill met; exits with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import spacy

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "assets" / "clinical"
TEXT = "Pt with COPD exacerbation , started on prednisone 40 mg daily ."
ENCODER = "components.transfer_ner.model.encoder"
SETTINGS = {
    "nlp.lang": "xx",
    f"{ENCODER}.char_hidden": 10,
    f"{ENCODER}.word_hidden": 30,
    f"{ENCODER}.word_layers": 1,
    "training.max_steps": 300,
    "training.eval_frequency": 4,
    "training.patience": 0,
    "training.optimizer.learn_rate": 0.05,
}
MODELS = ("model-best", "model-last")


def main() -> int:
    """Run the test; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        corpora = convert(Path(folder))
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        started = time.monotonic()
        finish(corpora, whole)
        print(f"without a stop: {time.monotonic() - started:.0f} s", flush=True)
        rounds, number = 0, 0
        while number < arguments.kills:
            there = [name for name in MODELS if (killed / name).exists()]
            if not kill(corpora, killed, rng):  # it ended before: once more from the beginning
                compare(whole, killed)
                shutil.rmtree(killed)
                rounds += 1
                continue
            number += 1
            print(f"kill {number}: {met(killed, there)}", flush=True)
        finish(corpora, killed)
        compare(whole, killed)
    runs = f"{rounds + 1} runs" if rounds else "one run"
    print(f"{number} kills in {runs}: always a pipeline that loads, always the same end")
    return 0


def convert(folder: Path) -> dict[str, Path]:
    """The corpora that a config names."""
    corpora = {}
    files = {"source": "cardiology/train", "target": "respiratory/train", "dev": "respiratory/dev"}
    for name, file in files.items():
        corpora[name] = folder / f"{name}.spacy"
        source, limit = SAMPLE / f"{file}.iob.gz", "0.1" if name != "dev" else "0.2"
        run("convert", source, folder / "all.spacy", "--layer", "ents")
        run("sample", folder / "all.spacy", corpora[name], "--rate", limit)
    return corpora


def run(*arguments: object) -> None:
    """Run a command of the project to its end."""
    command = [sys.executable, "-m", "spacy_transfer", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def training(corpora: dict[str, Path], output: Path) -> list[object]:
    """The arguments of a run, resumed where there is something to resume."""
    given = {**SETTINGS, **{f"paths.{name}": path for name, path in corpora.items()}}
    options = [f"--{name}={value}" for name, value in given.items()]
    return ["train", ROOT / "configs" / "ladtl.cfg", "--output", output, "--resume", *options]


def finish(corpora: dict[str, Path], output: Path) -> None:
    """Train to the end."""
    run(*training(corpora, output))


def kill(corpora: dict[str, Path], output: Path, rng: random.Random) -> bool:
    """Start or resume a run and kill it at some moment; False if it ended before.

    One in six is killed while it sets up, the others within two seconds of their first checkpoint.
    """
    command = [sys.executable, "-m", "spacy_transfer", *map(str, training(corpora, output))]
    checkpoint = output / "checkpoint.safetensors"
    before = changed(checkpoint)
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    if rng.random() < 1 / 6:
        time.sleep(rng.uniform(0, 5))
    else:
        while process.poll() is None and changed(checkpoint) == before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 2))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def changed(path: Path) -> int:
    """When a file was written; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def met(output: Path, there: list[str]) -> str:
    """What a kill has left, of which all pipelines must load."""
    for name in {*there, *(name for name in MODELS if (output / name).exists())}:
        spacy.load(output / name)(TEXT)
    if not output.exists():
        return "before anything was written"
    names = sorted(path.name for path in output.iterdir())
    half = [name for name in names if name.startswith(".")]
    steps = [line["step"] for line in log(output)] if "log.jsonl" in names else []
    return f"step {steps[-1] if steps else 0}{', in ' * bool(half)}{', '.join(half)}"


def log(output: Path) -> list[dict[str, Any]]:
    """The whole lines of a log, without what tells the time."""
    lines = []
    for line in (output / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            lines.append(json.loads(line))
            del lines[-1]["seconds"], lines[-1]["scores"]["speed"]
    return lines


def compare(one: Path, other: Path) -> None:
    """Exit unless two runs have the same end."""
    for name in MODELS:
        files = sorted(
            file.relative_to(one / name) for file in (one / name).rglob("*.*") if file.is_file()
        )
        for file in [*files, Path("transfer_ner/model")]:
            contents = [(run / name / file).read_bytes() for run in (one, other)]
            if contents[0] != contents[1]:
                raise SystemExit(f"{name}/{file} differs:\n{contents}"[:4000])
    if log(one) != log(other):
        raise SystemExit("log.jsonl differs")


if __name__ == "__main__":
    sys.exit(main())
