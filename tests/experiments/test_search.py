from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from spacy.util import load_config

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.experiments.grid import read_grid, runs_of
from spacy_transfer.experiments.results import read_rows
from spacy_transfer.experiments.search import Trial, search
from tests.cli.running import exit_code

experiment = partial(exit_code, "experiment")
ALPHA = "components.transfer_ner.model.objective.alpha"
COST = "components.transfer_ner.model.objective.cost"
SEARCH = f"""\
search:
  trials: 12
  seed: 3
  settings:
    {ALPHA}: {{low: 0.001, high: 1.0, log: true}}
    {COST}: [0.0, 5.0]
"""


@pytest.fixture
def searching(edit: Callable[[str, str], Path]) -> Path:
    """The experiment file with a search, and La-DTL alone on two seeds."""
    edit("  - {target: aim, methods: [none], rates: [0.5, 1], published: {none: 40}}\n", "")
    edit("  - {target: aim, sources: [tags], methods: [La-DTL, joint], rates: [0.5]}\n", "")
    return edit("seeds: [0, 1]\n", f"seeds: [0, 1]\n{SEARCH}")


class Pretended:
    """An engine whose dev scores are a function of the settings: best at 0.1 and cost 5."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, folders: Sequence[Path]) -> Iterator[Path]:
        for folder in folders:
            settings = load_config(folder / "config.cfg", interpolate=False)
            objective = settings["components"]["transfer_ner"]["model"]["objective"]
            score = 0.5 - abs(objective["alpha"] - 0.1) + 0.01 * objective["cost"]
            score += 0.001 * settings["system"]["seed"]
            result = {"dev_score": score, "test_score": 1 - score}
            (folder / "result.json").write_text(json.dumps(result))
            self.done.append(folder.name)
            yield folder


def best_of(path: Path, output: Path, engine: Pretended) -> Trial:
    grid = read_grid(path)
    assert grid.search is not None
    runs = list(runs_of(grid, path.parent, path.parent))
    return search(grid.name, grid.search, runs, output, engine)


def trials_in(output: Path) -> list[dict[str, Any]]:
    lines = (output / "small" / "search.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_best_trial_is_that_with_the_best_dev_score(searching: Path, tmp_path: Path) -> None:
    engine = Pretended()
    best = best_of(searching, tmp_path, engine)
    trials = trials_in(tmp_path)
    assert [trial["number"] for trial in trials] == list(range(12))
    assert len(engine.done) == 24
    scores = []
    for trial in trials:
        alpha, cost = trial["settings"][ALPHA], trial["settings"][COST]
        assert 0.001 <= alpha <= 1.0
        assert cost in (0.0, 5.0)
        scores.append(0.5 - abs(alpha - 0.1) + 0.01 * cost + 0.0005)
        assert trial["dev_score"] == pytest.approx(scores[-1])
        rows = read_rows([tmp_path / "small" / f"trial-{trial['number']}" / "results.jsonl"])
        assert [row["seed"] for row in rows] == [0, 1]
    assert best.dev_score == pytest.approx(max(scores))
    assert best.settings == trials[best.number]["settings"]
    assert len({trial["settings"][ALPHA] for trial in trials}) == 12


def test_each_run_counts_once(
    searching: Path, edit: Callable[[str, str], Path], tmp_path: Path
) -> None:
    edit("test: aim.test.iob", "test: aim.test.iob, more_tests: {later: aim.train.iob}")
    searching.write_text(searching.read_text().replace("trials: 12", "trials: 1"))

    def engine(folders: Sequence[Path]) -> Iterator[Path]:
        for folder in folders:
            seed = load_config(folder / "config.cfg", interpolate=False)["system"]["seed"]
            more = {"later": {"test_score": 0.0}} if seed else {}
            result = {"dev_score": 0.2 + 0.4 * seed, "test_score": 0.0, "more_tests": more}
            (folder / "result.json").write_text(json.dumps(result))
            yield folder

    assert best_of(searching, tmp_path, engine).dev_score == pytest.approx(0.4)  # type: ignore[arg-type]


def test_a_search_goes_on_where_it_was(searching: Path, tmp_path: Path) -> None:
    whole = best_of(searching, tmp_path / "whole", Pretended())
    text = searching.read_text()
    searching.write_text(text.replace("trials: 12", "trials: 5"))
    first, second = Pretended(), Pretended()
    best_of(searching, tmp_path / "parts", first)
    searching.write_text(text)
    assert best_of(searching, tmp_path / "parts", second) == whole
    assert (len(first.done), len(second.done)) == (10, 14)
    tables = [tmp_path / part / "small" / "search.jsonl" for part in ("whole", "parts")]
    assert tables[0].read_text() == tables[1].read_text()


def test_a_run_that_fails_stops_the_search(searching: Path, tmp_path: Path) -> None:
    def engine(folders: Sequence[Path]) -> Iterator[Path]:
        (folders[0] / "log.txt").write_text("Traceback\nValueError: too wide\n")
        yield folders[0]

    with pytest.raises(ValueError, match=r"trial 0, (.|\n)*La-DTL: .*: ValueError: too wide"):
        best_of(searching, tmp_path, engine)  # type: ignore[arg-type]


def test_options_that_a_search_cannot_heed(
    searching: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert experiment(searching, "--output", tmp_path / "out", "--keep-models") == 1
    assert "--keep-models is not for a search" in capsys.readouterr().err


def test_a_search_by_the_command(
    searching: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = searching.read_text().replace("trials: 12", "trials: 1")
    searching.write_text(text.replace("seeds: [0, 1]", "seeds: [0]"))
    assert experiment(searching, "--output", tmp_path / "out") == 0
    [trial] = trials_in(tmp_path / "out")
    out = capsys.readouterr().out
    assert f"best: trial 0, mean dev score {100 * trial['dev_score']:.2f}\n" in out
    assert f"--{ALPHA} {trial['settings'][ALPHA]}\n" in out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 12", "trials: 0", "search.trials: Input should be greater than or equal to 1"),
        ("low: 0.001", "lo: 0.001", "search.settings"),
        ("[0.0, 5.0]", "0.5", "search.settings"),
        ("high: 1.0", "high: 0.0001", "expected low below high; found 0.001 and 0.0001"),
        ("low: 0.001", "low: 0", "with log, low must be above 0; found 0"),
    ],
)
def test_searches_that_cannot_be(searching: Path, old: str, new: str, message: str) -> None:
    searching.write_text(searching.read_text().replace(old, new))
    with pytest.raises(CorpusError, match=message):
        read_grid(searching)
