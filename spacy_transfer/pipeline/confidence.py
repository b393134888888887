"""`span._.confidence`: how sure a component is of a span.

Scores are where spaCy keeps those of span groups, in `attrs["scores"]`, and survive a DocBin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from spacy.tokens import Doc, Span, SpanGroup

from spacy_transfer.corpus.annotate import set_spans, set_tags
from spacy_transfer.corpus.schemes import Span as Found
from spacy_transfer.corpus.schemes import decode

SCORES, BELOW = "scores", "below"


@dataclass(frozen=True)
class Confidence:
    """What is done with the posterior probabilities of spans.

    ValueError for a threshold that is no probability.

    Attributes:
        threshold: spans of a lower probability are below it.
        below: whether these are dropped (`drop`), or only marked (`mark`).
    """

    threshold: float = 0.0
    below: Literal["drop", "mark"] = "drop"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1; found {self.threshold}")
        if self.below not in ("drop", "mark"):
            raise ValueError(f"below must be drop or mark; found {self.below!r}")


def set_with_scores(
    doc: Doc,
    layer: str,
    tags: Sequence[str],
    scores: Sequence[float],
    key: str,
    confidence: Confidence,
) -> None:
    """Set a layer from a tag for each token, and a span group with a score for each span (of plain
    tags, for each token).

    Args:
        doc: what is annotated.
        layer: `ents`, `tag` or `spans:KEY`; in the last case the group is that of the layer.
        tags: valid tags.
        scores: [tokens] the score of each span at its first token.
        key: of the span group otherwise.
        confidence: which spans are left out, of the layer and of the group, or marked in its
            `attrs["below"]`.
    """
    threshold, drop = confidence.threshold, confidence.below == "drop"
    kept = [span for span in _found(layer, tags) if not drop or scores[span[0]] >= threshold]
    if layer == "tag":
        starts = {start for start, _, _ in kept}
        set_tags(doc, layer, [tag if i in starts else "" for i, tag in enumerate(tags)])
    else:
        set_spans(doc, layer, kept)
        key = layer.partition(":")[2] or key
    of_kept = [float(scores[start]) for start, _, _ in kept]
    doc.spans[key] = SpanGroup(
        doc,
        name=key,
        spans=[Span(doc, start, end, label=label) for start, end, label in kept],
        attrs={SCORES: of_kept, BELOW: [score < threshold for score in of_kept]},
    )


class Reading(NamedTuple):
    """One way to annotate a whole Doc: its spans (of plain tags, the tokens), and the probability
    of all of them together."""

    spans: list[Span]
    probability: float


def reading_of(doc: Doc, layer: str, tags: Sequence[str], probability: float) -> Reading:
    """What valid tags come to."""
    spans = [Span(doc, start, end, label=label) for start, end, label in _found(layer, tags)]
    return Reading(spans, probability)


def _found(layer: str, tags: Sequence[str]) -> list[Found]:
    return [(i, i + 1, tag) for i, tag in enumerate(tags)] if layer == "tag" else decode(tags)


def confidence_of(span: Span) -> float | None:
    """The score of a span in the first span group that has one for its place and label."""
    for group in span.doc.spans.values():
        for other, score in zip(group, group.attrs.get(SCORES, ()), strict=False):
            if (other.start, other.end, other.label) == (span.start, span.end, span.label):
                return float(score)
    return None


def register() -> None:
    """Make `span._.confidence` known, unless something else goes by that name."""
    if not Span.has_extension("confidence"):
        Span.set_extension("confidence", getter=confidence_of)
