"""What all workers share: their command line, the corpus, and the one line of JSON they print."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SIZES = json.loads(Path(__file__).parents[1].joinpath("dimensions.json").read_text("utf-8"))
CHAR_EMBEDDING, CHAR_HIDDEN = 25, SIZES["char_hidden"]
WORD_EMBEDDING, WORD_HIDDEN, WORD_LAYERS = 50, SIZES["word_hidden"], SIZES["word_layers"]
LEARN_RATE = 0.01
WARM_UP = 256
"""Training sentences that are tagged before the clock starts."""


@dataclass(frozen=True)
class Job:
    """What a worker is to measure.

    Attributes:
        mode: `train`, which leaves a model in `work`, or `tag`, which loads it.
        data: folder with the corpus as `corpora.py` writes it.
        work: folder of the system's models.
        batch: sentences in a batch; None, in `tag`, for the system's own default.
        started: when the worker's process was started, in seconds since the epoch.
        path: where the system is, if it cannot be installed.
    """

    mode: str
    data: Path
    work: Path
    batch: int | None
    started: float
    path: Path | None

    @property
    def train_batch(self) -> int:
        """The batch size of training."""
        if self.batch is None:
            raise SystemExit("--batch is needed to train")
        return self.batch

    def words(self, name: str) -> list[list[str]]:
        """The words of each sentence of `train`, `dev` or `test`."""
        blocks = (self.data / f"{name}.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
        return [[line.rpartition(" ")[0] for line in block.split("\n")] for block in blocks]


def read_job(description: str) -> Job:
    """The job that the command line describes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("mode", choices=["train", "tag"])
    parser.add_argument("data", type=Path, help="folder that corpora.py wrote")
    parser.add_argument("work", type=Path, help="folder of the system's models")
    parser.add_argument("--batch", type=int, help="by default, in tag, the system's own")
    parser.add_argument("--started", type=float, default=time.time(), help="by default, now")
    parser.add_argument("--path", type=Path, help="where the system is, if it is not installed")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    return Job(**vars(arguments))


def report(
    *, sentences: int, words: int, seconds: float, start_up: float, child: bool = False
) -> None:
    """Print the figures.

    Args:
        sentences: how many were trained on, or tagged, in `seconds`.
        words: those in them.
        seconds: after the warm-up.
        start_up: seconds from the start of the process to the first batch, or first tagged Doc.
        child: whether the work was done in a child process, whose peak memory then counts.
    """
    usage = resource.getrusage(resource.RUSAGE_CHILDREN if child else resource.RUSAGE_SELF)
    megabyte = 2**20 if sys.platform == "darwin" else 2**10
    figures = {
        "sentences": sentences,
        "words": words,
        "seconds": seconds,
        "sentences_per_second": sentences / seconds,
        "words_per_second": words / seconds,
        "start_up": start_up,
        "peak_mb": usage.ru_maxrss / megabyte,
    }
    print(json.dumps(figures))
