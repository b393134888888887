"""The source/target training loop.

It takes spaCy's `[training]` section as it stands; set-up, evaluation and meta data are spaCy's
own functions.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from confection import Config
from spacy.language import Language
from spacy.training.loop import (
    clean_output_dir,
    create_before_to_disk_callback,
    create_evaluation_callback,
    update_meta,
)
from thinc.api import Model, fix_random_seed, set_dropout_rate

from spacy_transfer.corpus.lines import write_whole
from spacy_transfer.corpus.saving import recover, save_pipeline
from spacy_transfer.nn.parallel import rank
from spacy_transfer.pipeline.components import CHOSEN, source_scores
from spacy_transfer.training.distributed import from_all, on_first
from spacy_transfer.training.progress import Progress
from spacy_transfer.training.resume import CHECKPOINT, Checkpoint, identity
from spacy_transfer.training.setup import Setup, set_up
from spacy_transfer.training.state import capture, random_states, restore, set_random_states
from spacy_transfer.training.updates import updates

BEST, LAST, LOG = "model-best", "model-last", "log.jsonl"
logger = logging.getLogger(__name__)


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
    if resume:
        _go_on(run, output, setup)
    progress = run.progress
    if run.finished:
        return progress
    evaluate = create_evaluation_callback(nlp, setup.dev_corpus, settings["score_weights"])
    batches = settings["batcher"](setup.streams)
    steps = updates(nlp, settings, batches, lambda: on_first(evaluate), progress)
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
        nlp.meta[CHOSEN] = progress.best_step == progress.step
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


def _go_on(run: Checkpoint, output: Path, setup: Setup) -> None:
    """Bring a run, and all that training changes, to where the run in `output` was saved."""
    saved = on_first(lambda: Checkpoint.read(output))
    if saved is None:
        logger.info("%s: no run to resume: this one starts from the beginning", output)
        return
    saved.require_same(run, output)
    run.progress, run.finished = saved.progress, saved.finished
    if saved.finished:
        logger.info("%s: the run there has ended: nothing is left to do", output)
        return
    restore(setup.nlp, setup.settings["optimizer"], saved.tensors, saved.counts)
    set_random_states(saved.random_states[rank()])
    setup.nlp.meta["performance"] = saved.performance
    for _, pipe in setup.nlp.pipeline:  # models are saved with the rate of their last update
        if isinstance(model := getattr(pipe, "model", None), Model):
            set_dropout_rate(model, setup.settings["dropout"])
    logger.info("%s: going on from step %d", output, run.progress.step)


def _cut(log: Path, lines: int) -> None:
    """Keep the first lines of a log."""
    kept = log.read_text(encoding="utf-8").splitlines(keepends=True)[:lines] if lines else []
    write_whole(log, "".join(kept))


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
