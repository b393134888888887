"""Writing spans or tags into a layer of a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spacy.tokens import Doc
from spacy.tokens import Span as DocSpan

from spacy_transfer.corpus.schemes import Span, decode


def set_spans(doc: Doc, layer: str, spans: Iterable[Span], missing: Iterable[int] = ()) -> None:
    """Set `ents` or `spans:KEY`; all tokens but those in `missing` are then known."""
    found = [DocSpan(doc, start, end, label=label) for start, end, label in spans]
    if layer == "ents":
        doc.set_ents(found, missing=[doc[i : i + 1] for i in missing], default="outside")
    else:
        doc.spans[layer.partition(":")[2]] = found


def set_tags(doc: Doc, layer: str, tags: Sequence[str]) -> None:
    """Set any layer from a tag for each token; what was there before is replaced."""
    if layer != "tag":
        set_spans(doc, layer, decode(tags))
        return
    for token, tag in zip(doc, tags, strict=True):
        token.tag_ = tag
