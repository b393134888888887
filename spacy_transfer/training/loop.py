"""The source/target training loop.

It takes spaCy's `[training]` section as it stands; set-up, evaluation and meta data are spaCy's
own functions.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from confection import Config
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import (
    clean_output_dir,
    create_before_to_disk_callback,
    create_evaluation_callback,
    subdivide_batch,
    update_meta,
)
from spacy.util import registry, resolve_dot_names
from thinc.api import Model, fix_random_seed, set_dropout_rate

from spacy_transfer.corpus.readers import TaskStreams
from spacy_transfer.models.device import use_gpu as choose_gpu
from spacy_transfer.nn.parallel import rank
from spacy_transfer.pipeline.base import source_scores
from spacy_transfer.training.checkpoint import BEST, LAST, recover, save_pipeline
from spacy_transfer.training.distributed import from_all, on_first
from spacy_transfer.training.progress import Progress
from spacy_transfer.training.resume import CHECKPOINT, Checkpoint, identity
from spacy_transfer.training.schedules import Batch
from spacy_transfer.training.state import capture, random_states, restore, set_random_states

LOG = "log.jsonl"
logger = logging.getLogger(__name__)


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


def train(config: Config, output: Path, *, use_gpu: int = -1, resume: bool = False) -> Progress:
    """Train a pipeline and keep the best by dev score in `output/model-best`.

    `output/model-last` is the pipeline at the end, also after Ctrl-C; `output/log.jsonl` has one
    line an evaluation; `output/checkpoint.safetensors` is what a killed run goes on from.

    Args:
        config: a spaCy training config, uninterpolated.
        output: directory of the results; models of an earlier run in it are replaced.
        use_gpu: GPU id, with or without cupy; -1 for the CPU.
        resume: go on with the run in `output`, to the result that it would have had; from the
            start where there is none. Nothing is done if it has ended.

    Under `torchrun` the processes share each batch, and the first one evaluates and saves.

    Raises:
        ValueError: data or settings that cannot be used, or are not those of a resumed run.
        FloatingPointError: a loss term that is not finite, with the step at which it broke.
    """
    setup = set_up(config, use_gpu=use_gpu)
    nlp, settings = setup.nlp, setup.settings
    optimizer = settings["optimizer"]
    # Weights start equal in all processes; what is dropped should differ.
    fix_random_seed((settings["seed"] or 0) + rank())
    run = Checkpoint(*identity(nlp), Progress(), from_all(random_states()))
    progress = run.progress
    if resume and (saved := on_first(lambda: Checkpoint.read(output))) is not None:
        saved.require_same(run, output)
        progress = run.progress = saved.progress
        if saved.finished:
            logger.info("%s: the run there has ended: nothing is left to do", output)
            return saved.progress
        restore(nlp, optimizer, saved.tensors, saved.counts)
        set_random_states(saved.random_states[rank()])
        nlp.meta["performance"] = saved.performance
        for _, pipe in nlp.pipeline:  # models are saved with the rate of their last update
            if isinstance(model := getattr(pipe, "model", None), Model):
                set_dropout_rate(model, settings["dropout"])
        logger.info("%s: going on from step %d", output, progress.step)
    elif resume:
        logger.info("%s: no run to resume: this one starts from the beginning", output)
    evaluate = create_evaluation_callback(nlp, setup.dev_corpus, settings["score_weights"])
    batches = settings["batcher"](setup.streams)
    steps = _steps(nlp, settings, batches, lambda: on_first(evaluate), progress)
    if rank() > 0:
        for info in steps:
            if info is not None:
                from_all(random_states())
        return progress
    output.mkdir(parents=True, exist_ok=True)
    if progress.step:
        recover(output / BEST)
        _cut(output / LOG, len(progress.history))
    else:
        (output / CHECKPOINT).unlink(missing_ok=True)
        for name in (BEST, LAST):
            recover(output / name)
        clean_output_dir(output)
        _cut(output / LOG, 0)
    before_to_disk = create_before_to_disk_callback(settings["before_to_disk"])

    def save(name: str) -> None:
        with nlp.use_params(optimizer.averages):
            save_pipeline(before_to_disk(nlp), output / name)

    log_step, finish_log = settings["logger"](nlp, sys.stdout, sys.stderr)
    started = time.monotonic() - progress.seconds
    try:
        with (output / LOG).open("a", encoding="utf-8") as log:
            for info in steps:
                if info is None:
                    log_step(None)
                    continue
                run.random_states = from_all(random_states())
                _require_scores(nlp, settings["score_weights"], info["other_scores"])
                info["seconds"] = progress.seconds = time.monotonic() - started
                update_meta(settings, nlp, info)
                nlp.meta["performance"].update(source_scores(nlp, info["other_scores"]))
                if progress.best_step == progress.step:
                    save(BEST)
                    info["output_path"] = str(output / BEST)
                log_step(info)
                print(json.dumps(_log_line(info)), file=log, flush=True)
                # After what it speaks of: what is there beyond it is made again.
                run.tensors, run.counts = capture(nlp, optimizer)
                run.performance = nlp.meta["performance"]
                run.write(output)
    except KeyboardInterrupt:
        save(LAST)
        raise
    finally:
        finish_log()
    save(LAST)
    run.finished, run.tensors, run.random_states = True, {}, []
    run.write(output)
    return progress


def _cut(log: Path, lines: int) -> None:
    """Keep the first lines of a log."""
    kept = log.read_text(encoding="utf-8").splitlines(keepends=True)[:lines] if lines else []
    new = log.with_name(f".{log.name}.new")
    new.write_text("".join(kept), encoding="utf-8")
    new.replace(log)


def _steps(
    nlp: Language,
    settings: dict[str, Any],
    batches: Iterator[Batch],
    evaluate: Callable[[], tuple[float, dict[str, Any]]],
    progress: Progress,
) -> Iterator[dict[str, Any] | None]:
    """Update batch by batch; yields what the loggers want after an evaluation, else None.

    Step k is the k-th update. Step 0, at which nothing is learned, is there for spaCy's loop, which
    counts from 0: with it, schedules have the same value at an update in both.
    """
    max_epochs, epoch = settings["max_epochs"], 0
    if not progress.step:
        _call_before_update(nlp, settings, 0, 0)
    for _ in range(progress.step + 1):
        settings["optimizer"].step_schedules()
    for batch in islice(batches, progress.step, None):
        if not isinstance(batch, Batch):
            raise ValueError(
                "[training.batcher] must be a schedule, such as spacy_transfer.Joint.v1"
            )
        if _has_ended(settings, progress):
            break
        if max_epochs > 0 and batch.epoch >= max_epochs:
            epoch = max_epochs
            break
        _update(nlp, settings, batch, progress)
        epoch = batch.epoch
        if progress.step % settings["eval_frequency"] == 0:
            yield _evaluate(nlp, settings, evaluate, epoch, progress)
        elif not _has_ended(settings, progress):
            yield None
    if not progress.history or progress.history[-1][1] != progress.step:
        yield _evaluate(nlp, settings, evaluate, epoch, progress)


def _has_ended(settings: dict[str, Any], progress: Progress) -> bool:
    max_steps, patience = settings["max_steps"], settings["patience"]
    if max_steps and progress.step >= max_steps:
        return True
    return bool(patience and progress.step - progress.best_step >= patience)


def _call_before_update(nlp: Language, settings: dict[str, Any], step: int, epoch: int) -> None:
    if settings["before_update"]:
        settings["before_update"](nlp, {"step": step, "epoch": epoch})


def _evaluate(
    nlp: Language,
    settings: dict[str, Any],
    evaluate: Callable[[], tuple[float, dict[str, Any]]],
    epoch: int,
    progress: Progress,
) -> dict[str, Any]:
    # Where an optimizer averages weights over steps, these are what is evaluated and saved.
    with nlp.use_params(settings["optimizer"].averages):
        score, scores = evaluate()
    # Those of each label come in the order of a set, which is another in each process.
    scores = {k: dict(sorted(v.items())) if isinstance(v, dict) else v for k, v in scores.items()}
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
    _call_before_update(nlp, settings, progress.step + 1, batch.epoch)
    # As spaCy's loop has them, shortest first: the order decides the last digits of a sum.
    [examples] = subdivide_batch(batch, 1)
    try:
        nlp.update(
            examples,
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
