"""What trained pipelines tag, and what they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Example
from spacy.util import dot_to_object, registry

from spacy_transfer.corpus.gold import is_annotated
from spacy_transfer.corpus.streams import TaskStreams
from spacy_transfer.corpus.task_corpus import TaskCorpus, evaluation_examples
from spacy_transfer.evaluation.counts import predicted
from spacy_transfer.pipeline.components import transfer_pipes


def evaluate_on(nlp: Language, data: Path) -> dict[str, Any]:
    """All scores of a pipeline on a `.spacy` file or a folder of them.

    `spacy evaluate` has those alone whose names it knows: no chunks, and no unseen words.

    Raises CorpusError where there are no documents to read.
    """
    scores: dict[str, Any] = nlp.evaluate(list(evaluation_examples(nlp, data)))
    return scores


def layer_of(pipelines: Mapping[str, Language]) -> str:
    """The layer that the transfer components of all pipelines tag; ValueError unless it is one."""
    layers = set()
    for model, nlp in pipelines.items():
        found = {pipe.task_layer for pipe in transfer_pipes(nlp)}
        if len(found) != 1:
            raise ValueError(
                f"{model}: expected transfer components for one layer, found "
                f"{', '.join(sorted(found)) or 'none'}: say with --layer what to compare"
            )
        layers |= found
    if len(layers) != 1:
        raise ValueError(
            f"{' and '.join(pipelines)} tag {' and '.join(sorted(layers))}: expected one layer, or "
            "--layer to say which to compare"
        )
    return str(layers.pop())


def annotate(model: str, nlp: Language, corpus: TaskCorpus) -> list[Example]:
    """A corpus as a pipeline annotates it; ValueError where it does not annotate its layer."""
    examples = predicted(nlp, corpus(nlp))
    if not any(is_annotated(example.predicted, corpus.layer) for example in examples):
        raise ValueError(
            f"{model}: expected a pipeline that annotates layer {corpus.layer!r}; "
            f"it has {', '.join(nlp.pipe_names) or 'no component'}"
        )
    return examples


def training_corpora(model: str, nlp: Language) -> dict[str, TaskCorpus]:
    """What a pipeline was trained on, by task, from the files that its config names.

    ValueError where it names none, or one that is not there.
    """
    config = nlp.config.interpolate()
    block = dot_to_object(config, config["training"]["train_corpus"])
    if block.get("@readers") != "spacy_transfer.TransferCorpus.v1":
        raise ValueError(
            f"{model}: expected a pipeline that `spacy transfer train` made: the config of this "
            f"one names no training corpora of tasks"
        )
    try:
        streams: TaskStreams = registry.resolve({"corpus": block})["corpus"](nlp)
    except ValueError as error:
        raise ValueError(
            f"{model}: its training corpora are needed where its config has them, seen from the "
            f"folder that it was trained in: {error}"
        ) from error
    return streams.corpora
