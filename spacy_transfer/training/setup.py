"""From a config to a pipeline that is ready to train, with its corpora."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confection import Config, ConfigValidationError
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import registry, resolve_dot_names

from spacy_transfer.corpus.streams import TaskStreams, streams_of
from spacy_transfer.models.device import use_gpu as choose_gpu


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
    with _short_errors():
        nlp = init_nlp(config, use_gpu=choose_gpu(use_gpu))
        resolved = nlp.config.interpolate()
        settings = registry.resolve(resolved["training"], schema=ConfigSchemaTraining)
        if settings["eval_frequency"] < 1:
            raise ValueError("training.eval_frequency must be at least 1")
        corpora = resolve_dot_names(resolved, [settings["train_corpus"], settings["dev_corpus"]])
    streams = streams_of(corpora[0](nlp))
    for task in streams.tasks:
        streams.weights(task)  # what cannot be weighed is an error before anything is written
    return Setup(nlp, settings, streams, corpora[1])


@contextmanager
def _short_errors() -> Iterator[None]:
    """Name the settings that are wrong on one line, without all those around them."""
    try:
        yield
    except ConfigValidationError as error:
        wrong = [f"{' -> '.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors]
        raise ValueError(f"{error.title}: {'; '.join(wrong)}") from error
