"""Writing spans or tags into a layer of a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from spacy.attrs import ENT_IOB
from spacy.tokens import Doc
from spacy.tokens import Span as DocSpan

from spacy_transfer.corpus.schemes import Span, decode


def set_spans(doc: Doc, layer: str, spans: Iterable[Span], missing: Iterable[int] = ()) -> None:
    """Set `ents` or `spans:KEY`; all tokens but those in `missing` are then known.

    Entities that were there before stay, as far as none of these is in their place; a span group is
    replaced.
    """
    found = [DocSpan(doc, start, end, label=label) for start, end, label in spans]
    if layer != "ents":
        doc.spans[layer.partition(":")[2]] = found
        return
    unknown = set(missing)
    options: dict[str, Any] = {"missing": [doc[i : i + 1] for i in unknown], "default": "outside"}
    if doc.has_annotation("ENT_IOB"):
        new = unknown.union(*(range(span.start, span.end) for span in found))
        known = doc.to_array(ENT_IOB).tolist()
        outside = [doc[i : i + 1] for i, iob in enumerate(known) if not iob and i not in new]
        options |= {"outside": outside, "default": "unmodified"}
    doc.set_ents(found, **options)


def set_tags(doc: Doc, layer: str, tags: Sequence[str]) -> None:
    """Set any layer from a tag for each token; entities that were there before stay, as in
    `set_spans`, and anything else is replaced."""
    if layer != "tag":
        set_spans(doc, layer, decode(tags))
        return
    for token, tag in zip(doc, tags, strict=True):
        token.tag_ = tag
