"""A target that starts from a saved source pipeline, with no text of the source at hand.

That is re-training (Lee et al. 2017, a baseline of Wang et al. 2018) and, where the objective ties
the CRFs (beta), the case that Wang et al. argue for in §4.1: texts that may not leave a hospital.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from spacy.util import load_model
from torch import Tensor

from spacy_transfer.models.shim import Blueprint, TransferShim
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.models.vocabulary import Normalizer, VocabularyBuilder
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.tagger import Head, TransferTagger
from spacy_transfer.pipeline.survey import TaskSurvey
from spacy_transfer.pipeline.tasks import TaskTags

if TYPE_CHECKING:
    from spacy_transfer.pipeline.base import TransferPipe

logger = logging.getLogger(__name__)

SOURCE = "source"
"""The name of the saved pipeline's task in the new one."""
LAYERS = ("characters", "embeddings", "words", "crf")
"""What can be carried over: characters with their encoder, words, the word encoder, the CRF."""
_FREE = {"word_dropout", "word_embedding"}  # the width of the embeddings is that of the vectors


class SourcePipeline:
    """The task that a saved pipeline tags, and the weights that it does so with."""

    def __init__(self, path: Path | str, carry_over: Collection[str]) -> None:
        """Load a folder or a package; ValueError where it has no trained component of ours, or
        for an unknown layer."""
        for layer in carry_over:
            if layer not in LAYERS:
                raise ValueError(
                    f"carry_over: expected some of {', '.join(LAYERS)}; found {layer!r}"
                )
        try:
            nlp = load_model(path)
        except OSError as error:
            raise ValueError(f"{path}: expected a saved pipeline: {error}") from error
        pipes = [pipe for _, pipe in nlp.pipeline if _is_ours(pipe)]
        if len(pipes) != 1:
            raise ValueError(f"{path}: expected one transfer component; found {len(pipes)}")
        self.path = path
        self._carry_over = carry_over
        self._pipe: TransferPipe = pipes[0]
        shim = shim_of(self._pipe.model)
        assert shim.blueprint is not None
        self._blueprint, self._network = shim.blueprint, shim.network
        projection = self._blueprint.projection != "none"
        if self._blueprint.gazetteers or projection or self._blueprint.encoder.from_outside:
            raise ValueError(
                f"{path}: a pipeline with gazetteers, a projection or a tok2vec cannot be carried "
                f"over"
            )

    def survey(self, normalize: Normalizer) -> TaskSurvey:
        """What is known of the source: its labels, and the words and characters to carry over."""
        builder = VocabularyBuilder(normalize)
        if "embeddings" in self._carry_over:
            words = self._blueprint.words[self._group].words
            builder.words.update(dict.fromkeys(words, 2))  # not rare: they have been learned
            builder.surface.update(zip(words, words, strict=True))
        if "characters" in self._carry_over:
            builder.characters.update(self._blueprint.characters)
        size = self._pipe.cfg["corpora"].get(self._pipe.task, {})
        counts = size.get("labels", {})
        labels = Counter({label: counts.get(label, 0) for label in self._pipe.labels})
        return TaskSurvey(
            SOURCE,
            self._pipe.task_layer,
            builder,
            labels,
            sentences=size.get("sentences", 0),
            tokens=size.get("tokens", 0),
        )

    @property
    def _group(self) -> str:
        return self._blueprint.sharing.words_of(self._pipe.task)

    def check(self, blueprint: Blueprint, tag_scheme: str) -> None:
        """Hold what is carried over against what takes it; ValueError for the first difference, or
        with T-C, where there is nothing to take it."""
        if blueprint.sharing.words_of(SOURCE) == SOURCE:
            raise ValueError(f"{self.path}: a saved source needs the sharing plan T-A or T-B")
        ours, theirs = _settings(blueprint), _settings(self._blueprint)
        ours["width of the word embeddings"] = blueprint.words[blueprint.sharing.target].width
        theirs["width of the word embeddings"] = self._blueprint.words[self._group].width
        ours["tag_scheme"], theirs["tag_scheme"] = tag_scheme, self._pipe.cfg["tag_scheme"]
        for name, value in theirs.items():
            if ours[name] != value:
                raise ValueError(
                    f"{self.path}: its {name} is {value}, this pipeline's is {ours[name]}: what is "
                    f"carried over must fit"
                )

    def carry(
        self,
        blueprint: Blueprint,
        network: TransferTagger,
        tags: TaskTags,
        matched: Sequence[tuple[int, int]],
    ) -> None:
        """Start a network from the saved weights, the source's head in any case.

        Args:
            blueprint: what the network was built from.
            network: a new network.
            tags: the tags of the source in it.
            matched: pairs of tag ids (source, target) that mean the same.
        """
        old, target = self._network, blueprint.sharing.target
        ids = self._pipe.task_tags(self._pipe.task).ids
        head = network.head(SOURCE)
        with torch.no_grad():
            if network.characters is not None and "characters" in self._carry_over:
                assert old.characters is not None
                _copy_rows(
                    network.characters.embedding.weight,
                    blueprint.characters,
                    old.characters.embedding.weight,
                    self._blueprint.characters,
                )
                network.characters.encoder.load_state_dict(old.characters.encoder.state_dict())
            if "embeddings" in self._carry_over:
                _copy_rows(
                    network.embedding(target).weight,
                    blueprint.words[target].words,
                    old.embedding(self._group).weight,
                    self._blueprint.words[self._group].words,
                )
            if "words" in self._carry_over:
                network.words[target].load_state_dict(old.words[self._group].state_dict())
            in_both = [(number, ids[tag]) for tag, number in tags.ids.items()]
            _copy_tags(head, old.head(self._pipe.task), in_both)
            if "crf" in self._carry_over and head is not network.head(target):
                _copy_tags(network.head(target), head, [(ours, theirs) for theirs, ours in matched])
        logger.info(
            "Started from %s: %s of a task of %d labels, %d tags of which match the target's.",
            self.path,
            ", ".join(self._carry_over) or "nothing but its CRF,",
            len(tags.task.labels),
            len(matched),
        )


def _is_ours(pipe: object) -> bool:
    model = getattr(pipe, "model", None)
    shims = getattr(model, "shims", [])
    return bool(shims) and isinstance(shims[0], TransferShim) and shims[0].blueprint is not None


def _settings(blueprint: Blueprint) -> dict[str, object]:
    encoder: EncoderSettings = blueprint.encoder
    return {name: value for name, value in asdict(encoder).items() if name not in _FREE}


def _copy_rows(
    rows: Tensor, names: Sequence[str], old_rows: Tensor, old_names: Sequence[str]
) -> None:
    """Copy the rows of names that both have, and of the unknown (row 0)."""
    old = {name: row for row, name in enumerate(old_names, start=1)}
    pairs = [(0, 0)]
    pairs += [(row, old[name]) for row, name in enumerate(names, start=1) if name in old]
    ours, theirs = torch.tensor(pairs).T
    rows[ours] = old_rows[theirs].to(rows.device)


def _copy_tags(head: Head, old: Head, pairs: Sequence[tuple[int, int]]) -> None:
    """Copy what belongs to some tags, given as pairs of ids (in `head`, in `old`)."""
    ours, theirs = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    width = old.emission.weight.shape[1]
    head.emission.weight[ours, :width] = old.emission.weight[theirs]
    head.emission.bias[ours] = old.emission.bias[theirs]
    head.crf.start[ours] = old.crf.start[theirs]
    head.crf.end[ours] = old.crf.end[theirs]
    head.crf.transitions[ours[:, None], ours] = old.crf.transitions[theirs[:, None], theirs]
