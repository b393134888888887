"""NCRF++ (Yang & Zhang 2018) as it is, through its own `train` and `evaluate`, without dropout.

Character level: one bidirectional GRU layer, which is all that it offers. Its figures are those
that it prints: epochs and decoding without evaluation, on sentences that are indices already.
"""

from __future__ import annotations

import importlib
import io
import re
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import measure
from measure import WARM_UP, Job, read_job, report

DEFAULT_BATCH = 10
"""Of NCRF++'s own config, for training and tagging."""


class Printed(io.StringIO):
    """Keeps what is printed, and the time at which the first epoch was announced."""

    first_epoch = 0.0

    def write(self, text: str) -> int:
        """Keep `text`."""
        if not self.first_epoch and text.startswith("Epoch: 0/"):
            self.first_epoch = time.time()
        return super().write(text)


def configured(job: Job, data: Any) -> Any:
    """NCRF++'s settings, set by its own config file; widths are those of both directions."""
    values = {
        "train_dir": job.data / "train.txt",
        "dev_dir": job.data / "dev.txt",
        "test_dir": job.data / "dev.txt",
        "raw_dir": job.work / "raw.txt",
        "model_dir": job.work / "model",
        "word_emb_dim": measure.WORD_EMBEDDING,
        "char_emb_dim": measure.CHAR_EMBEDDING,
        "word_seq_feature": "GRU",
        "char_seq_feature": "GRU",
        "char_hidden_dim": 2 * measure.CHAR_HIDDEN,
        "hidden_dim": 2 * measure.WORD_HIDDEN,
        "lstm_layer": measure.WORD_LAYERS,
        "dropout": 0,
        "l2": 0,
        "optimizer": "AdaGrad",
        "learning_rate": measure.LEARN_RATE,
        "iteration": 2,
        "batch_size": job.batch or DEFAULT_BATCH,
    }
    path = job.work / "ncrfpp.config"
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    data.read_config(path)
    return data


def words_in(instances: list[Any]) -> int:
    """The words of NCRF++'s sentences."""
    return sum(len(words) for words, *_ in instances)


def train(job: Job, ncrfpp: Any) -> None:
    """Time the second of two epochs."""
    data = configured(job, ncrfpp.Data())
    printed = Printed()
    with redirect_stdout(printed):
        ncrfpp.data_initialization(data)
        for name in ("train", "dev", "test"):
            data.generate_instance(name)
        ncrfpp.train(data)
    seconds = re.findall(r"training finished\. Time: ([\d.]+)s", printed.getvalue())
    report(
        sentences=len(data.train_Ids),
        words=words_in(data.train_Ids),
        seconds=float(seconds[1]),
        start_up=printed.first_epoch - job.started,
    )


def tag(job: Job, ncrfpp: Any) -> None:
    """Time one decoding of the test set."""
    data = ncrfpp.Data()
    data.load(job.work / "model.dset")
    configured(job, data)
    # It wants tags to decode, and knows those of training alone.
    sentences = ("".join(f"{word} O\n" for word in words) for words in job.words("test"))
    Path(data.raw_dir).write_text("\n".join(sentences), encoding="utf-8")
    with redirect_stdout(io.StringIO()):
        data.generate_instance("raw")
        model = ncrfpp.SeqLabel(data)
    model.load_state_dict(ncrfpp.torch.load(job.work / "model.0.model"))
    test, train = data.raw_Ids, data.train_Ids

    def sentences_per_second(instances: list[Any]) -> float:
        data.raw_Ids = instances
        with redirect_stdout(io.StringIO()):
            return float(ncrfpp.evaluate(data, model, "raw")[0])

    sentences_per_second(train[:1])
    start_up = time.time() - job.started
    sentences_per_second(train[:WARM_UP])
    seconds = len(test) / sentences_per_second(test)
    report(sentences=len(test), words=words_in(test), seconds=seconds, start_up=start_up)


if __name__ == "__main__":
    job = read_job(str(__doc__))
    if job.path is None:
        raise SystemExit("--path is needed: a clone of NCRF++")
    sys.path.insert(0, str(job.path))
    ncrfpp = importlib.import_module("main")
    train(job, ncrfpp) if job.mode == "train" else tag(job, ncrfpp)
