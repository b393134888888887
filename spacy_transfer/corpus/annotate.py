"""Writing spans into a layer of a document."""

from __future__ import annotations

from collections.abc import Iterable

from spacy.tokens import Doc
from spacy.tokens import Span as DocSpan

from spacy_transfer.corpus.schemes import Span


def set_spans(doc: Doc, layer: str, spans: Iterable[Span], missing: Iterable[int] = ()) -> None:
    """Set `ents` or `spans:KEY`; all tokens but those in `missing` are then known."""
    found = [DocSpan(doc, start, end, label=label) for start, end, label in spans]
    if layer == "ents":
        doc.set_ents(found, missing=[doc[i : i + 1] for i in missing], default="outside")
    else:
        doc.spans[layer.partition(":")[2]] = found
