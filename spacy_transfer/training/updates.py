"""Update by update, with an evaluation now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from spacy.language import Language
from spacy.training.loop import subdivide_batch

from spacy_transfer.training.progress import Progress
from spacy_transfer.training.schedules import Batch


def updates(
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
