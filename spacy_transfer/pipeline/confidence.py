"""`span._.confidence` and `token._.confidence`: how sure a component is of a span, or of a tag.

Scores are where spaCy keeps those of span groups, in `attrs["scores"]`, and survive a DocBin.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

from spacy.tokens import Doc, Span, SpanGroup, Token

from spacy_transfer.corpus.annotate import set_spans, set_tags
from spacy_transfer.corpus.schemes import Span as Found
from spacy_transfer.corpus.schemes import decode

SCORES, BELOW, LAYER = "scores", "below", "layer"
_NAME = "confidence"
_Place = tuple[int, int, int]  # start and end character, which stay when tokens merge, and label


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

    @classmethod
    def of_settings(
        cls, name: str, confidence: bool, threshold: float, below: Literal["drop", "mark"]
    ) -> Confidence | None:
        """What the settings of a component come to. ValueError for those that have no effect
        without `confidence = true`."""
        given = cls(threshold, below)
        if confidence:
            return given
        if given != cls():
            raise ValueError(
                f"threshold = {threshold:g} and below = {below} of {name!r} need confidence = true"
            )
        return None


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
        key: of the span group otherwise. It becomes the last one of the Doc.
        confidence: which spans are left out, of the layer and of the group, or marked in its
            `attrs["below"]`.
    """
    threshold, drop = confidence.threshold, confidence.below == "drop"
    kept = [span for span in _found(layer, tags) if not drop or scores[span[0]] >= threshold]
    scored = [(span, float(scores[span[0]])) for span in kept]
    if layer == "ents":
        scored = sorted(scored + _found_before(doc, key, kept))
    if layer == "tag":
        starts = {start for start, _, _ in kept}
        set_tags(doc, layer, [tag if i in starts else "" for i, tag in enumerate(tags)])
    else:
        set_spans(doc, layer, kept)
        key = layer.partition(":")[2] or key
    doc.spans.pop(key, None)  # who writes last comes last
    doc.spans[key] = SpanGroup(
        doc,
        name=key,
        spans=[Span(doc, start, end, label=label) for (start, end, label), _ in scored],
        attrs={
            SCORES: [score for _, score in scored],
            BELOW: [score < threshold for _, score in scored],
            LAYER: layer,
        },
    )


def _found_before(doc: Doc, key: str, now: Sequence[Found]) -> list[tuple[Found, float]]:
    """The entities of a Doc that was tagged before, with their scores: they stay in it, but for
    those in the place of what is found now."""
    group = doc.spans.get(key)
    if group is None or LAYER not in group.attrs:
        return []
    taken = {token for start, end, _ in now for token in range(start, end)}
    entities = {(entity.start, entity.end, entity.label) for entity in doc.ents}
    return [
        ((span.start, span.end, span.label_), score)
        for span, score in zip(group, group.attrs[SCORES], strict=True)
        if (span.start, span.end, span.label) in entities
        and taken.isdisjoint(range(span.start, span.end))
    ]


def set_without_scores(doc: Doc, layer: str, tags: Sequence[str], key: str) -> None:
    """Set a layer from a tag for each token, and forget the group that `set_with_scores` has set
    before: its scores are of what was found then."""
    if key in doc.spans and LAYER in doc.spans[key].attrs:
        del doc.spans[key]
    set_tags(doc, layer, tags)


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
    """The score that the component which wrote last has given to this span with this label.

    None where none has. Scores that spaCy's own components leave in span groups count too.
    """
    return _last_score(span.doc, list(span.doc.spans), _place(span))


def confidence_of_tag(token: Token) -> float | None:
    """The score of the tag that a token has; None where no component has given one.

    An entity has its score as a span: one of its tokens has none of its own.
    """
    if not token.tag:
        return None
    groups = token.doc.spans.items()
    keys = [key for key, group in groups if group.attrs.get(LAYER) == "tag"]
    return _last_score(token.doc, keys, (token.idx, token.idx + len(token), token.tag))


def register() -> None:
    """Make `span._.confidence` and `token._.confidence` known, as a component with confidence does
    when it is made: call it to read Docs where there is none. A name that another extension has
    stays with that, with a warning."""
    for of, getter in ((Span, confidence_of), (Token, confidence_of_tag)):
        if not of.has_extension(_NAME):
            of.set_extension(_NAME, getter=getter)
        elif of.get_extension(_NAME)[2] is not getter:
            what = of.__name__.lower()
            warnings.warn(
                f"{what}._.{_NAME} is another extension already: {getter.__module__}."
                f"{getter.__name__}({what}) gives the confidence of spacy-transfer",
                stacklevel=2,
            )


class _Index(NamedTuple):
    """Where in a group of so many spans each of them was, by its place and label."""

    group: SpanGroup
    size: int
    numbers: dict[_Place, int]


_indices: WeakKeyDictionary[Doc, dict[str, _Index]] = WeakKeyDictionary()


def _last_score(doc: Doc, keys: Sequence[str], wanted: _Place) -> float | None:
    for key in reversed(keys):
        scores = doc.spans[key].attrs.get(SCORES)
        if scores is not None:
            try:
                number = _number(doc, key, wanted)
            except IndexError:  # tokens were merged, and spaCy cannot read the group any more
                continue
            if number is not None and number < len(scores):
                return float(scores[number])
    return None


def _number(doc: Doc, key: str, wanted: _Place) -> int | None:
    """Which span of a group is at a place, in constant time, or else that of a binary search.

    A group can change without a word, so what the index says is held against the group.
    """
    group = doc.spans[key]
    of_doc = _indices.setdefault(doc, {})
    index = of_doc.get(key)
    if index is None or index.group is not group or index.size != len(group):
        index = of_doc[key] = _index(group)
    number = index.numbers.get(wanted)
    if number is None:
        # Perhaps one that was put in the place of another: groups are in the order of the text.
        number = bisect_left(group, wanted, key=_place)
        return number if number < len(group) and _place(group[number]) == wanted else None
    if _place(group[number]) != wanted:
        index = of_doc[key] = _index(group)
        return index.numbers.get(wanted)
    return number


def _index(group: SpanGroup) -> _Index:
    places = [_place(span) for span in group]
    numbers = {place: number for number, place in reversed([*enumerate(places)])}
    return _Index(group, len(places), numbers)


def _place(span: Span) -> _Place:
    return span.start_char, span.end_char, span.label
