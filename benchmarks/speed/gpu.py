"""Training and tagging on a GPU: speed, memory, the CRF's share, float32 against bfloat16.

    python benchmarks/speed/gpu.py [--train FILE --test FILE] [--flair-python PYTHON]

FILE is a column file, plain or .gz; without it the embedded sample is used. PYTHON is that of an
environment with flair, which is then measured on the same device, sentences and batches. A check
that all of it runs, on any machine: `--device cpu --sentences 20 --batch 4 --rounds 1`.

The pipeline is that of configs/target_only.cfg, with the dimensions of Yang et al. 2017. Speed is
taken with nothing else on the clock, the CRF's share (emissions, and loss or decoding, forward and
backward) in a run of its own, in which each stage waits for the one before; so the share is an
upper bound. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch
from compare import SAMPLE, System
from corpora import write_corpus
from environments import FOLDER
from report import OURS, Row, groups, layout, spread
from spacy.tokens import Doc
from stages import CONFIG, DIMENSIONS, WARM_UP, Stopwatch, watch

from spacy_transfer.corpus.shards import read_docs
from spacy_transfer.training.config import load_training_config
from spacy_transfer.training.schedules import target_only
from spacy_transfer.training.setup import set_up

MODEL = "components.transfer_ner.model"


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Bench:
    """A pipeline in one precision on one device, and its corpora."""

    def __init__(self, data: Path, device: torch.device, precision: str, sentences: int) -> None:
        settings = {
            **DIMENSIONS,
            "paths.target": str(data / "train.spacy"),
            "paths.dev": str(data / "dev.spacy"),
            f"{MODEL}.device": str(device),
            f"{MODEL}.precision": precision,
        }
        config = load_training_config(CONFIG, settings)
        self.setup = set_up(config)
        self.device, self.precision, self.sentences = device, precision, sentences
        docs = itertools.islice(read_docs(data / "test.spacy", self.setup.nlp.vocab), sentences)
        self.test = [[token.text for token in doc] for doc in docs]

    def run(self, mode: str, batch: int, stopwatch: Stopwatch | None = None) -> tuple[int, float]:
        """Train or tag once after a warm-up: words and seconds."""
        nlp, optimizer = self.setup.nlp, self.setup.settings["optimizer"]
        if mode == "train":
            batches = target_only(batch)(self.setup.streams)
            work: list[Any] = list(itertools.islice(batches, max(1, self.sentences // batch)))
        else:
            docs = [Doc(nlp.vocab, words=words) for words in self.test]
            work = [docs[i : i + batch] for i in range(0, len(docs), batch)]

        def do(items: list[Any]) -> None:
            if mode == "train":
                for examples in items:
                    nlp.update(examples, drop=0.0, sgd=optimizer)
            else:
                deque(nlp.pipe(itertools.chain.from_iterable(items), batch_size=batch), maxlen=0)
            wait(self.device)

        do(work[:WARM_UP])
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        began = time.perf_counter()
        if stopwatch:
            stopwatch.seconds.clear()
            with stopwatch.stage("spaCy"):
                do(work)
        else:
            do(work)
        seconds = time.perf_counter() - began
        return sum(len(item) for items in work for item in items), seconds

    def speed(self, mode: str, batch: int) -> Row:
        """Words a second and the peak of the device's memory, in MB."""
        words, seconds = self.run(mode, batch)
        cuda = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self.device) / 2**20 if cuda else float("nan")
        setting = {"system": f"{OURS}, {self.precision}", "mode": mode, "batch": batch}
        return {**setting, "words_per_second": words / seconds, "peak_mb": peak}


class DeviceStopwatch(Stopwatch):
    """A stopwatch that lets a stage end when the device has done its work."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def _count(self) -> None:
        wait(self._device)
        super()._count()


def table(rows: list[Row], shares: dict[tuple[str, str, int], float]) -> str:
    """Medians with the range over the rounds."""
    lines = []
    for (mode, batch), of_setting in groups(rows, "mode", "batch").items():
        systems = {name: of_one for (name,), of_one in groups(of_setting, "system").items()}
        flair = {row["round"]: row["words_per_second"] for row in systems.get("flair", [])}
        for name, of_system in systems.items():
            ratios = [
                row["words_per_second"] / flair[row["round"]]
                for row in of_system
                if name != "flair" and row["round"] in flair
            ]
            peaks = [row["peak_mb"] for row in of_system if name != "flair"]
            share = shares.get((name, mode, batch))
            cells = [
                spread((row["words_per_second"] for row in of_system), ",.0f"),
                spread((peak for peak in peaks if peak == peak), ",.0f"),
                "" if share is None else f"{100 * share:.1f}",
                spread(ratios, ".2f"),
            ]
            lines.append([f"{mode}, batch {batch}", name, *cells])
    header = ["setting", "system", "words/s", "peak on the GPU, MB", "CRF, %", "it / flair"]
    return layout(header, lines)


def main() -> None:
    """Measure all settings in turn and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--train", type=Path, default=SAMPLE / "train.iob.gz")
    parser.add_argument("--test", type=Path, default=SAMPLE / "test.iob.gz")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, nargs="+", default=[10, 32, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=2000, help="of each file, at most")
    parser.add_argument("--flair-python", type=Path, help="of an environment with flair")
    options = parser.parse_args()
    device = options.device
    data = FOLDER / "corpus"
    write_corpus(options.train, options.test, data, options.sentences)

    benches = [Bench(data, device, name, options.sentences) for name in options.precision]
    os.environ["BENCHMARK_DEVICE"] = str(device)
    peers = []
    if options.flair_python:
        peers.append(System("flair", options.flair_python, "flair_tagger.py"))
    rows: list[Row] = []
    settings = list(itertools.product(options.batch, ["train", "tag"]))
    for number, (batch, mode) in itertools.product(range(options.rounds), settings):
        found = [bench.speed(mode, batch) for bench in benches]
        found += [peer.run(mode, data, torch.get_num_threads(), batch) for peer in peers]
        for row in found:
            rows.append({**row, "round": number})
            speed = f"{row['system']}: {row['words_per_second']:.0f} words/s"
            print(f"round {number + 1}: {mode}, batch {batch}: {speed}", file=sys.stderr)

    stopwatch = DeviceStopwatch(device)
    watch(stopwatch)
    shares = {}
    for bench, (batch, mode) in itertools.product(benches, settings):
        bench.run(mode, batch, stopwatch)
        crf = stopwatch.seconds.get("CRF", 0.0)
        shares[f"{OURS}, {bench.precision}", mode, batch] = crf / sum(stopwatch.seconds.values())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    print(f"{name}, torch {torch.__version__}, cuDNN {cudnn}\n")
    print(table(rows, shares))


if __name__ == "__main__":
    main()
