"""`transfer_chunker`: flat spans in a span group, learned from a target corpus and sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spacy.vocab import Vocab

from spacy_transfer.corpus.schemes import TagScheme
from spacy_transfer.models.tagger import TransferModel
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.confidence import Confidence


class TransferChunker(TransferPipe):
    """Sets `doc.spans[spans_key]`; spans that were there before are replaced.

    A document without that group is not annotated; one with an empty group has no chunk.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: TransferModel,
        name: str,
        *,
        spans_key: str,
        tag_scheme: TagScheme,
        scorer: Callable[..., dict[str, Any]] | None,
        confidence: Confidence | None = None,
    ) -> None:
        """Create a component: as `TransferPipe`, with the layer `spans:SPANS_KEY`."""
        super().__init__(
            vocab,
            model,
            name,
            layer=f"spans:{spans_key}",
            tag_scheme=tag_scheme,
            scorer=scorer,
            confidence=confidence,
        )
        self.cfg["spans_key"] = spans_key  # for the scorer

    def _loaded(self, asked: dict[str, Any]) -> None:
        """As of all components; the key is that of the config, whatever it was in training."""
        super()._loaded(asked)
        self.cfg["spans_key"] = asked["spans_key"]
