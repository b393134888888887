"""spaCy's `ner` as `spacy init config --pipeline ner` sets it up for the CPU.

Another model (CNN features of width 96, a transition-based parser): what users of spaCy know.
Trains by `nlp.update`, tags by `nlp.pipe`.
"""

from __future__ import annotations

import random
import time

from measure import Job, read_job, report
from pipe import tag
from spacy.cli.init_config import init_config
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Corpus
from spacy.training.initialize import init_nlp
from spacy.util import minibatch, registry


def train(job: Job) -> None:
    """Time the second of two passes."""
    config = init_config(lang="en", pipeline=["ner"], optimize="efficiency")
    config["paths"]["train"] = str(job.data / "train.spacy")
    config["paths"]["dev"] = str(job.data / "dev.spacy")
    nlp = init_nlp(config)
    settings = registry.resolve(nlp.config.interpolate()["training"], schema=ConfigSchemaTraining)
    examples = list(Corpus(job.data / "train.spacy")(nlp))

    def one_pass() -> float:
        began = time.perf_counter()
        random.shuffle(examples)
        for batch in minibatch(examples, size=job.train_batch):
            nlp.update(batch, drop=settings["dropout"], sgd=settings["optimizer"])
        return time.perf_counter() - began

    start_up = time.time() - job.started
    one_pass()
    seconds = one_pass()
    nlp.to_disk(job.work / "model")
    report(
        sentences=len(examples),
        words=sum(len(example) for example in examples),
        seconds=seconds,
        start_up=start_up,
    )


if __name__ == "__main__":
    job = read_job(str(__doc__))
    train(job) if job.mode == "train" else tag(job, job.work / "model")
