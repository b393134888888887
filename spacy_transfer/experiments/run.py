"""One run of an experiment: what it is, the config that trains it, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from confection import Config

from spacy_transfer.corpus.checksum import contents, digest
from spacy_transfer.pipeline.scoring import main_score
from spacy_transfer.training.config import load_training_config, override

COMPUTED_BY = ("spacy-transfer", "spacy", "torch")
COMPONENTS = {"ents": "transfer_ner", "tag": "transfer_tagger", "spans": "transfer_chunker"}


@dataclass(frozen=True)
class CorpusFiles:
    """A corpus by its files, with what belongs to its language."""

    name: str
    layer: str
    lang: str
    train: Path
    dev: Path | None = None
    test: Path | None = None
    more_tests: dict[str, Path] = field(default_factory=dict)
    vectors: str | None = None
    gazetteers: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Swept:
    """A value of a setting that is swept.

    Attributes:
        method: the name of the method that all values have in common.
        setting: its dotted name.
        value: what it is set to.
    """

    method: str
    setting: str
    value: float


@dataclass(frozen=True)
class Run:
    """One training run and its score on the target's test corpus.

    Attributes:
        experiment: the name of the experiment.
        target: the target.
        sources: the sources, if any.
        method: the name of the method.
        config: its training config.
        rate: labeling rate of the target.
        seed: of sampling, weights and order.
        vectors: a pipeline with vectors for the target's words; None leaves it to the config.
        label_map: a file of matched labels.
        settings: of the config, by their dotted names.
        published: a published score to compare with.
        first: the run whose pipeline this one starts from, if it does.
        reference: the method that a report tests all others against.
        ablation: whether the method is a part of the reference.
        swept: which value of a sweep this run has, if it is of one.
    """

    experiment: str
    target: CorpusFiles
    sources: tuple[CorpusFiles, ...]
    method: str
    config: Path
    rate: float
    seed: int
    vectors: str | None
    label_map: Path | None
    settings: dict[str, Any]
    published: float | None
    first: Run | None = None
    reference: str | None = None
    ablation: bool = False
    swept: Swept | None = None

    @property
    def score(self) -> str:
        """The name of the score that counts."""
        return main_score(self.target.layer)

    def __str__(self) -> str:
        sources = "+".join(source.name for source in self.sources)
        arrow = f"{sources} -> " if sources else ""
        return f"{self.method}: {arrow}{self.target.name}/{self.rate:g}, seed {self.seed}"


Place = Callable[[Path, CorpusFiles], str]
"""Where a corpus is in spaCy's format: takes one of its files, and what it is of."""


def config_of(run: Run, place: Place, pipeline: Callable[[Run], str]) -> Config:
    """The complete training config of a run: that of its method, with its corpora and its seed.

    `pipeline` says where the best pipeline of an earlier run is. ValueError naming the config or
    the setting that cannot be used.
    """
    config = load_training_config(run.config, {})
    target = run.target
    assert target.dev is not None
    name = _component(run.config, config)
    kind, _, key = target.layer.partition(":")
    config["components"][name]["factory"] = COMPONENTS[kind]
    if key:
        config["components"][name]["spans_key"] = key
        weights = {f"spans_chunks_{score}": None for score in ("f", "p", "r", "per_type")}
        config["training"]["score_weights"] = {**weights, run.score: 1.0}
    config["nlp"]["lang"] = target.lang

    initialize = config.setdefault("initialize", {})
    component = initialize.setdefault("components", {}).setdefault(name, {})
    if run.vectors:
        initialize["vectors"] = _absolute(run.vectors)
    if run.label_map:
        component["label_map"] = _absolute(run.label_map)
    if target.gazetteers:
        component["gazetteers"] = {k: _absolute(path) for k, path in target.gazetteers.items()}
    if ("source_pipeline" in component) == (run.first is None):
        raise ValueError(
            f"{run.config}: the config of a method with `first` has a source_pipeline, and a "
            f"method without has none"
        )
    if run.first is not None:
        component["source_pipeline"] = pipeline(run.first)
    if "source_vectors" in component:
        component["source_vectors"] = {
            source.name: source.vectors and _absolute(source.vectors)
            for source in run.sources
            if source.vectors or source.lang != target.lang
        }

    corpora = config["corpora"]
    train = corpora["train"]
    if ("target" in train) == (run.rate == 0):
        raise ValueError(
            f"{run.config}: rate 0 needs a config without [corpora.train.target], and such a "
            f"config needs rate 0; found rate {run.rate:g}"
        )
    if run.rate:
        rate = {"rate": run.rate, "rate_seed": run.seed}
        train["target"] = _corpus(train["target"], target, place(target.train, target)) | rate
    of_config = train.get("sources", {})
    train["sources"] = {
        source.name: _corpus(of_config.get(source.name, {}), source, place(source.train, source))
        for source in run.sources
        if run.first is None
    }
    corpora["dev"].pop("sources", None)
    corpora["dev"] = _corpus(corpora["dev"], target, place(target.dev, target))
    config["training"].pop("before_to_disk", None)  # a model card of each run would be read by none
    for section in (config.setdefault("system", {}), config["training"], train):
        section["seed"] = run.seed
    batcher = config["training"].get("batcher", {})
    if batcher.get("@batchers") == "spacy_transfer.Alternate.v1":  # which draws tasks by its own
        batcher.setdefault("seed", "${system.seed}")
    config["paths"] = {
        variable: value
        for variable, value in config.get("paths", {}).items()
        if f"${{paths.{variable}}}" in config.to_str(interpolate=False)
    }
    config = override(run.config, config, run.settings)
    _require_learned(run, config)
    return config


def _require_learned(run: Run, config: Config) -> None:
    """ValueError for sources that no batch is of."""
    sources = config["corpora"]["train"]["sources"]
    batcher = config["training"].get("batcher", {}).get("@batchers")
    if sources and batcher == "spacy_transfer.TargetOnly.v1":
        raise ValueError(
            f"{run.config}: {run.method!r} has batches of the target alone and would learn nothing "
            f"from {', '.join(sources)}: list it in `runs` without sources"
        )


def _component(path: Path, config: Config) -> str:
    """The name of the component that is trained; ValueError for a config that is none for a run."""
    for place in ("nlp", "training", "corpora.train", "corpora.dev"):
        section: Any = config
        for part in place.split("."):
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise ValueError(f"{path}: expected a section [{place}]")
    names = [
        name
        for name, component in config.get("components", {}).items()
        if component.get("factory") in COMPONENTS.values()
    ]
    if len(names) != 1:
        raise ValueError(
            f"{path}: expected one component of {', '.join(COMPONENTS.values())}; "
            f"found {', '.join(names) or 'none'}"
        )
    return str(names[0])


def _corpus(of_config: dict[str, Any], files: CorpusFiles, path: str) -> dict[str, Any]:
    reader = {"@readers": "spacy_transfer.TaskCorpus.v1"}
    return {**of_config, **reader, "path": path, "layer": files.layer}


def _absolute(path: Path | str) -> str:
    """A path that holds in any folder; the name of a package as it is."""
    return str(Path(path).resolve() if Path(path).exists() else path)


def key_of(run: Run) -> str:
    """A name for all that determines the result: the config with the contents of the files that it
    names, the test corpora, and the versions of what computes."""
    assert run.target.test is not None
    config = config_of(run, lambda path, files: f"{_absolute(path)}\n{files.lang}", key_of)
    versions = [f"{name} {version(name)}" for name in COMPUTED_BY]
    tests = [run.target.test, *run.target.more_tests.values()]
    parts = [contents(config), *map(digest, tests), *run.target.more_tests, versions]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
