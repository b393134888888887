"""The base of all transfer components: one tagger for a target task and its sources."""

# Annotations are evaluated here: spaCy validates the arguments of `initialize` by their types.

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer, set_dropout_rate

from spacy_transfer.corpus.gold import check_layer, gold_tags
from spacy_transfer.corpus.label_map import matched_labels
from spacy_transfer.corpus.marks import TARGET, task_of, weight_of
from spacy_transfer.corpus.schemes import TagScheme
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.tagger import (
    LossTerms,
    Prediction,
    TaggerInput,
    TaskDocs,
    TransferModel,
    hidden_states,
    n_best,
    shim_of,
    tok2vec_of,
)
from spacy_transfer.models.tok2vec import initialize_tok2vec, require_device_of_tok2vec
from spacy_transfer.models.vocabulary import Normalizer
from spacy_transfer.nn.sharing import Sharing
from spacy_transfer.pipeline.borders import kinds_of_tokens
from spacy_transfer.pipeline.confidence import (
    Confidence,
    Reading,
    reading_of,
    register,
    set_with_scores,
    set_without_scores,
)
from spacy_transfer.pipeline.labels import match_labels, warn_of_unmatched
from spacy_transfer.pipeline.network import build_network, read_gazetteer
from spacy_transfer.pipeline.scoring import score_layer
from spacy_transfer.pipeline.source_pipeline import LAYERS, SOURCE, SourcePipeline
from spacy_transfer.pipeline.sources import check_beta, check_sources
from spacy_transfer.pipeline.survey import TaskSurvey, merged_words, survey
from spacy_transfer.pipeline.tasks import Task, TaskTags, equal_tags, head_labels, matched_tags

PREDICTION_TOKENS = 16_384
"""Padded tokens that are tagged at once: bounds memory, whatever the batch size."""

SAMPLE = 10
"""So many Docs show a tok2vec what its inputs look like."""

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
        confidence: Confidence | None = None,
    ) -> None:
        """Create a component; `initialize` or loading gives it labels and weights.

        Args:
            vocab: the pipeline's vocabulary, whose vectors the tagger reads.
            model: a `spacy_transfer.TransferTagger`.
            name: the component's name in the pipeline.
            layer: where the target's annotation lives: `ents`, `tag` or `spans:KEY`.
            tag_scheme: how spans become tags: `BIOES` or `BIO`.
            scorer: scores predicted against reference Docs.
            confidence: what is done with the posterior probabilities of spans; None for none.

        Raises ValueError for an unknown layer or scheme.
        """
        check_layer(layer)
        if tag_scheme not in ("BIOES", "BIO"):
            raise ValueError(f"tag_scheme must be BIOES or BIO; found {tag_scheme!r}")
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.layer = layer
        self._confidence = confidence
        if confidence is not None:
            register()
        self.cfg: dict[str, Any] = {
            "tag_scheme": tag_scheme,
            "task": TARGET,
            "tasks": {TARGET: {"layer": layer, "labels": []}},
            "label_map": None,
            "renamed": {},
            "target_words": [],
            "corpora": {},
            "temperature": 1.0,
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
    def task_layer(self) -> str:
        """Where the annotation of `task` lives."""
        return self.layer_of(self.task)

    def layer_of(self, task: str) -> str:
        """Where the annotation of a task lives. ValueError for an unknown task."""
        self._require_task(task)
        return str(self.cfg["tasks"][task]["layer"])

    @property
    def temperature(self) -> float:
        """What scores are divided by before they are probabilities, saved with the component:
        `spacy transfer calibrate` finds the best one. ValueError when set to 0 or less."""
        return float(self.cfg.get("temperature", 1.0))

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not value > 0:
            raise ValueError(f"a temperature must be above 0; found {value}")
        self.cfg["temperature"] = value

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
            sizes = {task: len(self.task_tags(task)) for task in self.tasks}
            shim_of(self.model).rebuild(blueprint.with_tasks(sizes))
            self._set_constraints()
        return 1

    def drop_task(self, name: str) -> None:
        """Forget a source: its head, and its word level where that is its own.

        Raises ValueError for the target, an unknown task, or a source whose head is shared.
        """
        self._require_task(name)
        blueprint = shim_of(self.model).blueprint
        if blueprint is None or blueprint.sharing.head_of(name) == TARGET:
            raise ValueError(
                f"task {name!r} cannot be dropped: it is the target or shares its head"
            )
        del self.cfg["tasks"][name]
        self.cfg["corpora"].pop(name, None)
        self._tags = {}
        self.cfg["task"] = TARGET
        sizes = {task: blueprint.tasks[task] for task in self.tasks}
        shim_of(self.model).rebuild(blueprint.with_tasks(sizes))

    def _require_task(self, name: str) -> None:
        if name not in self.cfg["tasks"]:
            raise ValueError(f"no task {name!r} in {self.name!r}: it has {', '.join(self.tasks)}")

    def task_tags(self, name: str) -> TaskTags:
        """The tags of a task as ids of its head."""
        if not self._tags:
            tasks = [
                Task(task, values["layer"], tuple(values["labels"]))
                for task, values in self.cfg["tasks"].items()
            ]
            sharing, scheme = self._sharing(self.tasks), self.cfg["tag_scheme"]
            together = [task for task in tasks if sharing.head_of(task.name) == TARGET]
            renamed = self.cfg["renamed"]
            shared = head_labels(together, renamed)
            for task in tasks:
                labels = shared if task in together else task.labels
                mapped = renamed if task.name == TARGET else {}
                self._tags[task.name] = TaskTags(task, labels, mapped, scheme)
        return self._tags[name]

    def _sharing(self, tasks: Iterable[str]) -> Sharing:
        sources = [task for task in tasks if task != TARGET]
        return Sharing.of(TARGET, self.model.attrs["sharing"], sources)

    # Confidence

    @property
    def confidence(self) -> Confidence | None:
        """What is done with the posterior probabilities of spans; None where they are not computed.

        A setting of the config, which is saved with the pipeline: AttributeError when set here.
        """
        return self._confidence

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, but none that would seem to be a setting of the config and is not."""
        if name in ("confidence", "threshold", "below"):
            raise AttributeError(
                f"{name} of {self.name!r} is a setting of its config: give it to spacy.load(..., "
                f"config={{'components.{self.name}.{name}': ...}}), or try it in use_confidence"
            )
        super().__setattr__(name, value)

    @contextmanager
    def use_confidence(self, confidence: Confidence | None) -> Iterator[None]:
        """Have another `confidence` for what is tagged within; nothing of it is saved."""
        if confidence is not None:
            register()
        before, self._confidence = self._confidence, confidence
        try:
            yield
        finally:
            self._confidence = before

    # Prediction

    def predict(self, docs: Iterable[Doc]) -> list[Prediction]:
        """What is predicted for each Doc; ValueError before there are labels and weights."""
        docs = list(docs)
        predicted = [Prediction(np.zeros(0, dtype=np.int64))] * len(docs)
        segments, keep_entities = None, self.task_layer == "ents"
        if self.confidence is not None:
            segments = self.task_tags(self.task).segments(self.temperature)
        for indices in _by_length([len(doc) for doc in docs]):
            part = self._text([docs[i] for i in indices], keep_entities)
            part = replace(part, segments=segments)
            output = self.model.predict(TaggerInput([part]))
            assert isinstance(output, dict)
            for i, prediction in zip(indices, output[self.task], strict=True):
                predicted[i] = prediction
        return predicted

    def set_annotations(self, docs: Iterable[Doc], scores: Iterable[Prediction]) -> None:
        """Write what `predict` gives to the layer of `task`."""
        layer = self.task_layer
        for doc, (ids, posteriors) in zip(docs, scores, strict=True):
            tags = self.tag_names(ids)
            if self.confidence is None:
                set_without_scores(doc, layer, tags, self.name)
            else:
                of_tokens = [] if posteriors is None else posteriors.tolist()
                set_with_scores(doc, layer, tags, of_tokens, self.name, self.confidence)

    def n_best(self, doc: Doc, n: int) -> list[Reading]:
        """The n most probable annotations of a whole Doc, the best first; fewer where there are
        fewer. The Doc stays as it is, and entities that it has are not looked at. ValueError for n
        below 1, or that is no whole number."""
        try:
            n = index(n)
        except TypeError as error:
            raise ValueError(f"n must be a whole number; found {n!r}") from error
        if n < 1:
            raise ValueError(f"n must be at least 1; found {n}")
        if not len(doc):
            return [Reading([], 1.0)]
        [found] = n_best(self.model, self._text([doc], False), n, self.temperature)
        return [reading_of(doc, self.task_layer, self.tag_names(tags), p) for tags, p in found]

    def _text(self, docs: list[Doc], keep_entities: bool) -> TaskDocs:
        """Docs to be tagged, none of them empty, with the tags that their tokens cannot have."""
        table = self.task_tags(self.task).barred()
        kinds = None if table is None else kinds_of_tokens(docs, keep_entities)
        if table is None or kinds is None:
            return TaskDocs(self.task, docs)
        return TaskDocs(self.task, docs, barred=[table[of_doc] for of_doc in kinds])

    def tag_names(self, ids: TagIds) -> list[str]:
        """The tags behind predicted ids."""
        names = self.task_tags(self.task).names
        return [names[number] for number in ids.tolist()]

    def hidden(self, docs: Iterable[Doc], task: str = TARGET) -> list[NDArray[np.float32]]:
        """The hidden states of each Doc as a text of `task`, [tokens, hidden].

        ValueError for an unknown task, and before the component has weights.
        """
        self._require_task(task)
        docs = list(docs)
        blueprint = shim_of(self.model).blueprint
        width = (blueprint.encoder if blueprint else self.model.attrs["encoder"]).word_width
        states = [np.zeros((0, width), dtype=np.float32)] * len(docs)
        for indices in _by_length([len(doc) for doc in docs]):
            of_batch = hidden_states(self.model, TaskDocs(task, [docs[i] for i in indices]))
            for i, of_doc in zip(indices, of_batch, strict=True):
                states[i] = of_doc
        return states

    def matched_labels(self, source: str) -> list[tuple[str, str]]:
        """The pairs of a target and a source label that mean the same.

        There are none between a layer of tags and one of spans. ValueError for an unknown task.
        """
        self._require_task(source)
        target, of_source = (self.cfg["tasks"][task] for task in (TARGET, source))
        if (target["layer"] == "tag") != (of_source["layer"] == "tag"):
            return []
        in_head = self._sharing(self.tasks).head_of(source) == TARGET
        label_map = self.cfg["renamed" if in_head else "label_map"]
        return matched_labels(target["labels"], of_source["labels"], label_map)

    # Evaluation

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """The scores of the component's scorer, and how sources are tagged, as `SOURCE_SCORE`.

        An example that is marked as one of a source is tagged anew as such, and counts for that
        source alone. ValueError for a source that the component does not know, or whose examples
        have no annotation of its layer.
        """
        by_task: dict[str, list[Example]] = {TARGET: []}
        for example in examples:
            by_task.setdefault(task_of(example.reference), []).append(example)
        scores: dict[str, Any] = super().score(by_task.pop(TARGET), **kwargs)
        for task, of_task in by_task.items():
            try:
                found = score_layer(self._tagged_as(task, of_task), self.layer_of(task))
            except ValueError as error:
                raise ValueError(f"the dev corpus of task {task!r}: {error}") from error
            scores |= {f"{task}_{name}": value for name, value in found.items()}
        return scores

    def _tagged_as(self, task: str, examples: list[Example]) -> list[Example]:
        docs = [example.predicted.copy() for example in examples]
        if self.layer_of(task) == "ents":
            for doc in docs:  # the target's entities would stay
                doc.set_ents([], default="missing")
        before, self.task = self.task, task
        try:
            self.set_annotations(docs, self.predict(docs))
        finally:
            self.task = before
        return [Example(doc, of.reference) for doc, of in zip(docs, examples, strict=True)]

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | dict[str, Sequence[str]] | None = None,
        label_map: Path | str | None = None,
        default_label: str | None = None,
        union: bool = False,
        source_vectors: dict[str, Path | str | None] | None = None,
        source_pipeline: Path | str | None = None,
        carry_over: Sequence[str] | None = None,
        gazetteers: dict[str, Path | str] | None = None,
        gazetteer_lower: bool = False,
    ) -> None:
        """Read labels and words from the examples and build the network.

        With T-A the target needs no examples: the map names its labels. Without a map, a union or a
        default, T-A takes the labels of the target and of its sources to be the same.

        Args:
            get_examples: gives all training examples, of every task.
            nlp: the pipeline, whose tokenizer splits the phrases of gazetteers too.
            labels: the target's labels, or those of every task by name; else read from examples.
            label_map: file of matched labels; others match by equal names. T-A takes
                `O` for a source label too, where layers are of spans.
            default_label: with T-A, the source label of all target labels that match none.
            union: with T-A, give those tags of their own in the shared CRF instead.
            source_vectors: pipelines or packages whose vectors sources with T-C start from, of any
                width, by source, None for none; sources not named have those of this pipeline.
            source_pipeline: a pipeline or package that was trained on the source alone. Its task
                becomes a source named `source`, without text and with a head that stays as it is:
                the target starts from it, and CRF-L2 ties the target's CRF to it.
            carry_over: what the target starts from: `characters` and their encoder, `embeddings` of
                words, the encoder of `words`, and what the `crf` has for matched labels. None for
                all of them.
            gazetteers: files of phrases, one a line, by name. Where a token is in a phrase is an
                input of the CRF (Yang et al. 2017, §4.1).
            gazetteer_lower: whether the words of gazetteers are compared in lower case.

        Raises:
            ValueError: no labels or words, labels of an unknown task, a map to labels that no
                source has, or, with T-A, target labels that match none, or a target and a source
                on layers that cannot share a CRF; a plan or vectors for an unknown source; a saved
                source that does not fit, or something to carry over without one; `beta` without a
                source that has a CRF of its own.
        """
        given = labels if isinstance(labels, dict) else {TARGET: labels} if labels else {}
        encoder = self.model.attrs["encoder"]
        if (tok2vec := tok2vec_of(self.model)) is not None:
            if source_vectors or source_pipeline:
                raise ValueError(
                    "source_vectors and source_pipeline are for embeddings of words: this tagger "
                    "has a tok2vec"
                )
            sample = (example.x for example in get_examples() if len(example.x))
            width = initialize_tok2vec(tok2vec, list(islice(sample, SAMPLE)))
            encoder = replace(encoder, word_embedding=width)
        saved = None
        if source_pipeline is not None:
            saved = SourcePipeline(source_pipeline, LAYERS if carry_over is None else carry_over)
        elif carry_over is not None:
            raise ValueError(
                f"{self.name!r} has a carry_over, but no source_pipeline to start from: set it in "
                f"[paths] of the config or on the command line, as in "
                f"--paths.source_pipeline FOLDER"
            )
        normalize = Normalizer(encoder.lower, encoder.zero_digits)
        found = self._survey(get_examples(), normalize, saved)
        sharing = self._sharing(found)
        check_sources(found, self.model.attrs["sharing"], sharing, given, source_vectors or {})
        check_beta(self.model.attrs["objective"].beta, sharing)
        for name, of_task in given.items():
            found[name].labels = Counter({label: found[name].labels[label] for label in of_task})
        self._match_labels(found, sharing, label_map, default_label, union, TARGET in given)
        self._set_tasks(found, given)
        words = merged_words(found, {task: sharing.words_of(task) for task in found}, normalize)
        if TARGET not in words:
            raise ValueError(f"no words for the target of {self.name!r}: it has no examples")
        gazetteer = read_gazetteer(gazetteers or {}, gazetteer_lower, nlp and nlp.make_doc)
        tags = {task: self.task_tags(task) for task in self.tasks}
        matched = self._matched(tags, sharing)
        pairs = {source: self.matched_labels(source) for source in self.tasks[1:]}
        warn_of_unmatched(self.model.attrs["objective"], pairs)
        blueprint, network = build_network(
            encoder,
            self.model.attrs["objective"],
            sharing,
            self.model.attrs["projection"],
            {task: len(of_task) for task, of_task in tags.items()},
            matched,
            words,
            self.vocab.vectors,
            source_vectors or {},
            gazetteer,
            frozen=[] if saved is None else [SOURCE],
        )
        if saved is not None:
            saved.check(blueprint, self.cfg["tag_scheme"])
            saved.carry(blueprint, network, tags[SOURCE], matched[SOURCE])
        shim_of(self.model).set_network(blueprint, network, gazetteer)
        if tok2vec is not None:
            require_device_of_tok2vec(shim_of(self.model).device)
        self._set_constraints()

    def _survey(
        self, examples: Iterable[Example], normalize: Normalizer, saved: SourcePipeline | None
    ) -> dict[str, TaskSurvey]:
        """What the examples hold, and a saved source."""
        # Labels that were added before there was a network belong to the target too.
        added = [] if shim_of(self.model).blueprint else self.cfg["tasks"][TARGET]["labels"]
        found = survey(examples, self.layer, normalize)
        found[TARGET].labels.update(dict.fromkeys(added, 0))
        if saved is not None:
            if SOURCE in found:
                raise ValueError(f"the saved source is named {SOURCE!r}: rename that corpus")
            found[SOURCE] = saved.survey(normalize)
        return found

    def _match_labels(
        self,
        found: dict[str, TaskSurvey],
        sharing: Sharing,
        label_map: Path | str | None,
        default_label: str | None,
        union: bool,
        all_known: bool,
    ) -> None:
        setting = self.model.attrs["sharing"]
        plans = [setting] if isinstance(setting, str) else setting.values()
        if "T-A" not in plans and (union or default_label is not None):
            raise ValueError(
                "default_label and union are for T-A: otherwise target labels need no match"
            )
        in_head = [source for source in sharing.plans if sharing.head_of(source) == TARGET]
        self.cfg["label_map"], self.cfg["renamed"] = match_labels(
            found, in_head, label_map, default_label, union, all_known=all_known
        )

    def _set_tasks(self, found: dict[str, TaskSurvey], given: Collection[str]) -> None:
        """Have the tasks that were found; the labels of some were given, in their order."""
        self.cfg["tasks"] = {
            name: {"layer": task.layer, "labels": task.label_list(as_given=name in given)}
            for name, task in found.items()
        }
        self.cfg.pop("card", None)
        self.cfg["corpora"] = {name: task.size for name, task in found.items()}
        self.cfg["target_words"] = sorted(found[TARGET].surface)
        self._tags = {}

    def _matched(
        self, tags: dict[str, TaskTags], sharing: Sharing
    ) -> dict[str, list[tuple[int, int]]]:
        return {
            task: equal_tags(of_task, tags[TARGET])
            if sharing.head_of(task) == TARGET
            else matched_tags(of_task, tags[TARGET], self.cfg["label_map"])
            for task, of_task in tags.items()
            if task != TARGET
        }

    def _set_constraints(self) -> None:
        network = shim_of(self.model).network
        for task in self.tasks:
            network.set_constraints(task, self.task_tags(task).constraints())

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
        listens = tok2vec_of(self.model) is not None and any(len(eg.predicted) for eg in examples)
        if not batch.parts and not listens:
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
        if not batch.parts:
            return 0.0, 1.0
        output, _ = self.model.begin_update(batch)
        assert isinstance(output, LossTerms)
        return output.total, 1.0

    def create_optimizer(self) -> Optimizer:
        """The papers' AdaGrad, for updating this component by itself."""
        return adagrad()

    def _gold_batch(self, examples: list[Example]) -> TaggerInput:
        by_task: dict[str, tuple[list[Doc], list[TagIds], list[float]]] = {}
        for example in examples:
            if not len(example.predicted):
                continue
            task = task_of(example.reference)
            self._require_task(task)
            layer = self.cfg["tasks"][task]["layer"]
            tags = gold_tags(example, layer, self.cfg["tag_scheme"])
            if tags is None or not any(tags):
                continue
            docs, gold, weights = by_task.setdefault(task, ([], [], []))
            docs.append(example.predicted)
            gold.append(self.task_tags(task).encode(tags))
            weights.append(weight_of(example.reference))
        parts = []
        for task in self.tasks:
            if task in by_task:
                docs, gold, weights = by_task[task]
                scales = None if set(weights) == {1.0} else weights
                parts.append(TaskDocs(task, docs, gold, weights=scales).share())
        return TaggerInput(parts, [example.predicted for example in examples])

    # Loading

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "TransferPipe":
        """Load what `to_bytes` gave."""
        asked = dict(self.cfg)
        super().from_bytes(bytes_data, exclude=exclude)
        self._loaded(asked)
        return self

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "TransferPipe":
        """Load what `to_disk` wrote. ValueError if the weights are not safetensors, or were trained
        with another tag scheme than the config has."""
        asked = dict(self.cfg)
        super().from_disk(path, exclude=exclude)
        self._loaded(asked)
        return self

    def _loaded(self, asked: dict[str, Any]) -> None:
        """Hold what was loaded against what the config asks for, which may have been overridden."""
        self._tags = {}
        trained, scheme = self.cfg["tag_scheme"], asked["tag_scheme"]
        if trained != scheme:
            raise ValueError(
                f"tag_scheme of {self.name!r} is {scheme} in the config, but it was trained with "
                f"{trained}: its weights are for that one alone"
            )
        self.cfg["tasks"][TARGET]["layer"] = self.layer


def _by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of the non-empty sequences in batches of like lengths and bounded size."""
    order = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: lengths[i], reverse=True)
    start = 0
    while start < len(order):
        size = max(1, PREDICTION_TOKENS // lengths[order[start]])
        yield order[start : start + size]
        start += size
