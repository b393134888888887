from __future__ import annotations

from pathlib import Path

import pytest
from confection import Config
from spacy.schemas import ConfigSchemaTraining
from spacy.util import load_model_from_config, registry

from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.training.config import load_training_config
from tests.conftest import CONFIGS, SMALL_CONFIG

ENCODER = "components.transfer_ner.model.encoder"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_project_loads(path: Path) -> None:
    config = load_training_config(path, {"paths.dev": "here.spacy", "system.seed": 7})
    nlp = load_model_from_config(config, auto_fill=True)
    assert nlp.pipe_names == [nlp.get_pipe_meta(name).factory for name in nlp.pipe_names]
    assert isinstance(nlp.get_pipe(nlp.pipe_names[-1]), TransferPipe)
    filled = nlp.config.interpolate()
    assert filled["corpora"]["dev"]["path"] == "here.spacy"
    settings = registry.resolve(filled["training"], schema=ConfigSchemaTraining)
    assert settings["seed"] == filled["corpora"]["train"]["seed"] == 7


def test_the_loggers_of_the_pages_fit_a_config(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "training.md"
    shown = page.read_text(encoding="utf-8").split("```ini\n")[1].split("```")[0]
    text = next(path for path in CONFIGS if path.stem == "joint").read_text(encoding="utf-8")
    logger = '[training.logger]\n@loggers = "spacy_transfer.ConsoleLogger.v1"\n'
    assert text.count(logger) == 1
    path = tmp_path / "loggers.cfg"
    path.write_text(text.replace(logger, shown), encoding="utf-8")
    nlp = load_model_from_config(load_training_config(path, {}), auto_fill=True)
    filled = nlp.config.interpolate()["training"]
    of_others = filled["logger"].pop("logger2")  # W&B need not be installed
    assert registry.has("loggers", of_others["@loggers"])
    assert callable(registry.resolve(filled, schema=ConfigSchemaTraining)["logger"])


def test_variables_stay_variables() -> None:
    config = load_training_config(SMALL_CONFIG, {"training.max_steps": 3})
    assert config["training"]["max_steps"] == 3
    assert config["training"]["seed"] == "${system.seed}"
    assert isinstance(config, Config)


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "edited.cfg"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("patience =", "patiense =", r"key 'patiense' in \[training\]; did you mean 'patience'?"),
        ("lang =", "lnag =", r"unknown key 'lnag' in \[nlp\]; did you mean 'lang'?"),
        (
            "vectors = ${",
            "vector = ${",
            r"unknown key 'vector' in \[initialize\]; did you mean 'vectors'?",
        ),
        (
            "[initialize.components.transfer_ner]",
            "[initialize.components.transfer_nre]",
            "unknown component 'transfer_nre' in .*; did you mean 'transfer_ner'?",
        ),
        ("[system]\n", "[system]\nsede = 1\n", r"'sede' in \[system\], .*; did you mean 'seed'?"),
        ("[paths]\n", "[paths]\ntest = null\n", r"'test' in \[paths\], which nothing .* 'target'?"),
        ("[paths]\n", "[paths]\nxyz = null\n", r"'xyz' in \[paths\], .*; expected one of dev"),
        ("[training]\n", "[training]\nalpha = 1\n", r"unknown key 'alpha' in \[training\]"),
        ("[training.batcher]", "[training.transfer]\na = 1\n\n[training.batcher]", "'transfer' in"),
        ("[corpora]\n", "", "Section 'corpora' is not defined"),
        ("[system]\n", "[corpora.a]\nb = 1\n\n[system]\n", r"no section \[corpora\] before its"),
        ("[corpora.dev]", "[corpora.devv]", r"unknown key 'devv' in \[corpora\], .* 'dev'?"),
        ("[system]\n", "[sytem]\nseed = 1\n\n[system]\n", r"section \[sytem\]; .* 'system'?"),
        ("[system]\n", "[transfer]\nalpha = 1\n\n[system]\n", r"unknown section \[transfer\]"),
        ("[system]\n", "[paths]\n\n[system]\n", "section 'paths' already exists"),
        ("seed = 0\n", "seed = 0\nseed = 1\n", "option 'seed' in section 'system' already exists"),
        ("seed = 0\n", "seed\n", "parsing errors"),
    ],
)
def test_what_no_one_reads_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(ValueError, match=message) as caught:
        load_training_config(path, {})
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_further_variables_and_corpora_that_are_referred_to(tmp_path: Path) -> None:
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    for old, new in (
        ("[system]", "[sizes]\nbatch = 5\n\n[system]"),
        ("target_size = 10", "target_size = ${sizes.batch}"),
        ("[corpora.dev]", "[corpora.tune]"),
        ("patience =", 'dev_corpus = "corpora.tune"\npatience ='),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "edited.cfg"
    path.write_text(text, encoding="utf-8")
    config = load_training_config(path, {"sizes.batch": 3})
    assert config.interpolate()["training"]["batcher"]["target_size"] == 3
    path.write_text(text.replace('"corpora.tune"', '"corpora.dev"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"unknown key 'tune' in \[corpora\]"):
        load_training_config(path, {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("training.patiense", "--training.patiense; did you mean 'training.patience'?"),
        ("paths.targt", "unknown setting --paths.targt; did you mean 'paths.target'?"),
        ("paths.train", "unknown setting --paths.train"),
        ("trainin.patience", r"no section \[trainin\] for --trainin.patience"),
        ("training.optimiser.eps", r"no section \[training.optimiser\] for"),
        ("training.patience.now", r"no section \[training.patience\] for"),
        ("corpora.train.sources.xyz", "unknown setting .*; did you mean|expected one of source"),
        ("patience", "unknown setting --patience"),
    ],
)
def test_overriding_what_is_not_there_is_an_error(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_training_config(SMALL_CONFIG, {name: 1})
    assert str(caught.value).startswith(f"{SMALL_CONFIG}: ")


def test_defaults_can_be_overridden() -> None:
    """A setting need not stand in the file; what a function does not take, spaCy refuses later."""
    overrides = {
        f"{ENCODER}.word_dropout": 0.1,
        "components.transfer_ner.tag_scheme": "BIO",
        "corpora.dev.limit": 2,
        "training.max_epochs": 4,
    }
    nlp = load_model_from_config(load_training_config(SMALL_CONFIG, overrides), auto_fill=True)
    pipe = nlp.get_pipe("transfer_ner")
    assert pipe.model.attrs["encoder"].word_dropout == 0.1
    assert pipe.cfg["tag_scheme"] == "BIO"
    assert (nlp.config["corpora"]["dev"]["limit"], nlp.config["training"]["max_epochs"]) == (2, 4)
    wrong = load_training_config(SMALL_CONFIG, {f"{ENCODER}.word_dropuot": 0.1})
    with pytest.raises(ValueError, match="unexpected argument: 'word_dropuot'"):
        load_model_from_config(wrong, auto_fill=True)


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.cfg: no such config file"):
        load_training_config(tmp_path / "nowhere.cfg", {})
    with pytest.raises(ValueError, match="no such config file"):
        load_training_config(tmp_path, {})
    path = tmp_path / "latin.cfg"
    path.write_bytes("# é\n[paths]\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.cfg: 'utf-8' codec can't decode"):
        load_training_config(path, {})
