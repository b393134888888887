"""`transfer_ner`: named entities, learned from a target corpus and related sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spacy.scorer import get_ner_prf
from spacy.training import Example

from spacy_transfer.pipeline.base import TransferPipe


class TransferNer(TransferPipe):
    """Adds to `doc.ents`: entities that were there before stay, ours are found around them."""


def score_entities(examples: Iterable[Example], **cfg: Any) -> dict[str, Any]:  # noqa: ARG001
    """Precision, recall and F1 over entities, all together (micro) and by type."""
    scores: dict[str, Any] = get_ner_prf(examples)
    return scores


def make_ner_scorer() -> Callable[..., dict[str, Any]]:
    """`spacy_transfer.NerScorer.v1`."""
    return score_entities
