"""Which task an example belongs to, where its gold lives, and its weight.

`nlp.update` replaces `Example.predicted` by a copy without user data: only a mark on
`Example.reference` reaches a component.
"""

from __future__ import annotations

from spacy.tokens import Doc

TARGET = "target"
"""The name of the target task; every other task is a source."""

_TASK = "spacy_transfer.task"
_LAYER = "spacy_transfer.layer"
_WEIGHT = "spacy_transfer.weight"


def mark(doc: Doc, task: str, layer: str | None = None) -> None:
    """Mark a reference document as an example of `task` whose gold is in `layer`; without one,
    where the component knows it to be."""
    doc.user_data[_TASK] = task
    if layer is not None:
        doc.user_data[_LAYER] = layer


def task_of(doc: Doc) -> str:
    """The task that `doc` is marked with; an unmarked document belongs to the target."""
    task: str = doc.user_data.get(_TASK, TARGET)
    return task


def layer_of(doc: Doc, default: str) -> str:
    """The layer that `doc` is marked with, `default` for an unmarked document."""
    layer: str = doc.user_data.get(_LAYER, default)
    return layer


def mark_weight(doc: Doc, weight: float) -> None:
    """Mark a reference document with the weight of its loss."""
    doc.user_data[_WEIGHT] = weight


def weight_of(doc: Doc) -> float:
    """The weight that `doc` is marked with, 1 for an unmarked document."""
    weight: float = doc.user_data.get(_WEIGHT, 1.0)
    return weight
