from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spacy.language import Language

from spacy_transfer.corpus.marks import TARGET, task_of
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.training import batch_size
from spacy_transfer.training.batch_size import Trial, attempt, longest, search, try_batch_sizes
from spacy_transfer.training.config import load_training_config
from spacy_transfer.training.setup import Setup, set_up
from tests.conftest import SMALL_CONFIG, examples

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("memory", "largest", "tried"),
    [
        (11, 1000, [1, 2, 4, 8, 16, 12, 10, 11]),
        (100, 1000, [1, 2, 4, 8, 16, 32, 64, 128, 96, 112, 104]),
        (0, 1000, [1]),
        (1, 1000, [1, 2]),
        (10_000, 100, [1, 2, 4, 8, 16, 32, 64, 100]),
        (10_000, 1, [1]),
        (90, 100, [1, 2, 4, 8, 16, 32, 64, 100, 82, 91]),
    ],
)
def test_sizes_that_are_tried(memory: int, largest: int, tried: list[int]) -> None:
    trials = list(search(lambda size: Trial(size, 1.0 if size <= memory else None, 0), largest))
    assert [trial.size for trial in trials] == tried
    fits = max([t.size for t in trials if t.tokens_per_second], default=0)
    assert fits <= min(memory, largest) <= fits + max(1, fits // 8)


def test_the_longest_of_all_tasks_in_turn(nlp: Language) -> None:
    corpus = [*examples(nlp, TARGET, 12), *examples(nlp, "source", 3)]
    found = longest(corpus, 8)
    tasks = [task_of(example.reference) for example in found]
    assert tasks == [TARGET, "source"] * 3 + [TARGET] * 2
    for task in (TARGET, "source"):
        lengths = [len(e.reference) for e in found if task_of(e.reference) == task]
        of_task = sorted(len(e.reference) for e in corpus if task_of(e.reference) == task)
        assert lengths == of_task[::-1][: len(lengths)]
    assert len(longest(corpus, 100)) == len(set(map(id, longest(corpus, 100)))) == 15


@pytest.fixture
def settings(corpus_files: Callable[..., Path]) -> dict[str, Any]:
    files = {
        "target": corpus_files(TARGET, 20),
        "source": corpus_files("source", 20),
        "dev": corpus_files(TARGET, 5, seed=1),
    }
    return {f"paths.{name}": str(path) for name, path in files.items()}


@pytest.fixture
def setup(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Setup:
    """Training on a CPU whose memory is counted like that of a GPU: 7 bytes."""
    for name in ("reset_peak_memory_stats", "synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 7)
    return set_up(load_training_config(SMALL_CONFIG, settings))


def test_an_attempt_trains_on_the_whole_batch(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    update = setup.nlp.update
    monkeypatch.setattr(
        setup.nlp,
        "update",
        lambda batch, **options: sizes.append(len(batch)) or update(batch, **options),
    )
    network = shim_of(setup.nlp.get_pipe("transfer_ner").model).network
    before = network.head("source").emission.weight.clone()
    trial = attempt(setup, longest(setup.streams, 6), CPU)
    assert (trial.size, trial.peak) == (6, 7)
    assert trial.tokens_per_second
    assert sizes == [6, 6]
    assert not torch.equal(network.head("source").emission.weight, before)


def test_out_of_memory(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = setup.nlp.get_pipe("transfer_ner")
    freed = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(True))

    def finish_update(sgd: object) -> None:
        assert any(p.grad is not None for p in shim_of(pipe.model).network.parameters())
        raise torch.cuda.OutOfMemoryError("no more")

    monkeypatch.setattr(pipe, "finish_update", finish_update)
    assert attempt(setup, longest(setup.streams, 6), CPU) == Trial(6, None, 7)
    assert all(p.grad is None for p in shim_of(pipe.model).network.parameters())
    assert freed
    # Anything else is no lack of memory.
    monkeypatch.setattr(pipe, "finish_update", lambda sgd: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attempt(setup, longest(setup.streams, 6), CPU)


def test_a_gpu_is_needed(settings: dict[str, Any]) -> None:
    config = load_training_config(SMALL_CONFIG, settings)
    with pytest.raises(ValueError, match="choose one with --gpu-id"):
        try_batch_sizes(config, use_gpu=-1)


def test_all_sizes_of_a_corpus(
    setup: Setup, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shim:
        device = torch.device("cuda")

    monkeypatch.setattr(batch_size, "set_up", lambda *_, **__: setup)
    monkeypatch.setattr(batch_size, "shim_of", lambda _: Shim)
    monkeypatch.setattr(batch_size, "attempt", lambda _, batch, device: Trial(len(batch), 1.0, 0))
    config = load_training_config(SMALL_CONFIG, settings)
    assert [t.size for t in try_batch_sizes(config, use_gpu=0)] == [1, 2, 4, 8, 16, 32, 40]
