"""From an expansion of the grammar to a note as somebody typed and somebody annotated it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .grammar import Segment
from .stream import Stream

# How often something goes wrong: per note, per token, or per entity.
_LOWER_CASED_NOTE = 0.06
_UPPER_CASED_NOTE = 0.02
_SMALL_FIRST_LETTER = 0.15
_NO_FULL_STOP = 0.25
_TYPO = 0.012
_JOINED_UNIT = 0.15
_SPLIT_WORD = 0.08
_WRONG_ANNOTATION = 0.02

_TRAILING = re.compile(r"(.*[^,;:?!])([,;:?!])")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_UNIT = re.compile(r"%|[a-zA-Z]{1,5}(/[a-zA-Z]{1,3})?")
_SPLITTABLE = re.compile(r"(x)(\d+)|([a-zA-Z]{3,})(-|/)([a-zA-Z]{2,})")

# Types that annotators take for one another.
_CONFUSED = {
    "Symptom": "Disease",
    "Disease": "Symptom",
    "Examination": "Laboratory_index",
    "Laboratory_index": "Examination",
    "Treatment": "Products",
    "Products": "Treatment",
    "Body_structure": "Noun_of_locality",
    "Noun_of_locality": "Body_structure",
    "Modification": "Degree_modifier",
    "Degree_modifier": "Modification",
    "Frequency": "Temporal_word",
    "Temporal_word": "Frequency",
    "Dosage": "Value",
    "Value": "Dosage",
    "Trend": "Modification",
    "Organism": "Disease",
}


@dataclass
class Note:
    """The tokens of one note with their IOB2 tags."""

    tokens: list[str]
    tags: list[str]

    def __str__(self) -> str:
        lines = (f"{token}\t{tag}\n" for token, tag in zip(self.tokens, self.tags, strict=True))
        return "".join(lines) + "\n"


def write_note(segments: list[Segment], stream: Stream) -> Note:
    """The note that a hurried person makes of an expansion of the grammar."""
    note = _tokenize(segments)
    _style(note, stream)
    _mistype(note, stream)
    _misannotate(note, stream)
    return note


def _tokenize(segments: list[Segment]) -> Note:
    """Split at blanks, before commas and the like, and before the last full stop."""
    note = Note([], [])
    for segment in segments:
        words: list[str] = []
        for word in segment.text.split():
            trailing = _TRAILING.fullmatch(word)
            words += trailing.groups() if trailing else [word]
        note.tokens += words
        if segment.label == "O":
            note.tags += ["O"] * len(words)
        else:
            note.tags += [f"{'I' if place else 'B'}-{segment.label}" for place in range(len(words))]
    last = note.tokens[-1]
    if last.endswith(".") and last != ".":
        note.tokens[-1:] = [last[:-1], "."]
        note.tags.append("O")
    return note


def _style(note: Note, stream: Stream) -> None:
    if note.tokens[-1] == "." and stream.chance(_NO_FULL_STOP):
        del note.tokens[-1], note.tags[-1]
    if stream.chance(_LOWER_CASED_NOTE):
        note.tokens = [token.lower() for token in note.tokens]
    elif stream.chance(_UPPER_CASED_NOTE):
        note.tokens = [token.upper() for token in note.tokens]
    elif note.tokens[0].islower() and not stream.chance(_SMALL_FIRST_LETTER):
        note.tokens[0] = note.tokens[0][0].upper() + note.tokens[0][1:]


def _mistype(note: Note, stream: Stream) -> None:
    """Misspell words, write units onto their numbers, take words apart at hyphens."""
    tokens: list[str] = []
    tags: list[str] = []
    for token, tag in zip(note.tokens, note.tags, strict=True):
        within = tag.startswith("I-")
        if (
            within
            and _UNIT.fullmatch(token)
            and _NUMBER.fullmatch(tokens[-1])
            and stream.chance(_JOINED_UNIT)
        ):
            tokens[-1] += token
            continue
        parts = [token]
        if (split := _SPLITTABLE.fullmatch(token)) and stream.chance(_SPLIT_WORD):
            parts = [part for part in split.groups() if part]
        elif len(token) > 4 and token.isalpha() and stream.chance(_TYPO):
            parts = [_misspell(token, stream)]
        tokens += parts
        tags += [tag] + [tag.replace("B-", "I-")] * (len(parts) - 1)
    note.tokens, note.tags = tokens, tags


def _misspell(word: str, stream: Stream) -> str:
    """Swap two letters, leave one out, or double one; never the first."""
    place = 1 + stream.below(len(word) - 2)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    return stream.pick(
        [before + after[0] + letter + after[1:], before + after, before + letter * 2 + after]
    )


def _misannotate(note: Note, stream: Stream) -> None:
    """Miss an entity, end it one token early or late, or give it a related type."""
    tags = note.tags
    starts = [place for place, tag in enumerate(tags) if tag.startswith("B-")]
    for start in starts:
        if not stream.chance(_WRONG_ANNOTATION):
            continue
        end = start + 1
        while end < len(tags) and tags[end].startswith("I-"):
            end += 1
        label = tags[start][2:]
        kind = stream.below(3)
        if kind == 0 and label in _CONFUSED:
            tags[start:end] = [tag[:2] + _CONFUSED[label] for tag in tags[start:end]]
        elif kind == 1 and end - start > 1:
            tags[end - 1] = "O"
        elif kind == 1 and end < len(tags) and tags[end] == "O" and note.tokens[end].isalpha():
            tags[end] = f"I-{label}"
        else:
            tags[start:end] = ["O"] * (end - start)
