"""A small experiment: two corpora of column files, small encoders, a few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import spacy

from spacy_transfer.experiments import engines
from spacy_transfer.experiments.engines import Engine
from spacy_transfer.experiments.worker import work
from tests.conftest import SMALL_CONFIG, sentences, with_schedule, write_label_map

GRID = """\
name: small
corpora:
  aim: {train: aim.train.iob, dev: aim.dev.iob, test: aim.test.iob, lang: xx}
  tags: {train: tags.tsv, layer: tag, lang: xx}
  other: {train: other.iob, lang: xx}
methods:
  none: {config: alone.cfg}
  La-DTL: {config: small.cfg}
  joint: {config: small.cfg, settings: {components.transfer_ner.model.objective.alpha: 0.0}}
settings:
  training.max_steps: 6
  training.eval_frequency: 2
runs:
  - {target: aim, methods: [none], rates: [0.5, 1], published: {none: 40}}
  - {target: aim, sources: other, methods: [La-DTL], rates: [0.5], label_map: map.tsv,
     published: {La-DTL: 45.5}}
  - {target: aim, sources: [tags], methods: [La-DTL, joint], rates: [0.5]}
seeds: [0, 1]
"""

RETRAINING = """\
name: retraining
corpora:
  aim: {train: aim.train.iob, dev: aim.dev.iob, test: aim.test.iob, lang: xx}
  other: {train: other.iob, dev: other.dev.iob, lang: xx}
methods:
  re-training: {config: again.cfg, first: {config: alone.cfg, settings: {training.max_steps: 4}}}
settings:
  training.max_steps: 2
  training.eval_frequency: 2
runs:
  - {target: aim, sources: other, methods: [re-training], rates: [0.5, 0.1], label_map: map.tsv}
"""


def columns(path: Path, task: str, count: int, seed: int, tags: bool = False) -> None:
    lines = []
    for doc in sentences(spacy.blank("xx"), task, count, seed):
        for token in doc:
            label = "-".join(filter(None, (token.ent_iob_, token.ent_type_)))
            lines.append(f"{token.text}\t{token.tag_ if tags else label}\n")
        lines.append("\n")
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    """The experiment file, beside its configs and corpora."""
    columns(tmp_path / "aim.train.iob", "target", 20, 0)
    columns(tmp_path / "aim.dev.iob", "target", 8, 1)
    columns(tmp_path / "aim.test.iob", "target", 8, 2)
    columns(tmp_path / "other.iob", "source", 20, 0)
    columns(tmp_path / "tags.tsv", "source", 20, 1, tags=True)
    write_label_map(tmp_path / "map.tsv")
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    (tmp_path / "small.cfg").write_text(text, encoding="utf-8")
    start, end = text.index("[corpora.train.sources.source]"), text.index("[corpora.dev]")
    alone = (text[:start] + text[end:]).replace("\nsource = null", "")
    (tmp_path / "alone.cfg").write_text(with_schedule(alone, "TargetOnly"), encoding="utf-8")
    path = tmp_path / "grid.yml"
    path.write_text(GRID, encoding="utf-8")
    return path


@pytest.fixture
def retraining_file(grid_file: Path) -> Path:
    """An experiment that learns a source and then goes on with the target."""
    columns(grid_file.with_name("other.dev.iob"), "source", 8, 1)
    alone = grid_file.with_name("alone.cfg").read_text(encoding="utf-8")
    again = alone.replace("label_map = ${", "source_pipeline = null\nlabel_map = ${")
    assert again != alone
    grid_file.with_name("again.cfg").write_text(again, encoding="utf-8")
    path = grid_file.with_name("retraining.yml")
    path.write_text(RETRAINING, encoding="utf-8")
    return path


@pytest.fixture
def edit(grid_file: Path) -> Callable[[str, str], Path]:
    """A function that replaces text in the experiment file."""

    def run(old: str, new: str) -> Path:
        text = grid_file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        grid_file.write_text(text.replace(old, new), encoding="utf-8")
        return grid_file

    return run


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Have runs done here, for processes start slowly: the engine, which the command takes too."""

    def engine(folders: Sequence[Path]) -> Iterator[Path]:
        for folder in folders:
            work(folder)
            yield folder

    monkeypatch.setattr(engines, "local", lambda jobs, threads: engine)
    return engine
