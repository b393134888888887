"""Gold annotation of an example, on the tokens of its predicted document.

A layer is `ents` (entities), `tag` (`Token.tag_`) or `spans:KEY` (`Doc.spans[KEY]`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from spacy.tokens import Doc
from spacy.tokens import Span as DocSpan
from spacy.training import Example

from spacy_transfer.corpus.schemes import Span, TagScheme, encode

_SPANS = "spans:"


def check_layer(layer: str) -> None:
    """Raise ValueError unless `layer` is `ents`, `tag` or `spans:KEY`."""
    if layer not in ("ents", "tag") and not (layer.startswith(_SPANS) and layer != _SPANS):
        raise ValueError(f"unknown layer {layer!r}: expected 'ents', 'tag' or 'spans:KEY'")


def is_annotated(doc: Doc, layer: str) -> bool:
    """Whether `doc` carries annotation of `layer`.

    One token known to be inside or outside an entity, one tag, or the span group (an empty one
    too) is enough.
    """
    if layer == "ents":
        return bool(doc.has_annotation("ENT_IOB"))
    if layer == "tag":
        return bool(doc.has_annotation("TAG"))
    return _key(layer) in doc.spans


def gold_spans(example: Example, layer: str) -> list[Span] | None:
    """The spans of `ents` or `spans:KEY` as (start, end, label), in text order.

    Tokens are those of `example.predicted`; a gold span that does not begin and end at a token
    boundary there is left out. None when the reference carries no annotation of the layer.

    Raises ValueError when spans of a group overlap: a sequence of tags cannot hold them.
    """
    reference = example.reference
    if not is_annotated(reference, layer):
        return None
    spans = reference.ents if layer == "ents" else _flat_group(reference, _key(layer))
    if not _same_tokens(example):
        spans = example.get_aligned_spans_y2x(spans, allow_overlap=False)
    return [(span.start, span.end, span.label_) for span in spans]


def gold_tags(example: Example, layer: str, scheme: TagScheme) -> list[str] | None:
    """One gold tag for each token of `example.predicted`, "" where it is not known.

    Spans are encoded with `scheme`. Not known are tokens of which `ents` does not say whether they
    are inside an entity. Tags of the `tag` layer are those of `token_tags`. None when the reference
    carries no annotation of the layer.
    """
    if layer == "tag":
        return token_tags(example)
    spans = gold_spans(example, layer)
    if spans is None:
        return None
    tags = encode(spans, len(example.predicted), scheme)
    if layer == "ents":
        for token in _missing(example):
            tags[token] = ""
    return tags


def token_tags(example: Example) -> list[str] | None:
    """The reference's tags on the tokens of `example.predicted`; None when it has no tag.

    "" says that a tag is not known: the token has none, or stands for several tokens of the
    reference with different tags.
    """
    if not is_annotated(example.reference, "tag"):
        return None
    if _same_tokens(example):
        return [token.tag_ for token in example.reference]
    return [tag or "" for tag in example.get_aligned("TAG", as_string=True)]


def annotated_spans(doc: Doc, layer: str) -> Iterator[DocSpan]:
    """What `layer` annotates in `doc`: entities, spans of the group, or each token with a tag."""
    if layer == "ents":
        yield from doc.ents
    elif layer == "tag":
        yield from (doc[token.i : token.i + 1] for token in doc if token.tag)
    else:
        yield from doc.spans.get(_key(layer), ())


def labels_in(example: Example, layer: str) -> Counter[str]:
    """The entity or span labels, or the tags, of the reference document, with their numbers."""
    reference = example.reference
    if layer == "ents":
        return Counter(span.label_ for span in reference.ents)
    if layer == "tag":
        return Counter(token.tag_ for token in reference if token.tag)
    return Counter(span.label_ for span in reference.spans.get(_key(layer), ()))


def _key(layer: str) -> str:
    check_layer(layer)
    return layer.removeprefix(_SPANS)


def _same_tokens(example: Example) -> bool:
    # Bytes compare ten times faster than arrays of a sentence's length.
    predicted, reference = (
        doc.to_array("ORTH").tobytes() for doc in (example.predicted, example.reference)
    )
    return bool(predicted == reference)


def _missing(example: Example) -> list[int]:
    """Tokens of `example.predicted` that stand for a token of which `ents` knows nothing."""
    unknown = example.reference.to_array("ENT_IOB") == 0
    if not unknown.any():
        return []
    if _same_tokens(example):
        return list(unknown.nonzero()[0])
    aligned = example.alignment.x2y
    return [i for i in range(len(example.predicted)) if unknown[aligned[i]].any()]


def _flat_group(doc: Doc, key: str) -> list[DocSpan]:
    spans = sorted(doc.spans[key], key=lambda span: (span.start, span.end))
    for left, right in itertools.pairwise(spans):
        if right.start < left.end:
            raise ValueError(
                f"spans of doc.spans[{key!r}] overlap: {left.label_} at characters "
                f"{left.start_char}-{left.end_char} and {right.label_} at "
                f"{right.start_char}-{right.end_char} ({left.text!r}, {right.text!r}); "
                "a layer of tags holds flat spans only"
            )
    return spans
