"""What the training examples hold: the labels and words of each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spacy.training import Example, validate_examples

from spacy_transfer.corpus.gold import labels_in
from spacy_transfer.corpus.marks import TARGET, layer_of, task_of
from spacy_transfer.models.vocabulary import Normalizer, VocabularyBuilder


@dataclass
class TaskSurvey:
    """One task.

    Attributes:
        name: its name.
        layer: where its gold is.
        words: its words and characters.
        labels: how often each of its labels occurs.
        surface: its words as they are written, of a target of tags alone.
        sentences: the number of its documents.
        tokens: of their tokens.
    """

    name: str
    layer: str
    words: VocabularyBuilder
    labels: Counter[str] = field(default_factory=Counter)
    surface: set[str] = field(default_factory=set)
    sentences: int = 0
    tokens: int = 0

    @property
    def size(self) -> dict[str, Any]:
        """What a model card says of it."""
        labels = dict(sorted(self.labels.items()))
        return {"sentences": self.sentences, "tokens": self.tokens, "labels": labels}

    def label_list(self, *, as_given: bool) -> list[str]:
        """Its labels as they were given, or sorted; ValueError for none."""
        if not self.labels:
            raise ValueError(
                f"no labels for task {self.name!r}: it has no examples with annotation in layer "
                f"{self.layer!r}"
            )
        return list(self.labels) if as_given else sorted(self.labels)


def survey(examples: Iterable[Example], layer: str, normalize: Normalizer) -> dict[str, TaskSurvey]:
    """Read all examples once; the target, whose gold is in `layer`, comes first, even without any.

    TypeError for what is no example.
    """
    tasks = {TARGET: TaskSurvey(TARGET, layer, VocabularyBuilder(normalize))}
    for example in examples:
        # One by one: validate_get_examples would read all the corpora for that alone.
        validate_examples([example], "initialize")
        name = task_of(example.reference)
        if name not in tasks:
            of_task = layer_of(example.reference, layer)
            tasks[name] = TaskSurvey(name, of_task, VocabularyBuilder(normalize))
        task = tasks[name]
        task.labels.update(labels_in(example, task.layer))
        task.words.add(example.predicted)
        task.sentences += 1
        task.tokens += len(example.predicted)
        if name == TARGET and layer == "tag":  # tags are scored on other words as well
            task.surface.update(token.text for token in example.reference)
    return tasks


def merged_words(
    tasks: Mapping[str, TaskSurvey], groups: Mapping[str, str], normalize: Normalizer
) -> dict[str, VocabularyBuilder]:
    """The words of each word level, given which one each task uses; levels without words are left
    out."""
    merged: dict[str, VocabularyBuilder] = {}
    for name, task in tasks.items():
        if task.words.words:
            merged.setdefault(groups[name], VocabularyBuilder(normalize)).merge(task.words)
    return merged
