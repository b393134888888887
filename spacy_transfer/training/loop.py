"""The source/target training loop.

It takes spaCy's `[training]` section as it stands; set-up, evaluation and meta data are spaCy's
own functions.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from confection import Config
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import (
    clean_output_dir,
    create_before_to_disk_callback,
    create_evaluation_callback,
    update_meta,
)
from spacy.util import registry, resolve_dot_names
from thinc.api import Optimizer, fix_random_seed

from spacy_transfer.corpus.readers import TaskStreams
from spacy_transfer.models.device import use_gpu as choose_gpu
from spacy_transfer.nn.parallel import rank
from spacy_transfer.pipeline.base import source_scores
from spacy_transfer.training.checkpoint import BEST, LAST, save_pipeline
from spacy_transfer.training.distributed import on_first
from spacy_transfer.training.schedules import Batch

LOG = "log.jsonl"


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: updates made.
        words: tokens seen in them.
        best_score: the best main score on the dev corpus.
        best_step: the step it was reached at, the earliest of several.
        losses: the loss and its terms, summed since the last evaluation.
        history: main score and step of every evaluation.
    """

    step: int = 0
    words: int = 0
    best_score: float = float("-inf")
    best_step: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    history: list[tuple[float, int]] = field(default_factory=list)


@dataclass
class Setup:
    """What a config describes, ready to train.

    Attributes:
        nlp: the initialised pipeline.
        settings: the resolved `[training]` section.
        streams: the training examples of all tasks.
        dev_corpus: gives the examples to evaluate on.
    """

    nlp: Language
    settings: dict[str, Any]
    streams: TaskStreams
    dev_corpus: Callable[[Language], Iterable[Example]]


def set_up(config: Config, *, use_gpu: int = -1) -> Setup:
    """Initialise a pipeline on a GPU, or with -1 the CPU, and open its corpora.

    ValueError for data, settings or a device that cannot be used.
    """
    nlp = init_nlp(config, use_gpu=choose_gpu(use_gpu))
    resolved = nlp.config.interpolate()
    settings = registry.resolve(resolved["training"], schema=ConfigSchemaTraining)
    _check_settings(settings)
    corpora = resolve_dot_names(resolved, [settings["train_corpus"], settings["dev_corpus"]])
    streams = corpora[0](nlp)
    if not isinstance(streams, TaskStreams):
        raise ValueError("the training corpus must be a spacy_transfer.TransferCorpus.v1")
    for task in streams.tasks:
        streams.weights(task)  # what cannot be weighed is an error before anything is written
    return Setup(nlp, settings, streams, corpora[1])


def train(config: Config, output: Path, *, use_gpu: int = -1) -> Progress:
    """Train a pipeline and keep the best by dev score in `output/model-best`.

    `output/model-last` is the pipeline at the end, also after Ctrl-C; `output/log.jsonl` has one
    line an evaluation.

    Args:
        config: a spaCy training config, uninterpolated.
        output: directory of the results; models of an earlier run in it are replaced.
        use_gpu: GPU id, with or without cupy; -1 for the CPU.

    Under `torchrun` the processes share each batch, and the first one evaluates and saves.

    Raises:
        ValueError: data or settings that cannot be used.
        FloatingPointError: a loss term that is not finite, with the step at which it broke.
    """
    setup = set_up(config, use_gpu=use_gpu)
    nlp, settings = setup.nlp, setup.settings
    # Weights start equal in all processes; what is dropped should differ.
    fix_random_seed((settings["seed"] or 0) + rank())
    progress = Progress()
    score = create_evaluation_callback(nlp, setup.dev_corpus, settings["score_weights"])

    def evaluate() -> tuple[float, dict[str, Any]]:
        with _averages(nlp, settings["optimizer"]):
            return on_first(score)

    steps = _steps(nlp, settings, settings["batcher"](setup.streams), evaluate, progress)
    if rank() > 0:
        for _ in steps:
            pass
        return progress
    output.mkdir(parents=True, exist_ok=True)
    clean_output_dir(output)
    before_to_disk = create_before_to_disk_callback(settings["before_to_disk"])

    def save(name: str) -> None:
        with _averages(nlp, settings["optimizer"]):
            save_pipeline(before_to_disk(nlp), output / name)

    log_step, finish_log = settings["logger"](nlp, sys.stdout, sys.stderr)
    started = time.monotonic()
    try:
        with (output / LOG).open("w", encoding="utf-8") as log:
            for info in steps:
                if info is None:
                    log_step(None)
                    continue
                _require_scores(nlp, settings["score_weights"], info["other_scores"])
                info["seconds"] = time.monotonic() - started
                update_meta(settings, nlp, info)
                nlp.meta["performance"].update(source_scores(nlp, info["other_scores"]))
                if progress.best_step == progress.step:
                    save(BEST)
                    info["output_path"] = str(output / BEST)
                log_step(info)
                print(json.dumps(_log_line(info)), file=log, flush=True)
    except KeyboardInterrupt:
        save(LAST)
        raise
    finally:
        finish_log()
    save(LAST)
    return progress


def _averages(nlp: Language, optimizer: Optimizer) -> AbstractContextManager[None]:
    """Where an optimizer averages weights over steps, these are what is evaluated and saved."""
    averages = optimizer.averages
    return cast(
        AbstractContextManager[None], nlp.use_params(averages) if averages else nullcontext()
    )


def _steps(
    nlp: Language,
    settings: dict[str, Any],
    batches: Iterable[Batch],
    evaluate: Callable[[], tuple[float, dict[str, Any]]],
    progress: Progress,
) -> Iterator[dict[str, Any] | None]:
    """Update batch by batch; yields what the loggers want after an evaluation, else None."""
    max_steps, max_epochs = settings["max_steps"], settings["max_epochs"]
    patience, eval_frequency = settings["patience"], settings["eval_frequency"]
    for batch in batches:
        if not isinstance(batch, Batch):
            raise ValueError(
                "[training.batcher] must be a schedule, such as spacy_transfer.Joint.v1"
            )
        if max_epochs > 0 and batch.epoch >= max_epochs:
            break
        _update(nlp, settings, batch, progress)
        at_end = bool(max_steps) and progress.step >= max_steps
        if progress.step % eval_frequency and not at_end:
            yield None
            continue
        yield _evaluate(evaluate, batch.epoch, progress)
        if at_end or (patience and progress.step - progress.best_step >= patience):
            return
    if progress.step % eval_frequency:
        yield _evaluate(evaluate, max_epochs, progress)


def _evaluate(
    evaluate: Callable[[], tuple[float, dict[str, Any]]], epoch: int, progress: Progress
) -> dict[str, Any]:
    score, scores = evaluate()
    progress.history.append((score, progress.step))
    if score > progress.best_score:
        progress.best_score, progress.best_step = score, progress.step
    losses, progress.losses = progress.losses, {}
    return {
        "epoch": epoch,
        "step": progress.step,
        "score": score,
        "other_scores": scores,
        "losses": losses,
        "checkpoints": progress.history,
        "words": progress.words,
    }


def _update(nlp: Language, settings: dict[str, Any], batch: Batch, progress: Progress) -> None:
    if settings["before_update"]:
        settings["before_update"](nlp, {"step": progress.step, "epoch": batch.epoch})
    try:
        nlp.update(
            batch,
            drop=settings["dropout"],
            sgd=False,  # a component that others listen to has its gradient when these are done
            losses=progress.losses,
            exclude=settings["frozen_components"],
            annotates=settings["annotating_components"],
        )
    except FloatingPointError as error:
        raise FloatingPointError(f"step {progress.step + 1}: {error}") from error
    for name, pipe in nlp.pipeline:
        if name not in settings["frozen_components"] and getattr(pipe, "is_trainable", False):
            pipe.finish_update(settings["optimizer"])
    settings["optimizer"].step_schedules()
    progress.step += 1
    progress.words += sum(len(example) for example in batch)


def _log_line(info: dict[str, Any]) -> dict[str, Any]:
    before, now = [0, *(step for _, step in info["checkpoints"])][-2:]
    numbers = {k: v for k, v in info["other_scores"].items() if isinstance(v, int | float)}
    return {
        "epoch": info["epoch"],
        "step": info["step"],
        "words": info["words"],
        "seconds": round(info["seconds"], 1),
        "score": info["score"],
        "scores": numbers,
        "losses": {name: value / (now - before) for name, value in info["losses"].items()},
    }


def _check_settings(settings: dict[str, Any]) -> None:
    if settings["eval_frequency"] < 1:
        raise ValueError("training.eval_frequency must be at least 1")
    if settings["max_epochs"] < 0:
        raise ValueError(
            "training.max_epochs must be 0 (no limit) or more: corpora larger than memory are "
            "streamed with any value"
        )
    if settings["accumulate_gradient"] != 1:
        raise ValueError(
            "training.accumulate_gradient must be 1: dividing a batch would part the source and "
            "target sentences that belong together"
        )


def _require_scores(
    nlp: Language, weights: dict[str, float | None], scores: dict[str, Any]
) -> None:
    known = set(scores).union(
        *(nlp.get_pipe_meta(name).default_score_weights for name in nlp.pipe_names)
    )
    if not any(weight and name in scores for name, weight in weights.items()):
        raise ValueError(
            f"[training.score_weights] weighs no score that there is: expected one of "
            f"{', '.join(sorted(scores))}"
        )
    for name, weight in weights.items():
        if weight and name not in known:
            raise ValueError(
                f"[training.score_weights] {name!r} is not a score of this pipeline: expected one "
                f"of {', '.join(sorted(known))}"
            )
