"""The experiment file: corpora, methods, and which of them meet.

name: tags
corpora:
  news: {train: news/train.tsv, layer: tag}
  tweets: {train: tweets/train.tsv, dev: tweets/dev.tsv, test: tweets/test.tsv, layer: tag}
methods:
  none: {config: target_only.cfg}
  T-A: {config: ta.cfg}
runs:
  - {target: tweets, methods: [none], rates: [0.1, 1.0]}
  - {target: tweets, sources: [news], methods: [T-A], rates: [0.1, 1.0], label_map: map.tsv}
seeds: [0, 1, 2]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from spacy.util import is_package
from srsly.ruamel_yaml import YAML
from srsly.ruamel_yaml.error import YAMLError

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gold import check_layer
from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.sampling import check_rate
from spacy_transfer.experiments.run import CorpusFiles, Run, Swept
from spacy_transfer.training.config import hint

OneOrMany = Annotated[
    list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""Names, of which a single one needs no brackets."""


def _each_once(values: list[int]) -> list[int]:
    if len(set(values)) < len(values):
        raise ValueError(f"expected each once; found {values}")
    return values


Seeds = Annotated[list[int], Field(min_length=1), AfterValidator(_each_once)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusEntry(_Strict):
    """A corpus: column files, JSON lines or `.spacy`, from the data folder.

    Attributes:
        train: what is learned.
        dev: what a target chooses its best model by.
        test: what a target is scored on, once a run.
        more_tests: other test corpora by name, on which the same models are scored.
        layer: `ents`, `tag` or `spans:KEY`.
        vectors: pipelines with vectors for its words; for a target several, of which the dev score
            chooses.
        gazetteers: files of phrases by name, for a target.
        lang: the language, which a target's pipeline has.
    """

    train: str
    dev: str | None = None
    test: str | None = None
    more_tests: dict[str, str] = Field(default_factory=dict)
    layer: str = "ents"
    vectors: OneOrMany = Field(default_factory=list)
    gazetteers: dict[str, str] = Field(default_factory=dict)
    lang: str = "en"

    @field_validator("layer")
    @classmethod
    def _layer(cls, value: str) -> str:
        check_layer(value)
        return value


class ConfigEntry(_Strict):
    """A training config, from the folder of the experiment file, and settings for it, in which
    `{data}` stands for the data folder."""

    config: str
    settings: dict[str, Any] = Field(default_factory=dict)


class MethodEntry(ConfigEntry):
    """A method.

    Attributes:
        first: how the source is learned, alone and as a target of its own, where the config starts
            from a source pipeline.
        sweep: settings, and the numbers each of them is set to while the others stay as they are.
            Each number makes a method.
    """

    first: ConfigEntry | None = None
    sweep: dict[str, list[Any]] = Field(default_factory=dict)

    @field_validator("sweep")
    @classmethod
    def _sweep(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        ends = {_end(setting) for setting in value}
        if not 0 < len(value) == len(ends):
            raise ValueError(f"expected settings, each with another last name; found {[*value]}")
        for values in value.values():
            numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
            if not numbers or not 0 < len(values) == len(set(values)):
                raise ValueError(f"expected numbers, each once; found {[*values]}")
        return value

    def variants(self, name: str) -> dict[str, Swept | None]:
        """What a method of this name stands for: itself, or one for each value of its sweep."""
        return {
            f"{name}, {_end(setting)} {value}": Swept(name, setting, value)
            for setting, values in self.sweep.items()
            for value in values
        } or {name: None}


def _end(setting: str) -> str:
    """The last part of a dotted name."""
    return setting.rpartition(".")[2]


class RunsEntry(_Strict):
    """All combinations of some methods, rates and seeds for a target and its sources.

    Attributes:
        target: a corpus with dev and test.
        sources: corpora to transfer from; none for methods without.
        methods: names of methods.
        rates: labeling rates, the shares of the target's training sentences that are kept; 0 is for
            configs without a target.
        seeds: of sampling, weights and order; by default those of the experiment.
        label_map: a file of matched labels.
        settings: settings for the configs.
        published: a published score to print beside ours, by method.
    """

    target: str
    sources: OneOrMany = Field(default_factory=list)
    methods: list[str] = Field(min_length=1)
    rates: list[float] = Field(default=[1.0], min_length=1)
    seeds: Seeds | None = None
    label_map: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    published: dict[str, float] = Field(default_factory=dict)

    @field_validator("rates")
    @classmethod
    def _rates(cls, value: list[float]) -> list[float]:
        for rate in value:
            if rate:
                check_rate(rate)
        return value


class Between(_Strict):
    """Any number from `low` to `high`, drawn evenly, or with `log` evenly by its logarithm."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _range(self) -> Between:
        if not self.low < self.high:
            raise ValueError(f"expected low below high; found {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"with log, low must be above 0; found {self.low:g}")
        return self


class Search(_Strict):
    """A search for settings by the dev score.

    Attributes:
        trials: how many settings are tried.
        settings: what each setting may be: a range of numbers, or a list.
        seed: of what is tried.
    """

    trials: int = Field(ge=1)
    settings: dict[str, Between | list[Any]] = Field(min_length=1)
    seed: int = 0


class Grid(_Strict):
    """An experiment file.

    Attributes:
        name: of the experiment, and of the folder of its results.
        corpora: by name.
        methods: by name.
        runs: which of them meet.
        seeds: a run for each.
        settings: settings for the configs of all runs.
        reference: the method that a report tests all others against; by default, that without
            transfer.
        ablations: methods that are parts of the reference, which need not beat them to stand out.
        search: for settings, by the dev score.
    """

    name: str = Field(pattern=r"^[\w-]+$")
    corpora: dict[str, CorpusEntry]
    methods: dict[str, MethodEntry]
    runs: list[RunsEntry] = Field(min_length=1)
    seeds: Seeds = [0]
    settings: dict[str, Any] = Field(default_factory=dict)
    search: Search | None = None
    reference: str | None = None
    ablations: list[str] = Field(default_factory=list)


def read_grid(path: Path) -> Grid:
    """Read an experiment file; CorpusError with its line for anything that is wrong in it."""
    if not path.is_file():
        raise CorpusError(path, None, "no such experiment file")
    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or error
        raise CorpusError(path, mark and mark.line + 1, f"not YAML: {problem}") from error
    if not isinstance(document, dict):
        raise CorpusError(path, None, "expected a mapping with name, corpora, methods and runs")
    try:
        grid = Grid.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = f"{place}: {first['msg'].removeprefix('Value error, ')}"
        raise CorpusError(path, _line(document, first["loc"]), message) from error
    variants = _variants(grid, grid.methods)
    if grid.reference is not None and grid.reference not in variants:
        message = f"reference: unknown {grid.reference!r}{hint(grid.reference, variants)}"
        raise CorpusError(path, _line(document, ("reference",)), message)
    for name in grid.ablations:
        if name not in grid.methods:
            message = f"ablations: unknown {name!r}{hint(name, grid.methods)}"
            raise CorpusError(path, _line(document, ("ablations",)), message)
    for number, entry in enumerate(grid.runs):
        _check_entry(path, document, grid, number, entry)
    return grid


def _check_entry(path: Path, document: Any, grid: Grid, number: int, entry: RunsEntry) -> None:
    def fail(key: str, message: str) -> None:
        place = ("runs", number, key)
        raise CorpusError(path, _line(document, place), f"runs.{number}.{key}: {message}")

    def check(key: str, names: Iterable[str], known: Collection[str]) -> None:
        for name in names:
            if name not in known:
                expected = hint(name, known) or "; expected one of none, as there are none"
                fail(key, f"unknown {name!r}{expected}")

    check("target", [entry.target], grid.corpora)
    check("sources", entry.sources, grid.corpora)
    check("methods", entry.methods, grid.methods)
    check("published", entry.published, _variants(grid, entry.methods))
    target = grid.corpora[entry.target]
    for name in target.more_tests:
        if name in grid.corpora:
            fail("target", f"a test corpus of {entry.target!r} has the name of corpus {name!r}")
    if target.dev is None or target.test is None:
        fail("target", f"corpus {entry.target!r} needs dev and test to be a target")
    if len({entry.target, *entry.sources}) <= len(entry.sources):
        fail("sources", "expected each source once, and none that is the target")
    for name in entry.sources:
        if not name.replace("-", "_").isidentifier() or name == TARGET:
            fail("sources", f"{name!r} cannot name a source: use letters, digits, - and _")
        if len(grid.corpora[name].vectors) > 1:
            fail("sources", f"expected one choice of vectors for source {name!r}")
    for method in entry.methods:
        if grid.methods[method].first is None:
            continue
        if len(entry.sources) != 1 or grid.corpora[entry.sources[0]].dev is None:
            fail("methods", f"{method!r} learns the source first: expected one source, with dev")


def _line(document: Any, place: tuple[Any, ...]) -> int | None:
    """The line (from 1) of a place in a YAML document, or of what is nearest around it."""
    line = None
    for key in place:
        if not hasattr(document, "lc") or key not in (document.lc.data or {}):
            break
        line = document.lc.data[key][0] + 1
        document = document[key]
    return line


def _variants(grid: Grid, methods: Iterable[str]) -> dict[str, tuple[str, Swept | None]]:
    """What some methods stand for, by name: the method of the file, and the value of a sweep."""
    return {
        variant: (name, swept)
        for name in methods
        for variant, swept in grid.methods[name].variants(name).items()
    }


def runs_of(grid: Grid, folder: Path, data: Path) -> Iterator[Run]:
    """All runs of a grid, in the order of its file; ValueError for a file that is not there.

    Args:
        grid: what `read_grid` gave.
        folder: what configs and label maps are relative to.
        data: what corpora, vectors and gazetteers are relative to.
    """
    for entry in grid.runs:
        target = grid.corpora[entry.target]
        vectors: list[str | None] = [_pipeline(data, name) for name in target.vectors]
        seeds = grid.seeds if entry.seeds is None else entry.seeds
        variants = _variants(grid, entry.methods)
        for rate, variant, vector, seed in product(entry.rates, variants, vectors or [None], seeds):
            name, swept = variants[variant]
            method = grid.methods[name]
            first = None
            if method.first is not None:
                first = _first(grid, name, method.first, seed, folder, data, entry.sources[0])
            yield Run(
                experiment=grid.name,
                target=_files(entry.target, target, data),
                sources=tuple(_files(s, grid.corpora[s], data) for s in entry.sources),
                method=variant,
                config=folder / method.config,
                rate=rate,
                seed=seed,
                vectors=vector,
                label_map=_label_map(folder, entry.label_map),
                settings=_in_data(
                    {
                        **grid.settings,
                        **method.settings,
                        **entry.settings,
                        **({swept.setting: swept.value} if swept else {}),
                    },
                    data,
                ),
                published=entry.published.get(variant),
                first=first,
                reference=grid.reference,
                ablation=name in grid.ablations,
                swept=swept,
            )


def _first(
    grid: Grid, method: str, first: ConfigEntry, seed: int, folder: Path, data: Path, source: str
) -> Run:
    """How a source is learned for `method`; its score is that on its dev corpus."""
    files = _files(source, grid.corpora[source], data)
    return Run(
        experiment=grid.name,
        target=replace(files, test=files.dev),
        sources=(),
        method=f"{method}, first",
        config=folder / first.config,
        rate=1.0,
        seed=seed,
        vectors=files.vectors,
        label_map=None,
        settings=_in_data({**grid.settings, **first.settings}, data),
        published=None,
    )


def _in_data(settings: dict[str, Any], data: Path) -> dict[str, Any]:
    """Settings, with the data folder in the place of `{data}`."""
    folder = str(data.resolve())
    return {
        name: value.replace("{data}", folder) if isinstance(value, str) else value
        for name, value in settings.items()
    }


def _label_map(folder: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    if not (folder / name).is_file():
        raise CorpusError(folder / name, None, "no such label map")
    return folder / name


def _pipeline(data: Path, name: str) -> str:
    """A folder in the data folder, or else a package."""
    if (data / name).exists():
        return str(data / name)
    if is_package(name):
        return name
    raise CorpusError(data / name, None, f"expected a pipeline with vectors, or a package {name!r}")


def _files(name: str, entry: CorpusEntry, data: Path) -> CorpusFiles:
    more = (*entry.more_tests.values(), *entry.gazetteers.values())
    for path in (entry.train, entry.dev, entry.test, *more):
        if path is not None and not (data / path).exists():
            raise CorpusError(data / path, None, f"no such file or folder, for corpus {name!r}")
    return CorpusFiles(
        name=name,
        layer=entry.layer,
        lang=entry.lang,
        train=data / entry.train,
        dev=data / entry.dev if entry.dev else None,
        test=data / entry.test if entry.test else None,
        more_tests={key: data / path for key, path in entry.more_tests.items()},
        vectors=_pipeline(data, entry.vectors[0]) if entry.vectors else None,
        gazetteers={key: data / path for key, path in entry.gazetteers.items()},
    )
