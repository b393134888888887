"""Tagging with a spaCy pipeline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import spacy
from measure import WARM_UP, Job, report
from spacy.tokens import Doc


def tag(job: Job, model: Path) -> None:
    """Time `nlp.pipe` over Docs that exist already."""
    nlp = spacy.load(model)

    def docs(sentences: Iterable[list[str]]) -> list[Doc]:
        return [Doc(nlp.vocab, words=words) for words in sentences]

    train, test = job.words("train"), job.words("test")
    nlp(docs(train[:1])[0])
    start_up = time.time() - job.started
    deque(nlp.pipe(docs(train[:WARM_UP]), batch_size=job.batch), maxlen=0)
    untagged = docs(test)
    began = time.perf_counter()
    deque(nlp.pipe(untagged, batch_size=job.batch), maxlen=0)
    seconds = time.perf_counter() - began
    report(sentences=len(test), words=sum(map(len, test)), seconds=seconds, start_up=start_up)
