"""spaCy's own commands on our configs and pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.cli import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_transfer.corpus.marks import TARGET
from tests.conftest import CONFIGS, SMALL_CONFIG, Train, blank, sentences, write_label_map

COMPONENT = "transfer_ner"


class Files:
    """Small corpora, and a pipeline that `spacy train` made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = {"label_map": write_label_map(folder / "map.tsv")}
        for name, task, count, seed in (
            ("target", TARGET, 20, 0),
            ("source", "source", 20, 0),
            ("dev", TARGET, 10, 1),
        ):
            self.paths[name] = folder / f"{name}.spacy"
            DocBin(docs=sentences(blank(), task, count, seed)).to_disk(self.paths[name])
        self.options = [f"--paths.{name}={path}" for name, path in self.paths.items()]
        self.steps = ["--training.max_steps=6", "--training.eval_frequency=3"]
        self.trained = folder / "trained"
        self.printed = call(
            "train",
            SMALL_CONFIG,
            *("--output", self.trained),
            *self.options,
            *self.steps,
            f"--components.{COMPONENT}.confidence=true",
        )


def call(*arguments: object, status: int = 0) -> str:
    """Run a command of spaCy in this process and return what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and result.exit_code != status:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("commands"))


def weights(output: Path, which: str = "model-last") -> bytes:
    return (output / which / COMPONENT / "model").read_bytes()


def with_text(path: Path, *changes: tuple[str, str]) -> Path:
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path


JOINT = '"spacy_transfer.Joint.v1"\ntarget_size = 10\nsource_size = 10\n'
BATCHERS = {
    "joint": '"spacy_transfer.Joint.v1"\ntarget_size = 7\nsource_size = 4\n',
    "alternate": '"spacy_transfer.Alternate.v1"\nbatch_size = 4\nwindow = 3\n',
}


ADAGRAD = (
    '"spacy_transfer.Adagrad.v1"\nlearn_rate = 0.03\ninitial_accumulator = 0.1\ngrad_clip = 5.0\n'
)
ADAM = """"Adam.v1"
use_averages = true

[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
initial_rate = 0.05
warmup_steps = 3
total_steps = 20
"""


@pytest.mark.parametrize(
    ("batcher", "optimizer", "limits"),
    [
        ("joint", ADAGRAD, {"max_steps": 7}),
        ("alternate", ADAM, {"max_steps": 7}),
        ("joint", ADAM, {"max_steps": 0, "max_epochs": 2}),
        ("alternate", ADAGRAD, {"max_steps": 0, "max_epochs": 2}),
        ("joint", ADAGRAD, {"max_steps": 90, "patience": 4}),
    ],
)
def test_train_gives_the_weights_of_our_loop(
    files: Files,
    tmp_path: Path,
    train: Train,
    batcher: str,
    optimizer: str,
    limits: dict[str, int],
) -> None:
    alpha = ("alpha = 0.02", "alpha = 0.02" if batcher == "joint" else "alpha = 0.0")
    config = with_text(tmp_path / "a.cfg", (JOINT, BATCHERS[batcher]), (ADAGRAD, optimizer), alpha)
    settings = {f"training.{name}": value for name, value in limits.items()}
    settings["training.eval_frequency"] = 3
    if "patience" in limits:
        settings["training.optimizer.learn_rate"] = 0
    options = [f"--{name}={value}" for name, value in settings.items()]
    call("train", config, "--output", tmp_path / "stock", *files.options, *options)
    paths = {f"paths.{name}": path for name, path in files.paths.items()}
    ours = train({**paths, **settings}, config=config, output=tmp_path / "ours")
    assert ours.status == 0, ours.err
    assert weights(tmp_path / "stock") == weights(ours.output)


def test_train_refuses_to_divide_batches(files: Files, tmp_path: Path) -> None:
    for setting in ("accumulate_gradient=2", "max_epochs=-1"):
        with pytest.raises(ValueError, match=rf"training.{setting.split('=')[0]} must be"):
            call(
                *("train", SMALL_CONFIG, "--output", tmp_path / "out"),
                *(*files.options, f"--training.{setting}"),
            )
        assert not list(tmp_path.glob("out/*"))


def test_console_logger_in_the_loop_of_spacy(files: Files) -> None:
    header = "  E       #      LOSS"  # again where terms are added: step 0 has none
    table = files.printed[files.printed.index(header) :].splitlines()
    rows = [line.split() for line in table]
    assert [row[1] for row in rows if row and row[0].isdigit()] == ["0", "3", "6"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_configs_can_be_filled_and_are_valid(files: Files, tmp_path: Path, config: Path) -> None:
    filled = tmp_path / "filled.cfg"
    call("init", "fill-config", config, filled)
    given = [
        f"--paths.{name}={path}"
        for name, path in files.paths.items()
        if f"\n{name} = " in config.read_text(encoding="utf-8").split("[system]")[0]
    ]
    assert "Config is valid" in call("debug", "config", filled, *given)


def test_debug_data(files: Files, tmp_path: Path) -> None:
    filled = tmp_path / "filled.cfg"
    call("init", "fill-config", SMALL_CONFIG, filled)
    # The status says that the sample is too small.
    printed = call("debug", "data", filled, *files.options, status=1)
    assert "Pipeline can be initialized with data" in printed
    assert "40 training docs" in printed
    assert "10 evaluation docs" in printed


def test_debug_model(files: Files, tmp_path: Path) -> None:
    filled = tmp_path / "filled.cfg"
    call("init", "fill-config", SMALL_CONFIG, filled)
    printed = call("debug", "model", filled, COMPONENT, "--print-step3", *files.options)
    assert "Initialized the model with the training corpus." in printed
    assert "Prediction(tags=" in printed
    assert "Successfully ended analysis" in printed


def test_labels_that_were_written_give_the_same_model(files: Files, tmp_path: Path) -> None:
    call("init", "labels", SMALL_CONFIG, tmp_path / "labels", *files.options)
    config = with_text(
        tmp_path / "labels.cfg",
        (
            "label_map = ${paths.label_map}\n",
            "label_map = ${paths.label_map}\n\n"
            f"[initialize.components.{COMPONENT}.labels]\n"
            '@readers = "spacy.read_labels.v1"\n'
            f'path = "{(tmp_path / "labels" / COMPONENT).as_posix()}.json"\n',
        ),
    )
    call("train", config, "--output", tmp_path / "out", *files.options, *files.steps)
    assert weights(tmp_path / "out") == weights(files.trained)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # spaCy closes no file
def test_assemble_apply_and_package(files: Files, tmp_path: Path) -> None:
    best = files.trained / "model-last"
    config = tmp_path / "assemble.cfg"
    config.write_text(
        f'[nlp]\nlang = "xx"\npipeline = ["{COMPONENT}"]\n\n[components]\n\n'
        f'[components.{COMPONENT}]\nsource = "{best.as_posix()}"\n'
    )
    call("assemble", config, tmp_path / "assembled")
    texts = [doc.text for doc in sentences(blank(), TARGET, 3)]
    pipelines = [spacy.load(path) for path in (best, tmp_path / "assembled")]
    found, again = ([[ent.text for ent in nlp(text).ents] for text in texts] for nlp in pipelines)
    assert found == again
    (tmp_path / "in.txt").write_text(texts[0])
    call("apply", best, tmp_path / "in.txt", tmp_path / "out.spacy")
    docs = DocBin().from_disk(tmp_path / "out.spacy").get_docs(blank().vocab)
    assert [[ent.text for ent in doc.ents] for doc in docs] == found[:1]
    call("package", best, tmp_path, "--name", "tiny", "--build", "none")
    assert "spacy-transfer>=" in (tmp_path / "xx_tiny-0.0.0" / "meta.json").read_text()


def test_find_threshold_and_benchmarks(files: Files) -> None:
    best, dev = files.trained / "model-last", files.paths["dev"]
    printed = call("find-threshold", best, dev, COMPONENT, "threshold", "ents_f", "-n", 3)
    assert "Best threshold:" in printed
    # No span is certain: at 1 there is none left, and no score.
    assert [line.split()[0] for line in printed.splitlines() if line[:1].isdigit()] == [
        *("0.0", "0.5", "1.0")
    ]
    scores = call("evaluate", best, dev)
    assert "NER F" in scores
    assert "NER F" in call("benchmark", "accuracy", best, dev)
    speed = call("benchmark", "speed", best, dev, "-n", 1, "--batches", 30, "--warmup", 0)
    assert "words/s" in speed
