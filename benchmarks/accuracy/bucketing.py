"""Do batches of sentences of like length learn as well, and how much faster are they?

    python benchmarks/accuracy/bucketing.py TRAIN DEV [--batch 10 32] [--seeds 0 1] [--vectors DIR]

TRAIN and DEV are column files, plain or .gz, or .spacy files or folders. Trains
configs/target_only.cfg for the same number of epochs with each window, 1 being batches as they
come, and prints F1 on dev after each epoch, and words a second of processor time in updates alone.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import spacy
from spacy.language import Language
from spacy.util import registry

from spacy_transfer.corpus.convert import convert
from spacy_transfer.corpus.shards import read_docs
from spacy_transfer.training.config import load_training_config
from spacy_transfer.training.loop import train

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "target_only.cfg"
STARTS: list[float] = []
"""Processor time at the start of each update of a run."""


@registry.callbacks("bucketing.Clock")  # type: ignore[untyped-decorator]
def clock() -> Callable[[Language, dict[str, Any]], None]:
    """Note when an update starts."""
    return lambda *_: STARTS.append(time.process_time())


def spacy_file(path: Path, folder: Path) -> Path:
    """The corpus in spaCy's format."""
    if path.is_dir() or path.suffix == ".spacy":
        return path
    output = folder / f"{path.name}.spacy"
    convert(path, output, "ents")
    return output


def run(settings: dict[str, Any], output: Path) -> tuple[list[float], float]:
    """Train; F1 after each epoch, and words a second."""
    STARTS.clear()
    config = load_training_config(CONFIG, settings)
    config["training"]["before_update"] = {"@callbacks": "bucketing.Clock"}
    with redirect_stdout(sys.stderr):
        train(config, output)
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    frequency = settings["training.eval_frequency"]
    # The first updates compile; after an evaluation, the next update starts late.
    counted = [step for step in range(10, len(STARTS) - 1) if (step + 1) % frequency]
    seconds = sum(STARTS[step + 1] - STARTS[step] for step in counted)
    words = log[-1]["words"] * len(counted) / log[-1]["step"]
    return [line["score"] for line in log], words / seconds


def main() -> None:
    """Train with all batch sizes, windows and seeds, and print a table for each batch size."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--vectors", help="as --paths.vectors of the config")
    parser.add_argument("--batch", type=int, nargs="+", default=[10, 32])
    parser.add_argument("--window", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--sentences", type=int, default=0, help="of TRAIN, the first; 0: all")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        target, dev = (spacy_file(path, Path(folder)) for path in (options.train, options.dev))
        sentences = sum(1 for _ in read_docs(target, spacy.blank("en").vocab))
        sentences = min(sentences, options.sentences or sentences)
        for batch in options.batch:
            print(f"\nBatches of {batch}, {sentences} sentences\n")
            print("| window | seed | F1 after each epoch | words/s |\n| --- | --- | --- | --- |")
            for window in options.window:
                speeds, curves = [], []
                for seed in options.seeds:
                    settings = {
                        "paths.target": str(target),
                        "paths.dev": str(dev),
                        "paths.vectors": options.vectors,
                        "system.seed": seed,
                        "corpora.train.target.limit": options.sentences,
                        "training.batcher.batch_size": batch,
                        "training.batcher.window": window,
                        "training.max_epochs": options.epochs,
                        "training.max_steps": 0,
                        "training.patience": 0,
                        "training.eval_frequency": math.ceil(sentences / batch),
                    }
                    curve, speed = run(settings, Path(folder) / "model")
                    speeds.append(speed)
                    curves.append(curve)
                    print(line(window, seed, curve, speed), flush=True)
                means = [mean(scores) for scores in zip(*curves, strict=False)]
                print(line(window, "mean", means, mean(speeds)), flush=True)


def line(window: int, seed: int | str, curve: list[float], speed: float) -> str:
    """A row of the table."""
    scores = " ".join(f"{100 * score:.2f}" for score in curve)
    return f"| {window} | {seed} | {scores} | {speed:.0f} |"


if __name__ == "__main__":
    main()
