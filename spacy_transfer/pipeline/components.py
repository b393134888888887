"""The transfer components of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spacy.language import Language

from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.scoring import main_score

CHOSEN = "chosen_by_dev"
"""In the meta data of a pipeline: whether it is the best of its run by dev score."""


def transfer_pipes(nlp: Language) -> list[TransferPipe]:
    """The transfer components of a pipeline."""
    return [pipe for _, pipe in nlp.pipeline if isinstance(pipe, TransferPipe)]


def the_transfer_pipe(nlp: Language, model: str, name: str | None = None) -> TransferPipe:
    """The transfer component of that name, or the only one that there is.

    Raises ValueError, which names the `model`, where there is none, or several and no name.
    """
    pipes = {name: pipe for name, pipe in nlp.pipeline if isinstance(pipe, TransferPipe)}
    found = ", ".join(pipes) or "none"
    if name is not None:
        if name not in pipes:
            raise ValueError(f"{model}: no transfer component {name!r}; found {found}")
        return pipes[name]
    if len(pipes) > 1:
        raise ValueError(f"{model}: expected one transfer component, or --component; found {found}")
    if not pipes:
        raise ValueError(f"{model}: expected one transfer component; found none")
    return next(iter(pipes.values()))


def source_scores(nlp: Language, scores: Mapping[str, Any]) -> dict[str, float]:
    """Of the scores of an evaluation, the one that counts of each source that was looked at."""
    names = [
        f"{task}_{main_score(pipe.layer_of(task))}"
        for pipe in transfer_pipes(nlp)
        for task in pipe.tasks[1:]
    ]
    return {name: scores[name] for name in names if name in scores}
