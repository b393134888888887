"""A new network over the words and tags of a component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from spacy.tokens import Doc
from spacy.util import load_model
from spacy.vectors import Vectors

from spacy_transfer.corpus.gazetteers import read_phrases
from spacy_transfer.models.gazetteer import Gazetteer
from spacy_transfer.models.shim import Blueprint, WordLevel
from spacy_transfer.models.vocabulary import VocabularyBuilder, initial_vectors
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.projection import ProjectionName
from spacy_transfer.nn.sharing import Sharing
from spacy_transfer.nn.tagger import TransferTagger


def build_network(
    encoder: EncoderSettings,
    objective: ObjectiveSettings,
    sharing: Sharing,
    projection: ProjectionName,
    tasks: Mapping[str, int],
    matched: Mapping[str, list[tuple[int, int]]],
    words: Mapping[str, VocabularyBuilder],
    vectors: Vectors,
    source_vectors: Mapping[str, Path | str | None],
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
        words: the words of the training examples, by word level.
        vectors: the pipeline's, where the rows of these words start, and which give other words
            their static vectors.
        source_vectors: pipelines with the vectors of word levels that do not have these.
        gazetteer: gives features of tokens.
        frozen: sources whose heads are not trained.
    """
    starts = {
        group: vectors_of(source_vectors[group]) if group in source_vectors else vectors
        for group in words
    }
    blueprint = Blueprint(
        encoder=encoder,
        objective=objective,
        sharing=sharing,
        tasks=dict(tasks),
        matched={task: len(pairs) for task, pairs in matched.items()},
        words={
            group: WordLevel([], encoder.word_embedding, static=False)
            if encoder.from_outside
            else WordLevel(
                sorted(found.words),
                starts[group].shape[1] or encoder.word_embedding,
                group not in source_vectors,
            )
            for group, found in words.items()
        },
        characters="".join(sorted(set().union(*(found.characters for found in words.values())))),
        gazetteers=gazetteer.lists if gazetteer else [],
        gazetteer_lower=gazetteer is not None and gazetteer.lower,
        projection=projection,
        frozen=list(frozen),
    )
    network = blueprint.build()
    for group, found in () if encoder.from_outside else words.items():
        listed = blueprint.words[group].words
        positions, values = initial_vectors(listed, found.surface, starts[group])
        rare = np.array([found.words[word] == 1 for word in listed])
        rare[positions] = False
        network.set_words(
            group, torch.from_numpy(positions), torch.from_numpy(values), torch.from_numpy(rare)
        )
    for task, pairs in matched.items():
        network.set_matched(task, pairs)
    return blueprint, network


def read_gazetteer(
    files: Mapping[str, Path | str], lower: bool, make_doc: Callable[[str], Doc] | None
) -> Gazetteer | None:
    """A gazetteer of some files of phrases, by the names of its lists; None for no files.

    CorpusError for a file that cannot be read or has no phrase.
    """
    lists = {name: read_phrases(Path(path), make_doc) for name, path in files.items()}
    return Gazetteer.of(lists, lower) if lists else None


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
