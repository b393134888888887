"""CD-learning from its config: the weights of source sentences reach the loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vectors import Vectors

from tests.conftest import CONFIGS, NAMES, Run, Train

CONFIG = next(path for path in CONFIGS if path.stem == "cd")
SIMILARITY = "corpora.train.similarity"
NAME = f"{SIMILARITY}.@misc"
QUARTER = "spacy_transfer.tests.Quarter.v1"


def quarter() -> Callable[[Iterable[Doc]], Callable[[Doc], float]]:
    return lambda target: lambda doc: 0.25


@pytest.fixture(autouse=True)
def _registered() -> None:
    registry.misc.register(QUARTER, func=quarter)


def losses(run: Run, task: str) -> list[float]:
    """The CRF loss of a task at each step that learned it."""
    assert run.status == 0, run.err
    lines = [json.loads(line) for line in (run.output / "log.jsonl").read_text().splitlines()]
    name = f"transfer_ner_crf_{task}"
    return [line["losses"][name] for line in lines if name in line["losses"]]


def test_the_weights_of_the_config_scale_the_source_loss(train: Train, tmp_path: Path) -> None:
    each = {"training.eval_frequency": 1, "training.max_steps": 6}
    plain, quarter, similar = (
        train({**each, **settings}, CONFIG, tmp_path / name)
        for name, settings in {
            "plain": {SIMILARITY: "null"},
            "quarter": {NAME: QUARTER},
            "similar": {},
        }.items()
    )
    # Up to the first step of the source, all three are the same.
    first = losses(plain, "source")[0]
    assert losses(quarter, "source")[0] == pytest.approx(first / 4, rel=1e-5)
    assert 0.1 * first < losses(similar, "source")[0] < 0.99 * first
    assert losses(plain, "target")[-1] != losses(similar, "target")[-1]
    assert "Weights of source: 80 % of 20 sentences from 0.250 to 0.250" in quarter.err
    assert "Weights of" not in plain.err


@pytest.fixture
def vectors(nlp: Language, tmp_path: Path) -> Path:
    """A pipeline with vectors of the first names of both tasks."""
    names = [name for task in NAMES.values() for name in task[next(iter(task))]]
    words = [word for name in names for word in name.split()]
    data = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
    keys = [nlp.vocab.strings.add(word) for word in words]
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys)
    nlp.to_disk(tmp_path / "vectors")
    return tmp_path / "vectors"


@pytest.mark.parametrize("kernel", ["GaussianKernel", "PolynomialKernel"])
def test_kernels_read_the_vectors_of_the_pipeline(
    train: Train, vectors: Path, tmp_path: Path, kernel: str
) -> None:
    settings = {NAME: f"spacy_transfer.{kernel}.v1", "nlp.lang": "xx"}
    run = train({**settings, "paths.vectors": vectors}, CONFIG)
    assert losses(run, "source")
    assert "Weights of source: 80 % of 20 sentences from 0.000 to " in run.err
    without = train(settings, CONFIG, tmp_path / "without")
    assert without.status == 1
    assert "error: this similarity compares word vectors, and the pipeline" in without.err
    assert not without.output.exists()
