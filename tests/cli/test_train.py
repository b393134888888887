"""`spacy transfer train` on the command line: its options and what it says when it cannot."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import spacy
import torch

from spacy_transfer.models import device, shim
from tests.cli.running import exit_code
from tests.conftest import SMALL_CONFIG, Train

run = partial(exit_code, "train")


def test_settings_are_overridden(train: Train, tmp_path: Path) -> None:
    result = train({"nlp.lang": "de", "training.score_weights.ents_r": 1.0}, output=tmp_path / "a")
    assert result.status == 1
    assert "no section [training.score_weights]" in result.err
    result = train({"nlp.lang": "de", "components.transfer_ner.tag_scheme": "BIO"})
    assert result.status == 0
    pipeline = spacy.load(result.output / "model-last")
    assert pipeline.lang == "de"
    assert pipeline.get_pipe("transfer_ner").cfg["tag_scheme"] == "BIO"


def test_own_code_is_imported(train: Train, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import spacy\n"
        "from spacy_transfer.models.optimizer import adagrad\n"
        "@spacy.registry.optimizers('own_fast_adagrad')\n"
        "def make():\n"
        "    print('own code at work')\n"
        "    return adagrad(0.5)\n"
    )
    config = tmp_path / "own.cfg"
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    before, rest = text.split("[training.optimizer]")
    after = rest[rest.index("[") :]
    config.write_text(
        f'{before}[training.optimizer]\n@optimizers = "own_fast_adagrad"\n\n{after}',
        encoding="utf-8",
    )
    result = train({"code": tmp_path / "own.py"}, config=config)
    assert result.status == 0, result.err
    assert "own code at work" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.cfg", "-o", "out"], "nowhere.cfg: no such config file"),
        ([SMALL_CONFIG, "-o", "out"], "a corpus has no path"),
        ([SMALL_CONFIG, "-o", "out", "--paths.sorce", "x"], "'paths.source'?"),
        ([SMALL_CONFIG, "-o", "out", "--nlp.lang", "xyz"], "Can't import language xyz"),
        ([SMALL_CONFIG, "-o", "out", "--gpu-id", "63"], "no GPU 63: torch "),
    ],
)
def test_one_clear_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[object],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("training.max_steps", "max_steps: Input should be a valid integer"),
        ("components.transfer_ner.model.objective.cost", "transfer_ner.model.objective -> cost: "),
        ("corpora.dev.limit", "dev -> limit: "),
    ],
)
def test_a_wrong_value_is_named_without_its_neighbours(train: Train, name: str, wrong: str) -> None:
    result = train({name: "abc"})
    assert result.status == 1
    assert result.err.splitlines()[-1].startswith("error: Config ")
    assert wrong in result.err.splitlines()[-1]
    assert "eval_frequency" not in result.err
    assert not result.output.exists()


def test_a_gpu_without_cupy(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def require_device(device: torch.device) -> torch.device:
        asked.append(device)
        return torch.device("cpu")

    monkeypatch.setattr(device, "gpu_is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(shim, "require_device", require_device)
    result = train({"gpu-id": 1})
    assert result.status == 0, result.err
    assert asked == [torch.device("cuda:1")]
    device.use_gpu(-1)


def test_device_and_precision(train: Train, tmp_path: Path) -> None:
    model = "components.transfer_ner.model"
    missing = train({f"{model}.device": "cuda:63"}, output=tmp_path / "missing")
    assert missing.status == 1
    assert missing.err.startswith("error: torch ")
    assert "has no device 'cuda:63' on this machine" in missing.err
    assert missing.err.count("\n") == 1
    assert not missing.output.exists()
    result = train({f"{model}.device": "cpu", f"{model}.precision": "bfloat16"})
    assert result.status == 0, result.err
    saved = spacy.load(result.output / "model-best").config["components"]["transfer_ner"]["model"]
    assert (saved["device"], saved["precision"]) == ("cpu", "bfloat16")


def test_output_that_is_a_file(train: Train, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    result = train(output=tmp_path / "file")
    assert result.status == 1
    assert result.err.startswith("error: ")
    assert (tmp_path / "file").read_text() == "precious"


def test_output_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SMALL_CONFIG) == 2
    assert "--output" in capsys.readouterr().err
