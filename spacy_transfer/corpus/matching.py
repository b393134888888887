"""Which labels of two corpora may mean the same: a label map to edit."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spacy.lang.lex_attrs import word_shape

from spacy_transfer.corpus.labelled import NOTHING, LabelCounts, LabelledText
from spacy_transfer.corpus.lines import write_whole

CONTEXT_WEIGHT = 3
"""Contexts weigh as much as so many strings that both corpora have."""
THRESHOLD = 0.2
"""From which score on a pair is suggested."""
_EXAMPLES = 3

Profiles = Mapping[str, Mapping[str, float]]
"""For each label the weights of its features."""


@dataclass(frozen=True)
class Match:
    """A label of the target, and the source's label that is most like it.

    Attributes:
        target: the target's label.
        source: the source's label.
        found: how many strings with the target's label are anywhere in the text of the source.
        agreeing: those that have the source's label in most of these places, by their frequency.
        strings: the cosine of the two labels by their strings, from 0 to 1.
        contexts: the cosine of the two labels by their contexts, from 0 to 1.
    """

    target: str
    source: str
    found: int
    agreeing: tuple[str, ...]
    strings: float
    contexts: float

    @property
    def score(self) -> float:
        """The mean of both cosines; the more strings there are, the more theirs weighs."""
        weights = self.found + CONTEXT_WEIGHT
        return (self.found * self.strings + CONTEXT_WEIGHT * self.contexts) / weights

    @property
    def suggested(self) -> bool:
        """Whether they have one name, or are as alike as THRESHOLD asks for."""
        return self.target == self.source or self.score >= THRESHOLD


def match_labels(target: LabelledText, source: LabelledText) -> list[Match]:
    """The best match of each label of the target, the most frequent label first.

    A label of the same name is the best match, as it is wherever there is no map. Of others, two
    kinds of evidence decide:

    - Strings: a label of the target is a vector over the strings that are in both corpora, with the
      share of a string's annotations that have the label; a label of the source likewise, with the
      share of all places of the string in its text, annotated or not.
    - Contexts: a label is a vector over the two words on each side of its spans, their own words,
      their first and last three letters and their shape. A feature x weighs for the label y
      sqrt(P(x | y)) max(0, log P(x | y) / P(x)): its pointwise mutual information with the label
      (Church & Hanks 1990), where that is positive, damped. P(x) is over all labels and about as
      many words that have none.
    """
    places = source.occurrences(target.strings)
    ours = _shares({string: target.strings[string] for string in places})
    theirs = _shares(places)
    by_string, by_context = _cosines(ours, theirs), _cosines(_contexts(target), _contexts(source))

    matches = []
    for label in target.labels:
        of_label = {
            other: Match(
                label,
                other,
                len(ours.get(label, ())),
                _agreeing(label, target, theirs.get(other, {})),
                by_string[label, other],
                by_context[label, other],
            )
            for other in source.labels
        }
        best = max(of_label.values(), key=lambda match: match.score)
        matches.append(of_label.get(label, best))
    return matches


def write_suggestions(matches: Sequence[Match], path: Path, target: str, source: str) -> None:
    """Write a label map, as `read_label_map` reads it, with the evidence of each pair.

    Pairs that are not suggested are comments. ValueError when there is no pair to suggest.
    """
    if not any(match.suggested for match in matches):
        raise ValueError(f"{path}: no label of {source} is like one of {target}")
    lines = [
        f"# Suggested by `spacy transfer rank-sources` for {target} from {source}, to be edited:",
        "# delete what is wrong, take the # away from what is right.",
        "# target label<TAB>source label",
    ]
    for match in matches:
        lines += ["#", f"# {_evidence(match)}"]
        # A label may begin with the sign of a comment; blanks around it are not read.
        sign = "#" if not match.suggested else " " if match.target.startswith("#") else ""
        lines.append(f"{sign}{match.target}\t{match.source}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "\n".join(lines) + "\n")


def _evidence(match: Match) -> str:
    examples = ", ".join(match.agreeing[:_EXAMPLES])
    return (
        f"score {match.score:.2f}: of {match.found} strings in both, {len(match.agreeing)} agree"
        f"{f' ({examples})' if examples else ''}; strings {match.strings:.2f}, contexts "
        f"{match.contexts:.2f}"
    )


def _agreeing(label: str, target: LabelledText, theirs: Mapping[str, float]) -> tuple[str, ...]:
    counts = {
        string: target.strings[string][label]
        for string, share in theirs.items()
        if share > 0.5 and label in target.strings[string]
    }
    return tuple(sorted(counts, key=lambda string: (-counts[string], string)))


def _shares(strings: LabelCounts) -> dict[str, dict[str, float]]:
    """For each label, what share of each string has it."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for string, counts in strings.items():
        for label, count in counts.items():
            shares[label][string] = count / counts.total()
    return shares


def _contexts(text: LabelledText) -> Profiles:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    spans = text.labels.total()
    step = max(1, (text.words.total() - spans) // spans)
    outside = 0
    for sentence in text.sentences:
        lower = [word.lower() for word in sentence.words]
        shapes = [word_shape(word) for word in sentence.words]
        for start, end, label in sentence.spans:
            counts[label].update(_features(lower, shapes, start, end))
        taken = sentence.taken
        for i in range(len(lower)):
            if i not in taken:
                outside += 1
                if outside % step == 0:
                    counts[NOTHING].update(_features(lower, shapes, i, i + 1))
    total = Counter[str]()
    for of_label in counts.values():
        total.update(of_label)
    size = total.total()
    profiles = {}
    for label, of_label in counts.items():
        n = of_label.total()
        profiles[label] = {
            x: math.sqrt(count / n) * math.log(count * size / (n * total[x]))
            for x, count in of_label.items()
            if count * size > n * total[x]
        }
    return profiles


def _features(lower: list[str], shapes: list[str], start: int, end: int) -> Iterator[str]:
    for offset in (1, 2):
        yield f"-{offset} {lower[start - offset] if start >= offset else ''}"
        yield f"+{offset} {lower[end + offset - 1] if end + offset <= len(lower) else ''}"
    yield f"begins {lower[start][:3]}"
    yield f"ends {lower[end - 1][-3:]}"
    yield f"shape {' '.join(shapes[start:end])}"
    for word in lower[start:end]:
        yield f"word {word}"


def _cosines(ours: Profiles, theirs: Profiles) -> Mapping[tuple[str, str], float]:
    """The cosine of each of our labels and each of theirs; 0 where they have nothing in common."""
    by_feature: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for label, profile in _unit(theirs):
        for feature, weight in profile.items():
            by_feature[feature].append((label, weight))
    cosines: dict[tuple[str, str], float] = defaultdict(float)
    for label, profile in _unit(ours):
        for feature, weight in profile.items():
            for other, its in by_feature.get(feature, ()):
                cosines[label, other] += weight * its
    return cosines


def _unit(profiles: Profiles) -> Iterator[tuple[str, Mapping[str, float]]]:
    for label, profile in profiles.items():
        norm = math.hypot(*profile.values())
        yield label, {feature: weight / norm for feature, weight in profile.items() if weight}
