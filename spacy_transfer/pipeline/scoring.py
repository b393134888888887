"""Scores of a task by the layer that it is on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spacy.training import Example
from spacy.util import registry

from spacy_transfer.corpus.gold import is_annotated

_SCORERS = {
    "ents": "spacy_transfer.NerScorer.v1",
    "tag": "spacy_transfer.TagScorer.v1",
    "spans": "spacy.spancat_scorer.v1",
}


def main_score(layer: str) -> str:
    """The name of the score that counts in a layer."""
    kind, _, key = layer.partition(":")
    return {"ents": "ents_f", "tag": "tag_acc", "spans": f"spans_{key}_f"}[kind]


def score_layer(examples: Sequence[Example], layer: str) -> dict[str, Any]:
    """The scores of predictions in a layer; ValueError where no reference is annotated in it."""
    if not any(is_annotated(example.reference, layer) for example in examples):
        raise ValueError(f"none of {len(examples)} documents is annotated in layer {layer!r}")
    kind, _, key = layer.partition(":")
    scorer = registry.get("scorers", _SCORERS[kind])()
    scores: dict[str, Any] = scorer(examples, spans_key=key)
    return scores
