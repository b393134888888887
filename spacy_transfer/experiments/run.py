"""One run of an experiment: what it is, the config that trains it, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from confection import Config

from spacy_transfer.training.config import load_training_config, override

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
    vectors: str | None = None
    gazetteers: dict[str, Path] = field(default_factory=dict)


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
        vectors: a pipeline with vectors for the target's words.
        label_map: a file of matched labels.
        settings: of the config, by their dotted names.
        published: a published score to compare with.
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

    @property
    def score(self) -> str:
        """The name of the score that counts."""
        kind, _, key = self.target.layer.partition(":")
        return {"ents": "ents_f", "tag": "tag_acc", "spans": f"spans_{key}_f"}[kind]

    def __str__(self) -> str:
        sources = "+".join(source.name for source in self.sources)
        arrow = f"{sources} -> " if sources else ""
        return f"{self.method}: {arrow}{self.target.name}/{self.rate:g}, seed {self.seed}"


Place = Callable[[Path | str, str | None], str]
"""What stands for a file in a config: takes the file, and the layer of a corpus."""


def config_of(run: Run, place: Place) -> Config:
    """The complete training config of a run.

    ValueError naming the config or the setting that cannot be used.
    """
    config = load_training_config(run.config, {})
    target = run.target
    kind, _, key = target.layer.partition(":")
    name = _component(run.config, config)
    config["components"][name]["factory"] = COMPONENTS[kind]
    if key:
        config["components"][name]["spans_key"] = key
    config["nlp"]["lang"] = target.lang
    config["system"]["seed"] = run.seed
    initialize = config.setdefault("initialize", {})
    initialize["vectors"] = run.vectors and place(run.vectors, None)
    component = initialize.setdefault("components", {}).setdefault(name, {})
    if run.label_map:
        component["label_map"] = place(run.label_map, None)
    if target.gazetteers:
        component["gazetteers"] = {k: place(path, None) for k, path in target.gazetteers.items()}
    own = {
        source.name: place(source.vectors, None) if source.vectors else None
        for source in run.sources
        if source.vectors or source.lang != target.lang
    }
    if "source_vectors" in component:
        component["source_vectors"] = own

    corpora = config["corpora"]
    if ("target" in corpora["train"]) == (run.rate == 0):
        raise ValueError(
            f"{run.config}: rate 0 needs a config without [corpora.train.target], and such a "
            f"config needs rate 0; found rate {run.rate:g}"
        )
    if run.rate:
        rate = {"rate": run.rate, "rate_seed": run.seed}
        corpora["train"]["target"] = _corpus(target, target.train, place) | rate
    corpora["train"]["sources"] = {s.name: _corpus(s, s.train, place) for s in run.sources}
    assert target.dev is not None
    corpora["dev"] = _corpus(target, target.dev, place)
    config["paths"] = {
        variable: value
        for variable, value in config.get("paths", {}).items()
        if f"${{paths.{variable}}}" in config.to_str(interpolate=False)
    }
    return override(run.config, config, run.settings)


def _component(path: Path, config: Config) -> str:
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


def _corpus(files: CorpusFiles, path: Path, place: Place) -> dict[str, Any]:
    return {
        "@readers": "spacy_transfer.TaskCorpus.v1",
        "path": place(path, files.layer),
        "layer": files.layer,
    }


def key_of(run: Run) -> str:
    """A name for all that determines the result: config, contents of files, version of ours."""
    config = config_of(run, lambda path, layer: f"{digest(Path(path))}/{layer}")
    assert run.target.test is not None
    parts = [version("spacy-transfer"), config.to_str(interpolate=False), digest(run.target.test)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@cache
def digest(path: Path) -> str:
    """A hash of a file or of all files in a folder; of the name itself for neither, a package."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        parts = [f"{file.relative_to(path)} {digest(file)}" for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    if not path.is_file():
        return str(path)
    digested = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digested.update(block)
    return digested.hexdigest()
