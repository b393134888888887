from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import pytest

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.experiments.grid import Between, read_grid, runs_of
from spacy_transfer.experiments.run import Run, Swept, config_of, key_of

ROOT = Path(__file__).parents[2]
ALPHA = "components.transfer_ner.model.objective.alpha"
STUDIES = sorted((ROOT / "configs" / "experiments").glob("*.yml"))
GRIDS = [*STUDIES, *sorted((ROOT / "benchmarks").rglob("*.yml"))]


def names(path: Path) -> list[str]:
    return [str(run) for run in runs_of(read_grid(path), path.parent, path.parent)]


def test_all_combinations_in_the_order_of_the_file(grid_file: Path) -> None:
    assert names(grid_file) == [
        *("none: aim/0.5, seed 0", "none: aim/0.5, seed 1"),
        *("none: aim/1, seed 0", "none: aim/1, seed 1"),
        *("La-DTL: other -> aim/0.5, seed 0", "La-DTL: other -> aim/0.5, seed 1"),
        *("La-DTL: tags -> aim/0.5, seed 0", "La-DTL: tags -> aim/0.5, seed 1"),
        *("joint: tags -> aim/0.5, seed 0", "joint: tags -> aim/0.5, seed 1"),
    ]
    folder = grid_file.parent
    (folder / "maps").mkdir()
    (folder / "map.tsv").rename(folder / "maps" / "map.tsv")
    runs = list(runs_of(read_grid(grid_file), folder / "maps", folder))
    assert runs[4].config == folder / "maps" / "small.cfg"
    assert runs[4].label_map == folder / "maps" / "map.tsv"
    assert runs[4].target.test == folder / "aim.test.iob"
    assert (runs[4].published, runs[6].published) == (45.5, None)
    assert {run.reference for run in runs} == {None}


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


def test_the_data_folder_in_settings(edit: Callable[[str, str], Path]) -> None:
    """A value may be a section of its own, such as another batcher."""
    batcher = '{"@batchers": spacy_transfer.TargetOnly.v1, batch_size: 3}'
    here = f'{{training.batcher: {batcher}, paths.vectors: "{{data}}/glove"}}'
    path = edit("{config: alone.cfg}", f"{{config: alone.cfg, settings: {here}}}")
    run = next(iter(runs_of(read_grid(path), path.parent, path.parent)))
    assert run.settings["paths.vectors"] == str(path.parent.resolve() / "glove")
    config = config_of(run, lambda file, _: str(file), str)
    assert config["training"]["batcher"] == {
        "@batchers": "spacy_transfer.TargetOnly.v1",
        "batch_size": 3,
    }


def test_a_reference_goes_with_every_run_and_changes_none(
    grid_file: Path, edit: Callable[[str, str], Path]
) -> None:
    before, after = (
        list(runs_of(read_grid(path), path.parent, path.parent))
        for path in (
            grid_file,
            edit("name: small", "name: small\nreference: La-DTL\nablations: [none]"),
        )
    )
    assert {run.reference for run in after} == {"La-DTL"}
    assert {run.method for run in after if run.ablation} == {"none"}
    assert key_of(after[0]) == key_of(before[0])


def test_vectors_of_a_target_are_a_choice(edit: Callable[[str, str], Path]) -> None:
    path = edit("test: aim.test.iob, lang", "test: aim.test.iob, vectors: [folder, numpy], lang")
    (path.parent / "folder").mkdir()
    runs = list(runs_of(read_grid(path), path.parent, path.parent))
    assert len(runs) == 20
    assert {run.vectors for run in runs} == {str(path.parent / "folder"), "numpy"}


SWEEP = f"{{config: small.cfg, sweep: {{{ALPHA}: [0, 0.5]}}}}"
COST = "components.transfer_ner.model.objective.cost"


def test_a_sweep_is_a_method_for_each_value(edit: Callable[[str, str], Path]) -> None:
    edit("{config: small.cfg}", SWEEP)
    edit("{La-DTL: 45.5}", "{'La-DTL, alpha 0.5': 45.5}")
    path = edit("name: small", "name: small\nreference: La-DTL, alpha 0")
    found = list(runs_of(read_grid(path), path.parent, path.parent))
    assert [(run.method, run.seed, run.published) for run in found[4:8]] == [
        ("La-DTL, alpha 0", 0, None),
        ("La-DTL, alpha 0", 1, None),
        ("La-DTL, alpha 0.5", 0, 45.5),
        ("La-DTL, alpha 0.5", 1, 45.5),
    ]
    assert [run.swept for run in found[4:8:2]] == [
        Swept("La-DTL", ALPHA, 0),
        Swept("La-DTL", ALPHA, 0.5),
    ]
    assert found[4].reference == "La-DTL, alpha 0"
    assert len(found) == 14
    # It is the run of a method with that setting, and no setting of its runs undoes it.
    key = key_of(found[6])
    edit(SWEEP, f"{{config: small.cfg, settings: {{{ALPHA}: 0.5}}}}")
    edit("'La-DTL, alpha 0.5'", "La-DTL")
    edit("reference: La-DTL, alpha 0", "reference: La-DTL")
    assert key_of(list(runs_of(read_grid(path), path.parent, path.parent))[4]) == key
    edit(f"settings: {{{ALPHA}: 0.5}}", f"sweep: {{{ALPHA}: [0.5]}}")
    edit("published: {La-DTL: 45.5}", f"settings: {{{ALPHA}: 7}}")
    edit("reference: La-DTL", "reference: none")
    assert key_of(list(runs_of(read_grid(path), path.parent, path.parent))[4]) == key


def test_settings_are_swept_one_at_a_time(edit: Callable[[str, str], Path]) -> None:
    path = edit("{config: small.cfg}", SWEEP.replace("[0, 0.5]", f"[0.5], {COST}: [0, 5]"))
    edit("{La-DTL: 45.5}", "{}")
    found = list(runs_of(read_grid(path), path.parent, path.parent))[4:10:2]
    assert [run.method for run in found] == [
        "La-DTL, alpha 0.5",
        "La-DTL, cost 0",
        "La-DTL, cost 5",
    ]
    common = {"training.max_steps": 6, "training.eval_frequency": 2}
    assert [run.settings for run in found] == [
        {**common, ALPHA: 0.5},
        {**common, COST: 0},
        {**common, COST: 5},
    ]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("{}", r"expected settings, each with another last name; found \[\]"),
        (
            "{training.dropout: [0], a.dropout: [0]}",
            r"expected settings, each with another last name; found \['training.dropout', 'a.drop",
        ),
        ("{training.dropout: []}", r"expected numbers, each once; found \[\]"),
        ("{training.dropout: [0.1, 0.1]}", r"expected numbers, each once; found \[0.1, 0.1\]"),
        ("{training.dropout: [0.1, high]}", r"expected numbers, each once; found \[0.1, 'high'\]"),
        ("{training.dropout: [true]}", r"expected numbers, each once; found \[True\]"),
        ("{training.dropout: 0.1}", "Input should be a valid list"),
    ],
)
def test_bad_sweeps(edit: Callable[[str, str], Path], sweep: str, message: str) -> None:
    path = edit("{config: small.cfg}", f"{{config: small.cfg, sweep: {sweep}}}")
    with pytest.raises(CorpusError, match=rf"grid\.yml:8: methods\.La-DTL\.sweep.*: {message}"):
        read_grid(path)


def test_a_swept_method_by_its_bare_name_is_none_to_compare_with(
    edit: Callable[[str, str], Path],
) -> None:
    edit("{config: small.cfg}", SWEEP)
    with pytest.raises(
        CorpusError, match=r"published: unknown 'La-DTL'; expected one of La-DTL, a"
    ):
        read_grid(edit("name: small", "name: small\nreference: none"))
    edit("{La-DTL: 45.5}", "{'La-DTL, alpha 0': 45.5}")
    with pytest.raises(CorpusError, match=r"reference: unknown 'La-DTL'; expected one of none, La"):
        read_grid(edit("reference: none", "reference: La-DTL"))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("name: small\n", "", None, "name: Field required"),
        ("name: small", "name: [", 3, "not YAML: "),
        ("layer: tag", "layer: tags", 4, "corpora.tags.layer: unknown layer 'tags'"),
        ("layer: tag", "lager: tag", 4, "corpora.tags.lager: Extra inputs are not permitted"),
        ("train: other.iob, ", "", 5, "corpora.other.train: Field required"),
        ("rates: [0.5, 1]", "rates: [1.5]", 14, "runs.0.rates: rate 1.5: expected a share"),
        ("rates: [0.5, 1]", "rates: []", 14, "runs.0.rates: List should have at least 1 item"),
        ("sources: other", "sources: othr", 15, "runs.1.sources: unknown 'othr'; did you mean"),
        ("[La-DTL, joint]", "[La-DTL, x]", 17, "unknown 'x'; expected one of none, La-DTL, joint"),
        ("{target: aim, sources: o", "{target: tags, sources: o", 15, "'tags' needs dev and test"),
        ("{none: 40}", "{T-A: 40}", 14, "runs.0.published: unknown 'T-A'; expected one of none"),
        ("seeds: [0, 1]", "seeds: [a]", 18, "seeds.0: Input should be a valid integer"),
        ("seeds: [0, 1]", "seeds: [1, 0, 1]", 18, "seeds: expected each once; found [1, 0, 1]"),
        ("name: small", "name: ../small", 1, "name: String should match pattern"),
        ("rates: [0.5, 1]", "seeds: []", 14, "runs.0.seeds: List should have at least 1 item"),
        ("sources: other", "sources: [tags, aim]", 15, "expected each source once, and none that"),
        ("sources: other", "sources: [tags, tags]", 15, "expected each source once, and none that"),
        (
            "test: aim.test.iob",
            "test: aim.test.iob, more_tests: {tags: aim.test.iob}",
            14,
            "a test corpus of 'aim' has the name of corpus 'tags'",
        ),
        ("layer: tag", "layer: tag, vectors: [a, b]", 17, "one choice of vectors for source"),
        ("seeds: [0, 1]", "reference: la-dtl", 18, "reference: unknown 'la-dtl'"),
        ("seeds: [0, 1]", "ablations: [CRF-L2]", 18, "ablations: unknown 'CRF-L2'"),
        (
            "La-DTL: {config: small.cfg}",
            "La-DTL: {config: small.cfg, first: {config: alone.cfg}}",
            15,
            "'La-DTL' learns the source first: expected one source, with dev",
        ),
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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("aim.test.iob", "aim.tset.iob", "aim.tset.iob: no such file or folder, for corpus 'aim'"),
        ("train: other.iob", "train: othr.iob", "othr.iob: no such file or folder, for corpus 'o"),
        ("map.tsv", "mop.tsv", "mop.tsv: no such label map"),
        ("aim.test.iob, ", "aim.test.iob, vectors: nowhere, ", "nowhere: expected a pipeline with"),
        ("aim.test.iob, ", "aim.test.iob, gazetteers: {x: y.txt}, ", "y.txt: no such file"),
    ],
)
def test_files_that_are_not_there(
    edit: Callable[[str, str], Path], old: str, new: str, message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        names(edit(old, new))


@pytest.mark.parametrize("name", ["a.b", "target", "a b"])
def test_names_that_no_source_can_have(edit: Callable[[str, str], Path], name: str) -> None:
    edit("  other: {", f"  {name}: {{")
    with pytest.raises(CorpusError, match=r"grid\.yml:15: .* cannot name a source"):
        read_grid(edit("sources: other", f"sources: {name}"))


def test_no_file_and_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such experiment file"):
        read_grid(tmp_path / "x.yml")
    (tmp_path / "x.yml").write_text("- a\n")
    with pytest.raises(CorpusError, match="expected a mapping with name, corpora"):
        read_grid(tmp_path / "x.yml")


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_the_project_has_usable_configs(path: Path, tmp_path: Path) -> None:
    grid = read_grid(path)
    for corpus in grid.corpora.values():
        more = (*corpus.more_tests.values(), *corpus.vectors)
        for name in (corpus.train, corpus.dev, corpus.test, *more):
            (tmp_path / (name or "")).mkdir(parents=True, exist_ok=True)
    one_seed = {str(run).rpartition(",")[0]: run for run in runs_of(grid, path.parent, tmp_path)}
    for run in one_seed.values():
        config = config_of(run, lambda path, files: f"{path}", key_of).interpolate()
        assert config["system"]["seed"] == run.seed
        sources = set() if run.first else {source.name for source in run.sources}
        assert set(config["corpora"]["train"]["sources"]) == sources


def study(name: str) -> list[Run]:
    """The runs of a study of the embedded sample, whose corpora have to be there."""
    path = ROOT / "configs" / "experiments" / f"{name}.yml"
    grid = read_grid(path)
    assert grid.name == name
    return list(runs_of(grid, path.parent, ROOT / "assets" / "clinical"))


@pytest.mark.parametrize("name", [path.stem for path in STUDIES])
def test_studies_find_the_embedded_sample_and_train_the_same_encoder(name: str) -> None:
    encoders = []
    methods = {run.method: run for run in study(name)}
    for run in (*methods.values(), study("compare")[0]):
        config = config_of(run, lambda path, files: f"{path}", key_of).interpolate()
        encoders.append(config["components"]["transfer_ner"]["model"]["encoder"])
    assert all(encoder == encoders[0] for encoder in encoders)
    assert (encoders[0]["word_encoder"], encoders[0]["word_layers"]) == ("lstm", 1)


def test_the_comparison_is_of_every_method_on_every_pair() -> None:
    runs = study("compare")
    specialties = ("cardiology", "respiratory", "neurology", "gastroenterology")
    alone = {(run.target.name, run.seed): run.method for run in runs if not run.sources}
    seeds = {run.seed for run in runs}
    assert alone == dict.fromkeys(product(specialties, seeds), "Non-transfer")
    methods = {run.method for run in runs if run.sources}
    assert len(methods) == 10
    found = [(r.sources[0].name, r.target.name, r.method, r.seed) for r in runs if r.sources]
    assert sorted(found) == sorted(
        (*pair, method, seed)
        for pair in permutations(specialties, 2)
        for method in methods
        for seed in seeds
    )
    assert {(run.rate, run.reference) for run in runs} == {(0.1, "La-DTL")}
    of_method = {run.method: run for run in runs}
    assert len({key_of(run) for run in of_method.values()}) == 11
    for run in of_method.values():
        # Each learns from as many sentences of the target, in steps of ten sentences, to the end.
        training = config_of(run, lambda path, files: f"{path}", key_of).interpolate()["training"]
        batcher = training["batcher"]
        if batcher["@batchers"] == "spacy_transfer.Joint.v1":
            of_target = batcher["target_size"]
            of_any = of_target + batcher["source_size"]
        else:
            of_any = batcher["batch_size"]
            of_target = of_any * batcher.get("target_probability", 1.0)
        assert (of_target * training["max_steps"], of_any) == (4000, 10)
        assert training["patience"] == 0


def test_the_search_is_for_settings_that_there_are() -> None:
    path = ROOT / "configs" / "experiments" / "search.yml"
    search = read_grid(path).search
    assert search is not None
    values = {name: what.low for name, what in search.settings.items() if isinstance(what, Between)}
    assert len(values) == 3
    run = study("search")[0]
    assert key_of(replace(run, settings={**run.settings, **values})) != key_of(run)
