"""Tasks as a component keeps them: labels, their tags, and how tags match across tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spacy_transfer.corpus.label_map import matched_labels
from spacy_transfer.corpus.schemes import (
    OUTSIDE,
    TagScheme,
    allowed,
    barred,
    continuing,
    tags_of,
)
from spacy_transfer.nn.batch import Segments
from spacy_transfer.nn.crf import Constraints


@dataclass(frozen=True)
class Task:
    """An annotation layer with a label set."""

    name: str
    layer: str
    labels: tuple[str, ...]


class TaskTags:
    """The tags of a task as ids of its head.

    A head that only this task uses has the task's own tags. A shared head (T-A, Yang §3.2.1) has
    the tags of the sources, and the target's labels are mapped to theirs; decoding is restricted
    to the tags that are the task's. A tag that stands for several labels of the target is read as
    the first of them in the map, which is the most frequent one: see `complete_map`.
    """

    def __init__(
        self,
        task: Task,
        head_labels: Sequence[str],
        renamed: Mapping[str, str],
        scheme: TagScheme,
    ) -> None:
        self.task = task
        self.scheme: TagScheme | None = None if task.layer == "tag" else scheme
        self._head_tags = self._tags(head_labels)
        in_head = {tag: number for number, tag in enumerate(self._head_tags)}
        self.ids = {tag: in_head[self._rename(tag, renamed)] for tag in self._tags(task.labels)}
        self.names: dict[int, str] = {}
        ranked = dict.fromkeys(label for label in (*renamed, *task.labels) if label in task.labels)
        for tag in self._tags(list(ranked)):
            self.names.setdefault(self.ids[tag], tag)

    def _tags(self, labels: Sequence[str]) -> list[str]:
        return list(labels) if self.scheme is None else tags_of(labels, self.scheme)

    def _rename(self, tag: str, renamed: Mapping[str, str]) -> str:
        if self.scheme is None:
            return renamed.get(tag, tag)
        prefix, _, label = tag.partition("-")
        name = renamed.get(label, label)
        return tag if tag == OUTSIDE else OUTSIDE if name == OUTSIDE else f"{prefix}-{name}"

    def __len__(self) -> int:
        return len(self._head_tags)

    def encode(self, tags: Iterable[str]) -> NDArray[np.int64]:
        """[tokens] ids of gold tags, -1 for "", which is not known; ValueError for a tag that the
        task does not have."""
        try:
            return np.array([self.ids[tag] if tag else -1 for tag in tags], dtype=np.int64)
        except KeyError as error:
            raise ValueError(
                f"the label of tag {error.args[0]!r} is not one of task {self.task.name!r}, which "
                f"was initialised with {', '.join(self.task.labels)}"
            ) from None

    def segments(self, temperature: float = 1.0) -> Segments:
        """How the head's tags make up spans, or, of plain tags, single tokens."""
        count = len(self)
        if self.scheme is None:
            all_tags, never = torch.ones(count).bool(), torch.zeros(count, count).bool()
            return Segments(all_tags, never, temperature)
        inside, continues = map(torch.from_numpy, continuing(self._head_tags))
        return Segments(inside, continues, temperature)

    def barred(self) -> NDArray[np.bool_] | None:
        """The tags of the head that each kind of token cannot have, as `schemes.barred`; None for
        plain tags."""
        return None if self.scheme is None else barred(self._head_tags, self.scheme)

    def constraints(self) -> Constraints:
        """What decoding allows: the scheme's transitions between the task's own tags."""
        scheme = allowed(self._head_tags, self.scheme)
        own = np.zeros(len(self), dtype=bool)
        own[list(self.names)] = True
        return Constraints(
            torch.from_numpy(scheme.start & own),
            torch.from_numpy(scheme.transitions & own[:, None] & own[None, :]),
            torch.from_numpy(scheme.end & own),
        )


def head_labels(tasks: Sequence[Task], renamed: Mapping[str, str]) -> list[str]:
    """Labels of a head that all tasks share.

    Source labels come first, then target labels that are not mapped to one: those of a target
    without sources, of a union, or added later. The first task is the target.
    """
    target, *sources = tasks
    labels = [label for source in sources for label in source.labels]
    labels += [label for label in target.labels if renamed.get(label, label) == label]
    return list(dict.fromkeys(labels))


def equal_tags(source: TaskTags, target: TaskTags) -> list[tuple[int, int]]:
    """Pairs of tag ids (source, target) that mean the same in a head that both share."""
    return [(number, number) for number in source.names if number in target.names]


def matched_tags(
    source: TaskTags, target: TaskTags, label_map: Mapping[str, str] | None
) -> list[tuple[int, int]]:
    """Pairs of tag ids (source, target) that mean the same: O with O, and the tags of matched
    labels prefix by prefix (B-LOC with B-geo-loc). Empty when one is a plain tag layer and the
    other is not."""
    if (source.scheme is None) != (target.scheme is None):
        return []
    pairs = matched_labels(target.task.labels, source.task.labels, label_map)
    if source.scheme is None:
        return [(source.ids[of_source], target.ids[of_target]) for of_target, of_source in pairs]
    of_source = tags_of([pair[1] for pair in pairs], source.scheme)
    of_target = tags_of([pair[0] for pair in pairs], source.scheme)
    return [(source.ids[s], target.ids[t]) for s, t in zip(of_source, of_target, strict=True)]
