"""The base of all transfer components: one tagger for a target task and its sources."""

# Annotations are evaluated here: spaCy validates the arguments of `initialize` by their types.

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer, set_dropout_rate

from spacy_transfer.corpus.annotate import set_tags
from spacy_transfer.corpus.gold import check_layer, gold_tags, labels_in
from spacy_transfer.corpus.label_map import complete_map, read_label_map
from spacy_transfer.corpus.marks import TARGET, layer_of, task_of
from spacy_transfer.corpus.schemes import OUTSIDE, TagScheme
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.shim import Blueprint
from spacy_transfer.models.tagger import LossTerms, TaskDocs, TransferModel, shim_of
from spacy_transfer.models.vocabulary import Normalizer, VocabularyBuilder, initial_vectors
from spacy_transfer.pipeline.tasks import Task, TaskTags, equal_tags, head_labels, matched_tags

PREDICTION_TOKENS = 16_384
"""Padded tokens that are tagged at once: bounds memory, whatever the batch size."""

TagIds = NDArray[np.int64]


class TransferPipe(TrainablePipe):  # type: ignore[misc]
    """Tags a target task, having learned from source tasks as well.

    The examples of a task are marked by our corpus readers; unmarked ones belong to the target. At
    prediction the target is tagged, unless `task` is set to a source.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: TransferModel,
        name: str,
        *,
        layer: str,
        tag_scheme: TagScheme,
        scorer: Callable[..., dict[str, Any]] | None,
    ) -> None:
        """Create a component; `initialize` or loading gives it labels and weights.

        Args:
            vocab: the pipeline's vocabulary, whose vectors the tagger reads.
            model: a `spacy_transfer.TransferTagger`.
            name: the component's name in the pipeline.
            layer: where the target's annotation lives: `ents`, `tag` or `spans:KEY`.
            tag_scheme: how spans become tags: `BIOES` or `BIO`.
            scorer: scores predicted against reference Docs.
        """
        check_layer(layer)
        if tag_scheme not in ("BIOES", "BIO"):
            raise ValueError(f"tag_scheme must be BIOES or BIO; found {tag_scheme!r}")
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.layer = layer
        self.cfg: dict[str, Any] = {
            "tag_scheme": tag_scheme,
            "task": TARGET,
            "tasks": {TARGET: {"layer": layer, "labels": []}},
            "label_map": None,
            "target_words": [],
        }
        self._tags: dict[str, TaskTags] = {}

    # Labels and tasks

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of all tasks, the target first."""
        return tuple(self.cfg["tasks"])

    @property
    def task(self) -> str:
        """The task that is tagged at prediction. ValueError when set to an unknown one."""
        name: str = self.cfg["task"]
        return name

    @task.setter
    def task(self, name: str) -> None:
        self._require_task(name)
        self.cfg["task"] = name

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are predicted: those of `task`."""
        return tuple(self.cfg["tasks"][self.task]["labels"])

    @property
    def label_data(self) -> dict[str, list[str]]:
        """The labels of every task: what `spacy init labels` writes and `initialize` reads."""
        return {name: list(task["labels"]) for name, task in self.cfg["tasks"].items()}

    def add_label(self, label: str) -> int:
        """Add a label to the target; 1 if it is new, else 0.

        A trained model grows by the label's tags and keeps all else as it is.
        """
        labels = self.cfg["tasks"][TARGET]["labels"]
        if label in labels:
            return 0
        labels.append(label)
        blueprint = shim_of(self.model).blueprint
        if blueprint is not None:
            self._tags = {}
            sizes = {task: len(self._task_tags(task)) for task in self.tasks}
            shim_of(self.model).rebuild(blueprint.with_tasks(sizes))
            self._set_constraints()
        return 1

    def drop_task(self, name: str) -> None:
        """Forget a source: its head, and its word level where that is its own.

        Raises ValueError for the target, an unknown task, or a source whose head is shared.
        """
        self._require_task(name)
        blueprint = shim_of(self.model).blueprint
        if name == TARGET or blueprint is None or blueprint.sharing.head:
            raise ValueError(
                f"task {name!r} cannot be dropped: it is the target or shares its head"
            )
        del self.cfg["tasks"][name]
        self._tags = {}
        self.cfg["task"] = TARGET
        sizes = {task: blueprint.tasks[task] for task in self.tasks}
        shim_of(self.model).rebuild(blueprint.with_tasks(sizes))

    def _require_task(self, name: str) -> None:
        if name not in self.cfg["tasks"]:
            raise ValueError(f"no task {name!r} in {self.name!r}: it has {', '.join(self.tasks)}")

    def _task_tags(self, name: str) -> TaskTags:
        if not self._tags:
            tasks = [
                Task(task, values["layer"], tuple(values["labels"]))
                for task, values in self.cfg["tasks"].items()
            ]
            shared: list[str] = []
            renamed: dict[str, str] = {}
            if self.model.attrs["sharing"].head:
                renamed = self.cfg["label_map"] or {}
                shared = head_labels(tasks, renamed)
            self._tags = {
                task.name: TaskTags(
                    task,
                    shared or task.labels,
                    renamed if task.name == TARGET else {},
                    self.cfg["tag_scheme"],
                )
                for task in tasks
            }
        return self._tags[name]

    # Prediction

    def predict(self, docs: Iterable[Doc]) -> list[TagIds]:
        """Tag ids of each Doc, [tokens]; ValueError before the component has labels and weights."""
        docs = list(docs)
        predicted: list[TagIds] = [np.zeros(0, dtype=np.int64)] * len(docs)
        for indices in _by_length([len(doc) for doc in docs]):
            batch = [TaskDocs(self.task, [docs[i] for i in indices])]
            output = self.model.predict(batch)
            assert not isinstance(output, LossTerms)
            for i, tags in zip(indices, output[self.task], strict=True):
                predicted[i] = tags
        return predicted

    def set_annotations(self, docs: Iterable[Doc], scores: Iterable[TagIds]) -> None:
        """Write predicted tag ids, as `predict` gives them, to the layer of `task`."""
        layer = self.cfg["tasks"][self.task]["layer"]
        for doc, ids in zip(docs, scores, strict=True):
            set_tags(doc, layer, self.tag_names(ids))

    def tag_names(self, ids: TagIds) -> list[str]:
        """The tags behind predicted ids."""
        names = self._task_tags(self.task).names
        return [names[number] for number in ids.tolist()]

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,  # noqa: ARG002
        labels: Sequence[str] | dict[str, Sequence[str]] | None = None,
        label_map: Path | str | None = None,
        default_label: str | None = None,
    ) -> None:
        """Read labels and words from the examples and build the network.

        With T-A the target needs no examples: the map names its labels.

        Args:
            get_examples: gives all training examples, of every task.
            nlp: the pipeline, unused: its vectors are in the vocabulary.
            labels: the target's labels, or those of every task by name; else read from examples.
            label_map: file of matched labels; without it labels of equal name match. T-A takes
                `O` for a source label too, where layers are of spans.
            default_label: with T-A, the source label of all target labels that match none.

        Raises:
            ValueError: no labels or words, labels of an unknown task, a map to labels that a
                source does not have, or, with T-A, target labels that match none, or a target and
                a source on layers that cannot share a CRF.
        """
        given = labels if isinstance(labels, dict) else {TARGET: labels} if labels else {}
        encoder, sharing = self.model.attrs["encoder"], self.model.attrs["sharing"]
        if default_label is not None and not sharing.head:
            raise ValueError("default_label is for T-A: otherwise target labels need no match")
        pairs: dict[str, str] | None = None if label_map is None else read_label_map(label_map)
        normalize = Normalizer(encoder.lower, encoder.zero_digits)
        # Labels that were added before there was a network belong to the target too.
        added = [] if shim_of(self.model).blueprint else self.cfg["tasks"][TARGET]["labels"]
        found: dict[str, Counter[str]] = {TARGET: Counter(dict.fromkeys(added, 0))}
        layers = {TARGET: self.layer}
        words: dict[str, VocabularyBuilder] = {}
        target_words: set[str] = set()
        for example in get_examples():
            # One by one: validate_get_examples would read all the corpora for that alone.
            validate_examples([example], f"{type(self).__name__}.initialize")
            task = task_of(example.reference)
            layer = layers.setdefault(task, layer_of(example.reference, self.layer))
            found.setdefault(task, Counter()).update(labels_in(example, layer))
            group = sharing.words_of(task)
            words.setdefault(group, VocabularyBuilder(normalize)).add(example.predicted)
            if self.layer == "tag" and task == TARGET:  # tags are scored on other words as well
                target_words.update(token.text for token in example.reference)
        if sharing.head and pairs and len(found) > 1:
            # A small sample of the target, or none, need not hold every label.
            found[TARGET].update(dict.fromkeys(pairs, 0))
        for task in given:
            if task not in found:
                raise ValueError(f"labels are given for task {task!r}, which has no examples")
        self.cfg["tasks"] = {
            task: {
                "layer": layers[task],
                "labels": list(dict.fromkeys(given.get(task) or sorted(of_task))),
            }
            for task, of_task in found.items()
        }
        for task, values in self.cfg["tasks"].items():
            if not values["labels"]:
                raise ValueError(
                    f"no labels for task {task!r} of {self.name!r}: it has no examples with "
                    f"annotation in layer {values['layer']!r}"
                )
        if sharing.words_of(TARGET) not in words:
            raise ValueError(f"no words for the target of {self.name!r}: it has no examples")
        if sharing.head and len(found) > 1:
            pairs = self._complete(pairs, default_label, found[TARGET])
        self.cfg["label_map"] = pairs
        self.cfg["target_words"] = sorted(target_words)
        self._tags = {}
        self._build(words)

    def _complete(
        self, label_map: dict[str, str] | None, default_label: str | None, counts: Counter[str]
    ) -> dict[str, str]:
        """The label map of T-A, with all target labels: see `complete_map`."""
        target, *sources = self.cfg["tasks"].values()
        plain = target["layer"] == "tag"
        if any((source["layer"] == "tag") != plain for source in sources):
            raise ValueError("T-A shares one CRF: tag layers and span layers cannot be mixed")
        return complete_map(
            {label: counts[label] for label in target["labels"]},
            [*([] if plain else [OUTSIDE]), *(name for task in sources for name in task["labels"])],
            label_map,
            default_label,
        )

    def _build(self, words: dict[str, VocabularyBuilder]) -> None:
        """A new network over these words, trained rows starting from static vectors."""
        vectors = self.vocab.vectors
        encoder = self.model.attrs["encoder"]
        if vectors.shape[0]:
            encoder = encoder.with_word_embedding(vectors.shape[1])
        target = self._task_tags(TARGET)
        matched = {
            task: equal_tags(self._task_tags(task), target)
            if self.model.attrs["sharing"].head
            else matched_tags(self._task_tags(task), target, self.cfg["label_map"])
            for task in self.tasks[1:]
        }
        blueprint = Blueprint(
            encoder=encoder,
            objective=self.model.attrs["objective"],
            sharing=self.model.attrs["sharing"],
            tasks={task: len(self._task_tags(task)) for task in self.tasks},
            matched={task: len(pairs) for task, pairs in matched.items()},
            words={group: sorted(builder.words) for group, builder in words.items()},
            characters="".join(sorted(set().union(*(b.characters for b in words.values())))),
        )
        network = blueprint.build()
        for group, builder in words.items():
            listed = blueprint.words[group]
            positions, values = initial_vectors(listed, builder.surface, vectors)
            rare = np.array([builder.words[word] == 1 for word in listed])
            rare[positions] = False
            network.set_words(
                group, torch.from_numpy(positions), torch.from_numpy(values), torch.from_numpy(rare)
            )
        for task, pairs in matched.items():
            network.set_matched(task, pairs)
        shim_of(self.model).set_network(blueprint, network)
        self._set_constraints()

    def _set_constraints(self) -> None:
        network = shim_of(self.model).network
        for task in self.tasks:
            network.set_constraints(task, self._task_tags(task).constraints())

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch of one or more tasks.

        `losses[name]` grows by the loss and `losses[name_TERM]` by each of its terms.
        FloatingPointError when a term is not finite; the weights are then as they were.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        batch = self._gold_batch(examples)
        if not batch:
            return losses
        set_dropout_rate(self.model, drop)
        output, backprop = self.model.begin_update(batch)
        assert isinstance(output, LossTerms)
        for term, value in output.terms.items():
            if not np.isfinite(value):
                raise FloatingPointError(f"loss term {term!r} of {self.name!r} is {value}")
        backprop(1.0)
        if sgd not in (None, False):
            self.finish_update(sgd)
        losses[self.name] += output.total
        for term, value in output.terms.items():
            key = f"{self.name}_{term}"
            losses[key] = losses.get(key, 0.0) + value
        return losses

    def get_loss(self, examples: Iterable[Example], scores: Any) -> tuple[float, float]:  # noqa: ARG002
        """The loss of the examples in training under the current weights, and its gradient, 1."""
        batch = self._gold_batch(list(examples))
        if not batch:
            return 0.0, 1.0
        output, _ = self.model.begin_update(batch)
        assert isinstance(output, LossTerms)
        return output.total, 1.0

    def create_optimizer(self) -> Optimizer:
        """The papers' AdaGrad, for updating this component by itself."""
        return adagrad()

    def _gold_batch(self, examples: list[Example]) -> list[TaskDocs]:
        by_task: dict[str, tuple[list[Doc], list[TagIds]]] = {}
        for example in examples:
            if not len(example.predicted):
                continue
            task = task_of(example.reference)
            self._require_task(task)
            layer = self.cfg["tasks"][task]["layer"]
            tags = gold_tags(example, layer, self.cfg["tag_scheme"])
            if tags is None:
                continue
            if "" in tags:
                warnings.warn(
                    f"sentences of task {task!r} in which a token has no tag are left out",
                    stacklevel=2,
                )
                continue
            docs, gold = by_task.setdefault(task, ([], []))
            docs.append(example.predicted)
            gold.append(self._task_tags(task).encode(tags))
        return [TaskDocs(task, *by_task[task]).share() for task in self.tasks if task in by_task]

    # Loading

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "TransferPipe":
        """Load what `to_bytes` gave."""
        super().from_bytes(bytes_data, exclude=exclude)
        self._tags = {}
        return self

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "TransferPipe":
        """Load what `to_disk` wrote. ValueError if the weights are not safetensors."""
        super().from_disk(path, exclude=exclude)
        self._tags = {}
        return self


def _by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of the non-empty sequences in batches of like lengths and bounded size."""
    order = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: lengths[i], reverse=True)
    start = 0
    while start < len(order):
        size = max(1, PREDICTION_TOKENS // lengths[order[start]])
        yield order[start : start + size]
        start += size
