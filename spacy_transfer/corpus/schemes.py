"""Tag schemes: how labelled spans become one tag a token, and back.

A tag is `O` or a prefix, a `-` and a label; the label may itself hold a `-` (`B-geo-loc`).

- IOB1: `I-` inside; `B-` only opens a span that directly follows one of the same label.
- IOB2 (called BIO where models are concerned): `B-` opens every span, `I-` goes on.
- BIOES: `B-` opens, `I-` goes on, `E-` closes; `S-` is a span of one token.
- BILUO: BIOES with `L-` for `E-` and `U-` for `S-`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from spacy_transfer.corpus.errors import CorpusError

TagScheme = Literal["BIOES", "BIO"]
"""What models are trained with; BIO is IOB2."""
FileScheme = Literal["IOB1", "IOB2", "BIOES", "BILUO"]
"""What files use."""
Span = tuple[int, int, str]
"""Start, end (exclusive) and label."""

OUTSIDE = "O"
MISSING = "-"
"""A token that nobody looked at. Spans before and after it are whole: what it may be itself is
unknown, but it goes on with none and none goes on after it."""


class _Rules(NamedTuple):
    prefixes: str
    bound: str  # prefixes that must directly follow B- or I- of the same label
    closes: bool  # whether B- and I- must be followed by a bound prefix


_RULES: dict[str, _Rules] = {
    "IOB1": _Rules("BI", "B", closes=False),
    "IOB2": _Rules("BI", "I", closes=False),
    "BIOES": _Rules("BIES", "IE", closes=True),
    "BILUO": _Rules("BILU", "IL", closes=True),
}
# By conlleval's rules B- opens a span anywhere, also where strict IOB1 has I-.
_LOOSE_IOB1 = _Rules("BI", "", closes=False)

_Bools = TypeVar("_Bools", bool, npt.NDArray[np.bool_])


def _permits(rules: _Rules, unfinished: _Bools, same: _Bools, bound: _Bools) -> _Bools:
    """Whether a tag may follow another; `<=` on booleans is implication.

    `unfinished`: the first is B- or I-; `same`: they share a label; `bound`: the second is bound.
    """
    follows = bound <= (unfinished & same)
    return follows & (unfinished <= bound) if rules.closes else follows


@lru_cache(maxsize=2**16)
def _split(tag: str) -> tuple[str, str]:
    """Prefix and label of a tag; both are empty where it is outside."""
    if tag in (OUTSIDE, MISSING):
        return "", ""
    prefix, _, label = tag.partition("-")
    if prefix not in ("B", "I", "E", "S", "L", "U") or not label:
        raise ValueError(
            f"tag {tag!r} belongs to no tag scheme: expected O, or one of "
            "B- I- E- S- L- U- and a label"
        )
    return prefix, label


def tags_of(labels: Sequence[str], scheme: TagScheme) -> list[str]:
    """All tags: O, then for each label in order B- I- (BIO) or B- I- E- S- (BIOES)."""
    prefixes = "BIES" if scheme == "BIOES" else "BI"
    return [OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in prefixes)]


def encode(spans: Iterable[Span], length: int, scheme: TagScheme) -> list[str]:
    """The tags of `length` tokens.

    Raises ValueError where spans overlap, are empty or leave the sentence.
    """
    tags = [OUTSIDE] * length
    for start, end, label in spans:
        if not 0 <= start < end <= length:
            raise ValueError(f"span {start}-{end} {label!r} is not within 0-{length}")
        if any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(f"span {start}-{end} {label!r} overlaps another")
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
        if scheme == "BIOES":
            tags[end - 1] = f"{'S' if end - start == 1 else 'E'}-{label}"
    return tags


def decode(tags: Sequence[str]) -> list[Span]:
    """The spans of any sequence of IOB1, IOB2, BIOES or BILUO tags, also of an invalid one.

    The rules are those of conlleval, the scorer of the CoNLL shared tasks: a span opens at B- or
    S-, and at any other tag that goes on with nothing (after O, E-, S- or another label); it ends
    before the next opening or O. Raises ValueError for a tag that belongs to no scheme.
    """
    spans: list[Span] = []
    start, before = -1, ("", "")
    for i, tag in enumerate((*tags, OUTSIDE)):
        prefix, label = _split(tag)
        goes_on = prefix in ("I", "E", "L") and before[0] in ("B", "I") and label == before[1]
        if not goes_on:
            if before[0]:
                spans.append((start, i, before[1]))
            start = i
        before = prefix, label
    return spans


class Allowed(NamedTuple):
    """What a tag scheme permits, tag by tag in the order of the tags given."""

    start: npt.NDArray[np.bool_]  # [labels]: may open a sentence
    transitions: npt.NDArray[np.bool_]  # [labels, labels] (from, to)
    end: npt.NDArray[np.bool_]  # [labels]: may end a sentence


def allowed(tags: Sequence[str], scheme: TagScheme | None) -> Allowed:
    """The constraints of a scheme as masks. With None, for plain tags, everything is allowed."""
    count = len(tags)
    if scheme is None:
        return Allowed(np.ones(count, bool), np.ones((count, count), bool), np.ones(count, bool))
    rules = _RULES["IOB2" if scheme == "BIO" else scheme]
    parts = [_split(tag) for tag in tags]
    strange = [
        tag
        for tag, (prefix, _) in zip(tags, parts, strict=True)
        if prefix not in {"", *rules.prefixes}
    ]
    if strange:
        raise ValueError(f"tag {strange[0]!r} is not in the scheme {scheme}")
    labels = np.array([label for _, label in parts])
    unfinished = np.array([prefix in ("B", "I") for prefix, _ in parts])
    bound = np.array([prefix in tuple(rules.bound) for prefix, _ in parts])
    none = np.zeros(count, bool)
    return Allowed(
        start=_permits(rules, none, none, bound),
        transitions=_permits(
            rules, unfinished[:, None], labels[:, None] == labels[None, :], bound[None, :]
        ),
        end=_permits(rules, unfinished, none, none),
    )


WHITE_SPACE, SENTENCE_START = 1, 2
"""What a token may be, as bits. With both, only O is left to it."""


def barred(tags: Sequence[str], scheme: TagScheme) -> npt.NDArray[np.bool_]:
    """[4, labels]: the tags that a token of each kind cannot have, where no span begins or ends on
    white space, or goes on from one sentence into the next.

    Kind 0 is any other token. An `I-` of BIO may be the last of its span, so white space has none.
    """
    prefixes = np.array([_split(tag)[0] for tag in tags])
    table = np.zeros((4, len(tags)), bool)
    table[WHITE_SPACE] = ~np.isin(prefixes, ["", "I"] if scheme == "BIOES" else [""])
    table[SENTENCE_START] = np.isin(prefixes, ["I", "E"])
    table[WHITE_SPACE | SENTENCE_START] = prefixes != ""
    return table


class Continuing(NamedTuple):
    """How tags make up spans, tag by tag in the order of the tags given."""

    inside: npt.NDArray[np.bool_]  # [labels]: is the tag part of a span?
    continues: npt.NDArray[np.bool_]  # [labels, labels]: does the second go on with the first's?


def continuing(tags: Sequence[str]) -> Continuing:
    """How BIO or BIOES tags make up spans, by the rules of `decode`."""
    parts = [_split(tag) for tag in tags]
    labels = np.array([label for _, label in parts])
    unfinished = np.array([prefix in ("B", "I") for prefix, _ in parts])
    bound = np.array([prefix in ("I", "E") for prefix, _ in parts])
    same = labels[:, None] == labels[None, :]
    return Continuing(labels != "", unfinished[:, None] & bound[None, :] & same)


class SchemeDetector:
    """Finds the one scheme that all tags of a file follow, sentence by sentence.

    `given` is a scheme to hold the file to instead. A given IOB1 also takes B- at the start of any
    span: so it reads a file that mixes IOB1 and IOB2, by conlleval's rules. In every scheme, a tag
    that goes on with a span is an error after a token that nobody looked at: where the span begins
    is then not known.
    """

    def __init__(self, path: str | Path, given: FileScheme | None = None) -> None:
        self._path = path
        self._given = given
        self._candidates: tuple[FileScheme, ...] = (given,) if given else get_args(FileScheme)
        self._narrowed: int | None = None  # the line that last ruled out a scheme
        self._fitting: dict[tuple[str, str], frozenset[str]] = {}

    @property
    def scheme(self) -> FileScheme | None:
        """The scheme, or None while several fit: while there was no span."""
        return self._candidates[0] if len(self._candidates) == 1 else None

    def read(self, tags: Sequence[str], line: int) -> None:
        """Take in a sentence whose first tag is at `line`, the others on the lines after it.

        Raises CorpusError at the first tag that leaves no scheme.
        """
        before = OUTSIDE
        # After the last tag nothing may be unfinished, as before an O.
        for i, tag in enumerate((*tags, OUTSIDE)):
            pair = before, tag
            if pair not in self._fitting:
                try:
                    self._fitting[pair] = self._fits(before, tag)
                except ValueError as error:
                    raise CorpusError(self._path, line + i, str(error)) from None
            fitting = self._fitting[pair]
            if not fitting.issuperset(self._candidates):
                at = line + min(i, len(tags) - 1)
                left = tuple(name for name in self._candidates if name in fitting)
                if not left:
                    raise CorpusError(self._path, at, self._complaint(before, tag, i == len(tags)))
                self._candidates, self._narrowed = left, at
            before = tag

    def _fits(self, before: str, tag: str) -> frozenset[str]:
        (prefix0, label0), (prefix1, label1) = _split(before), _split(tag)
        if before == MISSING and prefix1 in ("I", "E", "L"):
            raise ValueError(
                f"{tag!r} after {MISSING!r}, a token that nobody looked at: a span whose beginning "
                f"is not known cannot be read; mark all of its tokens {MISSING!r}"
            )
        fits = set()
        for name in get_args(FileScheme):
            rules = _LOOSE_IOB1 if name == self._given == "IOB1" else _RULES[name]
            known = prefix0 in ("", *rules.prefixes) and prefix1 in ("", *rules.prefixes)
            bound = prefix1 in tuple(rules.bound)
            if known and _permits(rules, prefix0 in ("B", "I"), label0 == label1, bound):
                fits.add(name)
        return frozenset(fits)

    def _complaint(self, before: str, tag: str, at_end: bool) -> str:
        what = f"{before!r} at the end of a sentence" if at_end else f"{tag!r} after {before!r}"
        if self._given:
            return f"{what} is not allowed in {self._given}, the scheme given"
        if self._narrowed is None:
            return f"{what} is allowed in none of the tag schemes {', '.join(get_args(FileScheme))}"
        message = (
            f"{what} does not follow {' or '.join(self._candidates)}, the scheme of the tags up to "
            f"line {self._narrowed}: expected one tag scheme in the whole file"
        )
        if tag[0] in "BI" and set(self._candidates) <= {"IOB1", "IOB2"}:
            message += " (--scheme IOB1 reads a mixture of IOB1 and IOB2)"
        return message
