from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spacy_transfer.experiments.grid import read_grid, runs_of
from spacy_transfer.experiments.run import CorpusFiles, Run, config_of, key_of
from tests.conftest import with_schedule


def runs(path: Path) -> list[Run]:
    return list(runs_of(read_grid(path), path.parent, path.parent))


def plain(path: Path, files: CorpusFiles) -> str:
    return str(path)


def named(path: Path, files: CorpusFiles) -> str:
    return f"{path.name} as {files.layer}"


def test_the_config_of_a_run(grid_file: Path) -> None:
    of_tags = runs(grid_file)[7]
    config = config_of(of_tags, named, key_of).interpolate()
    reader = {"@readers": "spacy_transfer.TaskCorpus.v1"}
    assert config["corpora"]["train"]["target"] == {
        **reader,
        "path": "aim.train.iob as ents",
        "layer": "ents",
        "rate": 0.5,
        "rate_seed": 1,
    }
    assert config["corpora"]["train"]["sources"] == {
        "tags": {**reader, "path": "tags.tsv as tag", "layer": "tag"}
    }
    assert config["corpora"]["dev"]["path"] == "aim.dev.iob as ents"
    assert (config["system"]["seed"], config["nlp"]["lang"]) == (1, "xx")
    assert config["components"]["transfer_ner"]["factory"] == "transfer_ner"
    assert config["training"]["max_steps"] == 6


def test_tasks_are_drawn_by_the_seed_of_the_run(grid_file: Path) -> None:
    path = grid_file.with_name("small.cfg")
    text = with_schedule(path.read_text(encoding="utf-8"), "Alternate")
    path.write_text(text, encoding="utf-8")
    for run in runs(grid_file)[4:6]:
        config = config_of(run, named, key_of).interpolate()
        assert config["training"]["batcher"]["seed"] == run.seed
    assert {run.seed for run in runs(grid_file)[4:6]} == {0, 1}


def test_a_run_that_starts_from_another(retraining_file: Path) -> None:
    half, tenth = runs(retraining_file)
    assert half.first is not None
    assert half.first == tenth.first
    assert (half.first.target.name, half.first.sources, half.first.rate) == ("other", (), 1.0)
    config = config_of(half, named, lambda first: f"model of {first.target.name}").interpolate()
    component = config["initialize"]["components"]["transfer_ner"]
    assert component["source_pipeline"] == "model of other"
    assert config["corpora"]["train"]["sources"] == {}
    first = config_of(half.first, named, key_of).interpolate()
    assert first["corpora"]["train"]["target"]["path"] == "other.iob as ents"
    assert first["corpora"]["dev"]["path"] == "other.dev.iob as ents"
    assert (first["training"]["max_steps"], config["training"]["max_steps"]) == (4, 2)


def test_a_first_run_has_the_vectors_of_its_source_and_the_seed_of_the_run(
    retraining_file: Path,
) -> None:
    text = retraining_file.read_text().replace("other.iob,", "other.iob, vectors: numpy,")
    assert "numpy" in text
    retraining_file.write_text(f"{text}seeds: [3, 7]\n")
    for run in runs(retraining_file):
        assert run.first is not None
        config = config_of(run.first, named, key_of).interpolate()
        assert config["initialize"]["vectors"] == "numpy"
        assert config["system"]["seed"] == run.seed
        assert config["training"]["eval_frequency"] == 2
    assert {run.seed for run in runs(retraining_file)} == {3, 7}


def test_the_key_is_of_the_first_run_too(retraining_file: Path) -> None:
    before = [key_of(run) for run in runs(retraining_file)]
    text = retraining_file.read_text()
    retraining_file.write_text(text.replace("max_steps: 4", "max_steps: 5"))
    after = [key_of(run) for run in runs(retraining_file)]
    assert not set(before) & set(after)


@pytest.mark.parametrize("first", [True, False])
def test_a_first_run_is_for_a_config_that_starts_from_one(
    retraining_file: Path, first: bool
) -> None:
    [run, _] = runs(retraining_file)
    alone = run.config.with_name("alone.cfg")
    run = replace(run, config=alone) if first else replace(run, first=None)
    with pytest.raises(ValueError, match="a method with `first` has a source_pipeline, and a meth"):
        key_of(run)


@pytest.mark.parametrize(
    ("layer", "factory", "score"),
    [
        ("tag", "transfer_tagger", "tag_acc"),
        ("spans:sc", "transfer_chunker", "spans_sc_f"),
        ("ents", "transfer_ner", "ents_f"),
    ],
)
def test_the_component_is_that_of_the_target_layer(
    grid_file: Path, layer: str, factory: str, score: str
) -> None:
    first = runs(grid_file)[0]
    other = replace(first, target=replace(first.target, layer=layer))
    component = config_of(other, plain, key_of)["components"]["transfer_ner"]
    assert component["factory"] == factory
    assert component.get("spans_key") == ("sc" if layer == "spans:sc" else None)
    assert other.score == score


def test_what_the_config_says_of_its_corpora_stays(grid_file: Path) -> None:
    path = grid_file.with_name("small.cfg")
    text = path.read_text().replace("vectors = ${paths.vectors}", 'vectors = "en_core_web_md"')
    text = text.replace("path = ${paths.target}", "path = ${paths.target}\nmax_length = 90")
    path.write_text(text.replace("path = ${paths.dev}", "path = ${paths.dev}\nlimit = 7"))
    config = config_of(runs(grid_file)[4], plain, key_of)
    assert config["corpora"]["train"]["target"]["max_length"] == 90
    assert config["corpora"]["dev"]["limit"] == 7
    assert config["initialize"]["vectors"] == "en_core_web_md"
    # A config without [system] has spaCy's own.
    path.write_text(text.replace("[system]\nseed = 0\n", "").replace("${system.seed}", "0"))
    config = config_of(runs(grid_file)[5], plain, key_of)
    seeds = (config["system"], config["training"], config["corpora"]["train"])
    assert [section["seed"] for section in seeds] == [1, 1, 1]


def test_sources_of_other_languages_have_vectors_of_their_own(grid_file: Path) -> None:
    first = runs(grid_file)[4]
    config = Path(__file__).parents[2] / "configs" / "tc.cfg"
    for lang, vectors, expected in (
        ("xx", None, {}),
        ("es", None, {"other": None}),
        ("es", "v", {"other": "v"}),
        ("xx", "v", {"other": "v"}),
    ):
        sources = (replace(first.sources[0], lang=lang, vectors=vectors),)
        other = replace(first, config=config, sources=sources, label_map=None, settings={})
        initialize = config_of(other, plain, key_of)["initialize"]
        assert initialize["components"]["transfer_ner"]["source_vectors"] == expected


def test_the_key_is_of_all_that_determines_the_result_and_nothing_else(
    grid_file: Path, edit: Callable[[str, str], Path]
) -> None:
    def keys() -> list[str]:
        return [key_of(run) for run in runs(grid_file)]

    first = keys()
    assert len(set(first)) == 10
    edit("name: small", "name: renamed")
    edit("published: {none: 40}", "published: {none: 41}")
    corpus = grid_file.with_name("aim.train.iob")
    corpus.rename(corpus.with_name("moved.iob"))
    edit("aim.train.iob", "moved.iob")
    assert keys() == first
    with grid_file.with_name("other.iob").open("a", encoding="utf-8") as file:
        file.write("New\tO\n\n")
    changed = [old != new for old, new in zip(first, keys(), strict=True)]
    assert changed == [False] * 4 + [True] * 2 + [False] * 4
    first = keys()
    for name in ("aim.test.iob", "aim.dev.iob"):
        with grid_file.with_name(name).open("a", encoding="utf-8") as file:
            file.write("New\tO\n\n")
        assert not set(first) & set(keys())
        first = keys()
    edit("training.max_steps: 6", "training.max_steps: 7")
    assert not set(first) & set(keys())
    first = keys()
    grid_file.with_name("map.tsv").write_text("person\tPER\n")
    changed = [old != new for old, new in zip(first, keys(), strict=True)]
    assert changed == [False] * 4 + [True] * 2 + [False] * 4
    first = keys()
    with grid_file.with_name("small.cfg").open("a") as file:
        file.write("\n# nothing but a comment\n")
    assert keys() == first
    words = grid_file.with_name("words.txt")
    words.write_text("Oslo\n")
    edit("training.max_steps: 7", f"initialize.components.transfer_ner.gazetteers: {{x: {words}}}")
    assert not set(first) & set(keys())
    first = keys()
    words.write_text("Oslo\nRome\n")
    assert not set(first) & set(keys())
    first = keys()
    edit("test: aim.test.iob, ", "test: aim.test.iob, vectors: numpy, ")
    assert not set(first) & set(keys())


def test_runs_that_are_the_same_have_one_key(edit: Callable[[str, str], Path]) -> None:
    path = edit("sources: [tags], methods: [La-DTL, joint]", "methods: [none]")
    first, *_, last = runs(path)[:2] + runs(path)[-2:]
    assert key_of(last) == key_of(runs(path)[1])
    assert key_of(first) != key_of(last)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("alone.cfg", "missing.cfg", "missing.cfg: no such config file"),
        ("training.max_steps: 6", "training.max_stepz: 6", "unknown setting --training.max_stepz"),
        ("rates: [0.5, 1]", "rates: [0]", "rate 0 needs a config without"),
        ("methods: [La-DTL, joint]", "methods: [none]", "learn nothing from tags: list it in"),
        ("alone.cfg", "empty.cfg", "expected one component of transfer_ner, .*; found none"),
        ("alone.cfg", "bare.cfg", r"bare.cfg: expected a section \[corpora.train\]"),
    ],
)
def test_what_cannot_be_used(
    edit: Callable[[str, str], Path], old: str, new: str, message: str
) -> None:
    path = edit(old, new)
    bare = '[nlp]\nlang = "xx"\npipeline = []\n[training]\n'
    path.with_name("bare.cfg").write_text(bare)
    readers = "[corpora]\n[corpora.train]\n[corpora.dev]\n"
    path.with_name("empty.cfg").write_text(bare + readers)
    with pytest.raises(ValueError, match=message):
        [key_of(run) for run in runs(path)]
