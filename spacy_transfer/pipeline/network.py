"""A new network over the words and tags of a component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from spacy.util import load_model
from spacy.vectors import Vectors

from spacy_transfer.models.gazetteer import Gazetteer
from spacy_transfer.models.shim import Blueprint, WordLevel
from spacy_transfer.models.vocabulary import VocabularyBuilder, initial_vectors
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.projection import ProjectionName
from spacy_transfer.nn.sharing import Sharing
from spacy_transfer.nn.tagger import TransferTagger


@dataclass(frozen=True)
class Words:
    """What a word level starts from.

    Attributes:
        found: the words of the training examples.
        vectors: where their rows start.
        static: whether these are the vectors of the pipeline, which gives them to other words too.
    """

    found: VocabularyBuilder
    vectors: Vectors
    static: bool


def build_network(
    encoder: EncoderSettings,
    objective: ObjectiveSettings,
    sharing: Sharing,
    projection: ProjectionName,
    tasks: Mapping[str, int],
    matched: Mapping[str, list[tuple[int, int]]],
    words: Mapping[str, Words],
    gazetteer: Gazetteer | None,
    *,
    frozen: Sequence[str] = (),
) -> tuple[Blueprint, TransferTagger]:
    """An untrained network, its word embeddings started from vectors, and its blueprint.

    Args:
        encoder: kinds and widths of the encoders.
        objective: the weights of the loss.
        sharing: what sources have in common with the target.
        projection: what tasks have of their own before the heads.
        tasks: number of tag ids of each task's head, the target first.
        matched: pairs of tag ids (source, target) that mean the same, by source.
        words: the word levels.
        gazetteer: gives features of tokens.
        frozen: sources whose heads are not trained.
    """
    blueprint = Blueprint(
        encoder=encoder,
        objective=objective,
        sharing=sharing,
        tasks=dict(tasks),
        matched={task: len(pairs) for task, pairs in matched.items()},
        words={
            group: WordLevel(
                sorted(level.found.words),
                level.vectors.shape[1] or encoder.word_embedding,
                level.static,
            )
            for group, level in words.items()
        },
        characters="".join(sorted(set().union(*(w.found.characters for w in words.values())))),
        gazetteers=gazetteer.lists if gazetteer else [],
        gazetteer_lower=gazetteer is not None and gazetteer.lower,
        projection=projection,
        frozen=list(frozen),
    )
    network = blueprint.build()
    for group, level in words.items():
        listed = blueprint.words[group].words
        positions, values = initial_vectors(listed, level.found.surface, level.vectors)
        rare = np.array([level.found.words[word] == 1 for word in listed])
        rare[positions] = False
        network.set_words(
            group, torch.from_numpy(positions), torch.from_numpy(values), torch.from_numpy(rare)
        )
    for task, pairs in matched.items():
        network.set_matched(task, pairs)
    return blueprint, network


def vectors_of(pipeline: Path | str | None) -> Vectors:
    """The vectors of a pipeline, a folder or a package; of None, no vectors.

    ValueError where there are none.
    """
    if pipeline is None:
        return Vectors()
    try:
        vectors = load_model(pipeline).vocab.vectors
    except OSError as error:
        raise ValueError(f"{pipeline}: expected a pipeline with vectors: {error}") from error
    if not vectors.shape[0]:
        raise ValueError(f"{pipeline}: expected a pipeline with vectors; it has none")
    return vectors
