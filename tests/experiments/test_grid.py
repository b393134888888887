from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.experiments.grid import read_grid, runs_of
from spacy_transfer.experiments.run import config_of, key_of

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "benchmarks").rglob("*.yml"))


def names(path: Path) -> list[str]:
    return [str(run) for run in runs_of(read_grid(path), path.parent, path.parent)]


def test_all_combinations_in_the_order_of_the_file(grid_file: Path) -> None:
    assert names(grid_file) == [
        *("none: aim/0.5, seed 0", "none: aim/0.5, seed 1"),
        *("none: aim/1, seed 0", "none: aim/1, seed 1"),
        *("La-DTL: other -> aim/0.5, seed 0", "La-DTL: other -> aim/0.5, seed 1"),
        *("La-DTL: tags -> aim/0.5, seed 0", "La-DTL: tags -> aim/0.5, seed 1"),
        *("none: tags -> aim/0.5, seed 0", "none: tags -> aim/0.5, seed 1"),
    ]
    runs = list(runs_of(read_grid(grid_file), Path("here"), Path("there")))
    assert runs[4].config == Path("here/small.cfg")
    assert runs[4].label_map == Path("here/map.tsv")
    assert runs[4].target.test == Path("there/aim.test.iob")
    assert (runs[4].published, runs[6].published) == (45.5, None)


def test_seeds_and_settings_of_an_entry_go_before_those_of_all(
    edit: Callable[[str, str], Path],
) -> None:
    edit("rates: [0.5, 1]", "rates: [1], seeds: [7], settings: {training.max_steps: 9}")
    path = edit("{config: alone.cfg}", "{config: alone.cfg, settings: {training.patience: 3}}")
    run = next(iter(runs_of(read_grid(path), path.parent, path.parent)))
    assert run.seed == 7
    assert run.settings == {
        "training.max_steps": 9,
        "training.eval_frequency": 2,
        "training.patience": 3,
    }


def test_vectors_of_a_target_are_a_choice(edit: Callable[[str, str], Path]) -> None:
    path = edit("test: aim.test.iob, lang", "test: aim.test.iob, vectors: [folder, package], lang")
    (path.parent / "folder").mkdir()
    runs = list(runs_of(read_grid(path), path.parent, path.parent))
    assert len(runs) == 20
    assert {run.vectors for run in runs} == {str(path.parent / "folder"), "package"}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("name: small\n", "", None, "name: Field required"),
        ("name: small", "name: [", 3, "not YAML: "),
        ("layer: tag", "layer: tags", 4, "corpora.tags.layer: unknown layer 'tags'"),
        ("layer: tag", "lager: tag", 4, "corpora.tags.lager: Extra inputs are not permitted"),
        ("train: other.iob, ", "", 5, "corpora.other.train: Field required"),
        ("rates: [0.5, 1]", "rates: [1.5]", 13, "runs.0.rates: rate 1.5: expected a share"),
        ("rates: [0.5, 1]", "rates: []", 13, "runs.0.rates: List should have at least 1 item"),
        ("sources: other", "sources: othr", 14, "runs.1.sources: unknown 'othr'; did you mean"),
        ("[La-DTL, none]", "[La-DTL, x]", 16, "unknown 'x'; expected one of none, La-DTL"),
        ("{target: aim, sources: o", "{target: tags, sources: o", 14, "'tags' needs dev and test"),
        ("{none: 40}", "{T-A: 40}", 13, "runs.0.published: unknown 'T-A'; expected one of none"),
        ("seeds: [0, 1]", "seeds: [a]", 17, "seeds.0: Input should be a valid integer"),
    ],
)
def test_bad_files(
    edit: Callable[[str, str], Path], old: str, new: str, line: int | None, message: str
) -> None:
    path = edit(old, new)
    with pytest.raises(CorpusError) as error:
        read_grid(path)
    place = f"{path}:{line}: " if line else f"{path}: "
    assert str(error.value).startswith(place), str(error.value)
    assert message in str(error.value)


def test_no_file_and_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such experiment file"):
        read_grid(tmp_path / "x.yml")
    (tmp_path / "x.yml").write_text("- a\n")
    with pytest.raises(CorpusError, match="expected a mapping with name, corpora"):
        read_grid(tmp_path / "x.yml")


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_the_project_has_usable_configs(path: Path) -> None:
    grid = read_grid(path)
    for run in runs_of(grid, path.parent, Path("data")):
        config = config_of(run, lambda path, layer: f"{path}").interpolate()
        assert config["system"]["seed"] == run.seed
        assert set(config["corpora"]["train"]["sources"]) == {s.name for s in run.sources}


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "wards.yml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    runs = list(runs_of(read_grid(path), ROOT, ROOT / "assets" / "clinical"))
    assert len({key_of(run) for run in runs}) == len(runs) == 8
    for run in runs:
        for files in (run.target, *run.sources):
            assert all(p is None or p.is_file() for p in (files.train, files.dev, files.test))
