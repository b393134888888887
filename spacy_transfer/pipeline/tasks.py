"""Tasks as a component keeps them: labels, their tags, and how tags match across tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spacy_transfer.corpus.label_map import matched_labels
from spacy_transfer.corpus.schemes import TagScheme, allowed, tags_of
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
    the tags of all tasks after mapping target labels to source labels; decoding is then restricted
    to those that are the task's.
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
        own = self._tags(task.labels)
        shared = self._tags([renamed.get(label, label) for label in task.labels])
        self.ids = {tag: in_head[name] for tag, name in zip(own, shared, strict=True)}
        self.names: dict[int, str] = {}
        for tag, number in self.ids.items():
            self.names.setdefault(number, tag)

    def _tags(self, labels: Sequence[str]) -> list[str]:
        return list(labels) if self.scheme is None else tags_of(labels, self.scheme)

    def __len__(self) -> int:
        return len(self._head_tags)

    def encode(self, tags: Iterable[str]) -> NDArray[np.int64]:
        """[tokens] ids of gold tags; ValueError for a tag that the task does not have."""
        try:
            return np.array([self.ids[tag] for tag in tags], dtype=np.int64)
        except KeyError as error:
            raise ValueError(
                f"the label of tag {error.args[0]!r} is not one of task {self.task.name!r}, which "
                f"was initialised with {', '.join(self.task.labels)}"
            ) from None

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


def head_labels(
    tasks: Sequence[Task], label_map: Mapping[str, str] | None
) -> tuple[list[str], dict[str, str]]:
    """Labels of a head that all tasks share, and target labels by the name they have there.

    Source labels come first, then the target labels that match none. The first task is the target.
    """
    target, *sources = tasks
    labels = list(dict.fromkeys(label for source in sources for label in source.labels))
    renamed = dict(matched_labels(target.labels, labels, label_map)) if sources else {}
    labels += [label for label in target.labels if label not in renamed]
    return labels, renamed


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
