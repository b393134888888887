"""Checkpoints, from which a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from spacy.language import Language
from torch import Tensor

from spacy_transfer.corpus.checksum import contents
from spacy_transfer.models.device import default_device
from spacy_transfer.training.progress import Progress

CHECKPOINT = "checkpoint.safetensors"
_HEADER = "spacy_transfer.checkpoint.v1"
_COMPUTED_BY = ("spacy-transfer", "spacy", "thinc", "numpy", "torch")
logger = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """A run at one of its evaluations.

    Attributes:
        settings: the config by dotted names, with hashes of the files that it names.
        computed_by: versions, threads and device: with others, results differ.
        progress: how far the run has come.
        random_states: those of each process.
        performance: what the pipeline's meta data say of it.
        counts: numbers that the optimizer keeps.
        finished: whether the run has ended. There are no tensors then.
        tensors: parameters, and what the optimizer keeps of them.
    """

    settings: dict[str, Any]
    computed_by: dict[str, str]
    progress: Progress
    random_states: list[dict[str, Any]] = field(default_factory=list)
    performance: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Put it in the place of the last one: there is one of the two at every moment."""
        # Not asdict, which copies tensors too.
        values = {**vars(self), "progress": asdict(self.progress)}
        tensors = values.pop("tensors")
        new = folder / f".{CHECKPOINT}.new"
        with new.open("wb") as file:
            file.write(save(tensors, metadata={_HEADER: json.dumps(values)}))
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / CHECKPOINT)

    @classmethod
    def read(cls, folder: Path) -> Checkpoint | None:
        """The checkpoint in a folder, or None. ValueError where the file is none."""
        path = folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                values = json.loads(file.metadata()[_HEADER])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a checkpoint of a training run ({error})") from error
        progress = Progress(**values.pop("progress"))
        progress.history = [(score, step) for score, step in progress.history]
        return cls(progress=progress, tensors=tensors, **values)

    def require_same(self, now: Checkpoint, folder: Path) -> None:
        """Raise ValueError naming the settings and files that are others now; warn of versions."""
        differences: dict[tuple[str, str], str] = {}
        for name in {**self.settings, **now.settings}:
            pair = json.dumps(self.settings.get(name)), json.dumps(now.settings.get(name))
            if pair[0] != pair[1]:  # named once: others may refer to it
                differences.setdefault(pair, _difference(name, *pair))
        if differences:
            raise ValueError(
                f"{folder}: the run there cannot be resumed with other settings: "
                f"{'; '.join(differences.values())}"
            )
        began, goes_on = self.random_states, now.random_states
        if not self.finished and len(began) != len(goes_on):
            raise ValueError(
                f"{folder}: the run there was begun by {len(began)} processes and cannot be "
                f"resumed by {len(goes_on)}"
            )
        for name, found in now.computed_by.items():
            if self.computed_by.get(name) != found:
                logger.warning(
                    "The run was begun with %s %s and goes on with %s: its result may differ.",
                    *(name, self.computed_by.get(name), found),
                )


def identity(nlp: Language) -> tuple[dict[str, Any], dict[str, str]]:
    """What determines the result of a run: its settings, and what computes it."""
    settings = dict(_flat(json.loads(json.dumps(contents(nlp.config.interpolate())))))
    computed_by = {name: version(name) for name in _COMPUTED_BY}
    computed_by |= {"threads": str(torch.get_num_threads()), "device": default_device().type}
    return settings, computed_by


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        inside = isinstance(value, dict) and value
        found += _flat(value, f"{prefix}{name}.") if inside else [(f"{prefix}{name}", value)]
    return found


def _difference(name: str, before: str, now: str) -> str:
    if before[0] == now[0] == "[":
        return f"{name} has other contents"
    return f"{name} is {now}, was {before}"
