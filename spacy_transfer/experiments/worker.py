"""Trains and scores one run, in a process of its own:

    python -m spacy_transfer.experiments.worker FOLDER

FOLDER has its `config.cfg` and `run.json` and gets its `result.json`. The run ends when its
standard input does, which the process that started it keeps open.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import spacy
import torch
from confection import Config
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.util import load_config
from thinc.api import Model

from spacy_transfer.corpus.lines import write_whole
from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.evaluation.counts import count_correct, pack, predicted
from spacy_transfer.experiments.locks import one_of_many
from spacy_transfer.experiments.results import COUNTS, HISTORY, MORE_TESTS
from spacy_transfer.experiments.run import COMPUTED_BY
from spacy_transfer.pipeline.components import transfer_pipes
from spacy_transfer.training.logger import shown_log
from spacy_transfer.training.loop import BEST, LOG, train
from spacy_transfer.training.resume import CHECKPOINT

CONFIG, RUN, RESULT = "config.cfg", "run.json", "result.json"


def work(folder: Path) -> None:
    """Do the run whose files are in `folder`, or what is left of it after a kill."""
    settings = json.loads((folder / RUN).read_text(encoding="utf-8"))
    config = load_config(folder / CONFIG, interpolate=False)
    with shown_log():
        progress = train(config, folder, use_gpu=settings["gpu_id"], resume=True)
    nlp = spacy.load(folder / BEST)
    started = time.monotonic()
    tested = _test(nlp, settings["test"], settings)
    more = {name: _test(nlp, path, settings) for name, path in settings[MORE_TESTS].items()}
    result = {
        "dev_score": progress.best_score,
        **tested,
        "best_step": progress.best_step,
        "steps": progress.step,
        "words": progress.words,
        **_logged(folder / LOG, progress.best_step),
        "train_seconds": round(progress.seconds, 1),
        "test_seconds": round(time.monotonic() - started, 1),
        **_sizes(nlp, config),
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in COMPUTED_BY},
        MORE_TESTS: more,
    }
    write_whole(folder / RESULT, json.dumps(result, indent=2))
    # Before the models: it would say of a run without them that nothing is left to do.
    (folder / CHECKPOINT).unlink()
    if not settings["keep_models"]:
        for model in folder.glob("model-*"):
            # Other runs start from a pipeline that is there: it goes in one step.
            shutil.rmtree(model.replace(model.with_name(f".{model.name}.removed")))


def _test(nlp: Language, path: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What the pipeline scores on a test corpus."""
    examples = predicted(nlp, task_corpus(Path(path), settings["layer"])(nlp))
    scores = Scorer(nlp).score(examples)
    return {
        "test_score": scores[settings["score"]],
        "test_scores": {k: v for k, v in scores.items() if isinstance(v, int | float)},
        "test_tokens": sum(len(example.reference) for example in examples),
        COUNTS: pack(count_correct(examples, settings["layer"])),
    }


def _logged(log: Path, best_step: int) -> dict[str, Any]:
    """The history of a run, and the epoch and the losses at its best step."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    [best] = [line for line in lines if line["step"] == best_step]
    return {
        "epoch": best["epoch"],
        "losses": best["losses"],
        HISTORY: [[line["step"], line["seconds"], line["score"]] for line in lines],
    }


def _sizes(nlp: Language, config: Config) -> dict[str, Any]:
    """Parameters and labels of the pipeline, and what it learned from."""
    [pipe] = transfer_pipes(nlp)
    corpora = config.interpolate()["corpora"]["train"]
    of_tasks = {TARGET: corpora.get("target"), **corpora["sources"]}
    tokens = {
        task: sum(task_corpus(**_arguments(entry)).lengths())
        for task, entry in of_tasks.items()
        if entry
    }
    return {
        "parameters": _parameters(nlp),
        "labels": len(pipe.labels),
        "tokens": tokens,
    }


def _parameters(nlp: Language) -> int:
    """How many weights all components have: a transformer that one listens to is another."""
    models = [getattr(pipe, "model", None) for _, pipe in nlp.pipeline]
    nodes = [node for model in models if isinstance(model, Model) for node in model.walk()]
    networks = [shim._model for node in nodes for shim in node.shims if hasattr(shim, "_model")]
    of_torch = [parameter.numel() for network in networks for parameter in network.parameters()]
    of_thinc = [node.get_param(name).size for node in nodes for name in node.param_names]
    return int(sum(of_torch) + sum(of_thinc))


def _arguments(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if not name.startswith("@")}


def _end_with_input() -> None:
    """Stop when the process that started this one is gone, so that no run is done twice."""
    os.read(0, 1)  # not sys.stdin, whose lock a thread must not hold when Python ends
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    [folder] = map(Path, sys.argv[1:])
    with one_of_many(folder.parents[1]):
        work(folder)
