"""A weighted grammar whose expansions are sentences with labelled entities.

The rules are plain text. A line `@ scope` opens a scope: `core`, a specialty, or one of its
problems (`cardiology.valve`). A rule is a name, a colon and its alternatives, in one line or in
indented ones:

    name:  a | b            alternatives, equally likely
    name:  3* a | 1* b      with weights
    name~: a | b | c        ranked: the first is frequent, the last is rare
    name [Label]: a | b     every alternative is an entity of that type, unless it marks its own

Within an alternative:

    (a|b|)                  one of several, perhaps nothing; \\( and \\) are real parentheses
    {name}                  a rule, looked up in the problem, then its specialty, then core
    {scope/name}            the same, looked up from another scope on
    {36..41}                a whole number in that range
    [Label words]           an entity; within another entity, only the outer one counts
    [Label@CG words]        the same, but only in the specialties with those initials: there a
                            convention joins what others split, or labels what others do not
                            (the label O removes the labels within)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

from .stream import Stream

_SCOPE = re.compile(r"@ ([\w.]+)")
_RULE = re.compile(r"(?P<name>\w+)(?P<ranked>~?)(?: \[(?P<label>\w+)\])?:(?P<body>.*)")
_WEIGHT = re.compile(r"\s*(\d+)\*")
_NUMBER = re.compile(r"(\d+)\.\.(\d+)")
_ENTITY = re.compile(r"(\w+)(?:@([A-Z]+))? ")
_TEXT = re.compile(r"(?:\\.|[^\\()\[\]{}|])+")

# A ranked alternative weighs 1 / (rank + this): the smaller, the steeper.
_RANK_OFFSET = 12


@dataclass(frozen=True)
class Number:
    """A whole number from `low` to `high`."""

    low: int
    high: int


@dataclass(frozen=True)
class Reference:
    """The rule `name`, looked up from `scope` on, or from the current one where that is empty."""

    scope: str
    name: str


@dataclass(frozen=True)
class Entity:
    """An entity; `initials` names the specialties where it counts (empty: everywhere)."""

    label: str
    initials: str
    body: Choice


@dataclass(frozen=True)
class Choice:
    """Alternatives, each a sequence of nodes, with the running sums of their weights."""

    options: list[list[Node]]
    cumulative: list[float]


Node: TypeAlias = "str | Number | Reference | Entity | Choice"


@dataclass
class Segment:
    """A stretch of text: one entity of type `label`, or what lies between entities (O)."""

    label: str
    text: str = ""


@dataclass
class _Writer:
    """What has been written so far, and whether it stops within an entity."""

    segments: list[Segment] = field(default_factory=lambda: [Segment("O")])
    inside: bool = False


class Grammar:
    """The rules of all specialties; `expand` writes one sentence."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._rules: dict[str, dict[str, Choice]] = {}
        for file in files:
            scope = ""
            for number, line in _logical_lines(file):
                try:
                    if opened := _SCOPE.fullmatch(line):
                        scope = opened[1]
                        continue
                    name, choice = _parse_rule(line)
                    if name in self._rules.setdefault(scope, {}):
                        raise ValueError(f"a second rule {name!r} in the scope {scope!r}")
                except ValueError as error:
                    raise ValueError(f"{file}:{number}: {error}") from None
                self._rules[scope][name] = choice

    def expand(self, name: str, specialty: str, stream: Stream) -> list[Segment]:
        """One expansion of the rule `name`, about one of the problems of `specialty`.

        A segment labelled O may also be one that a convention leaves unlabelled.
        """
        initial = specialty[0].upper()
        chosen = _Writer()
        self._follow(Reference(specialty, "problem"), "", initial, stream, chosen)
        problem = chosen.segments[0].text.strip()
        note = _Writer()
        self._follow(Reference(f"{specialty}.{problem}", name), "", initial, stream, note)
        return note.segments

    def _follow(
        self, reference: Reference, scope: str, initial: str, stream: Stream, writer: _Writer
    ) -> None:
        scope = reference.scope or scope
        for place in (scope, scope.partition(".")[0], "core"):
            if choice := self._rules.get(place, {}).get(reference.name):
                self._write(choice, scope, initial, stream, writer)
                return
        raise KeyError(f"no rule {reference.name!r} for {scope}")

    def _write(
        self, choice: Choice, scope: str, initial: str, stream: Stream, writer: _Writer
    ) -> None:
        for node in stream.pick_weighted(choice.options, choice.cumulative):
            if isinstance(node, str):
                writer.segments[-1].text += node
            elif isinstance(node, Number):
                number = node.low + stream.below(node.high - node.low + 1)
                writer.segments[-1].text += str(number)
            elif isinstance(node, Reference):
                self._follow(node, scope, initial, stream, writer)
            elif isinstance(node, Choice):
                self._write(node, scope, initial, stream, writer)
            elif writer.inside or (node.initials and initial not in node.initials):
                self._write(node.body, scope, initial, stream, writer)
            else:
                writer.segments.append(Segment(node.label))
                writer.inside = True
                self._write(node.body, scope, initial, stream, writer)
                writer.inside = False
                writer.segments.append(Segment("O"))


def _logical_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Scope lines and rules, a rule's indented lines joined to its first, with line numbers."""
    pending, start = "", 0
    for number, raw in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.rstrip()
        if not line or line.startswith("#"):
            continue
        if line[0] == " ":
            pending += ("" if pending.endswith(":") else " |") + line
            continue
        if pending:
            yield start, pending
        pending, start = line, number
    if pending:
        yield start, pending


def _parse_rule(line: str) -> tuple[str, Choice]:
    rule = _RULE.fullmatch(line)
    if not rule:
        raise ValueError(f"expected a scope or a rule, found {line!r}")
    choice, rest = _parse_choice(rule["body"], ranked=bool(rule["ranked"]))
    if rest:
        raise ValueError(f"unbalanced {rest[0]!r} in the rule {rule['name']}")
    for option in choice.options:
        _strip(option)
    if label := rule["label"]:
        options = [
            option
            if any(isinstance(node, Entity) for node in option)
            else [Entity(label, "", Choice([option], [1.0]))]
            for option in choice.options
        ]
        choice = Choice(options, choice.cumulative)
    return rule["name"], choice


def _strip(option: list[Node]) -> None:
    """Remove the blanks around an alternative of a rule, so that rules can be parts of words."""
    if option and isinstance(option[0], str):
        option[0] = option[0].lstrip()
    if option and isinstance(option[-1], str):
        option[-1] = option[-1].rstrip()


def _parse_choice(text: str, *, ranked: bool = False) -> tuple[Choice, str]:
    """The alternatives that `text` begins with, and what follows them."""
    options: list[list[Node]] = []
    weights: list[float] = []
    while True:
        weight = _WEIGHT.match(text)
        weights.append(float(weight[1]) if weight else 1.0)
        option, text = _parse_sequence(text[weight.end() :] if weight else text)
        options.append(option)
        if not text.startswith("|"):
            break
        text = text[1:]
    if ranked:
        weights = [1.0 / (rank + _RANK_OFFSET) for rank in range(len(options))]
    return Choice(options, list(accumulate(weights))), text


def _parse_sequence(text: str) -> tuple[list[Node], str]:
    nodes: list[Node] = []
    while text and text[0] not in "|)]":
        if text[0] == "{":
            inner, closed, text = text[1:].partition("}")
            if not closed:
                raise ValueError("a '{' without '}'")
            if number := _NUMBER.fullmatch(inner):
                nodes.append(Number(int(number[1]), int(number[2])))
            else:
                scope, _, name = inner.rpartition("/")
                nodes.append(Reference(scope, name))
        elif text[0] == "(":
            choice, text = _parse_choice(text[1:])
            nodes.append(choice)
            text = _expect(")", text)
        elif text[0] == "[":
            head = _ENTITY.match(text, 1)
            if not head:
                raise ValueError(f"expected a label after '[' in {text!r}")
            body, text = _parse_choice(text[head.end() :])
            nodes.append(Entity(head[1], head[2] or "", body))
            text = _expect("]", text)
        else:
            words = _TEXT.match(text)
            if not words:
                raise ValueError(f"unexpected {text[0]!r}")
            nodes.append(re.sub(r"\\(.)", r"\1", words[0]))
            text = text[words.end() :]
    return nodes, text


def _expect(bracket: str, text: str) -> str:
    if not text.startswith(bracket):
        raise ValueError(f"expected {bracket!r} before {text[:20]!r}")
    return text[1:]
