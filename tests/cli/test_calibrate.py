from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import spacy
import torch
from spacy.language import Language

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.tagger import shim_of
from tests.cli.running import exit_code
from tests.conftest import blank

run = partial(exit_code, "calibrate")


def test_a_calibrated_pipeline_and_its_diagram(
    trained: Language,
    corpus_files: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, output = tmp_path / "model", tmp_path / "calibrated"
    trained.to_disk(model)
    dev, test = corpus_files(TARGET, 20, seed=1), corpus_files(TARGET, 20, seed=2)
    assert run(model, dev, "--output", output, "--test", test) == 0
    out = capsys.readouterr().out
    for row in ("dev, before", "dev, after", "test, before", "test, after"):
        assert f"| {row}" in out
    for ending in ("svg", "png"):
        assert (output / f"reliability.{ending}").stat().st_size > 1000
    pipe = spacy.load(output).get_pipe("transfer_ner")
    assert f"temperature {pipe.temperature:.3f}: {output}" in out
    assert pipe.temperature != 1.0
    assert spacy.load(model).get_pipe("transfer_ner").temperature == 1.0


def test_what_cannot_be_calibrated(
    corpus_files: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank().to_disk(tmp_path / "blank")
    dev, output = corpus_files(TARGET, 2), tmp_path / "out"
    assert run(tmp_path / "blank", dev, "--output", output) == 1
    assert "blank: expected one transfer component; found none" in capsys.readouterr().err
    assert not output.exists()


def test_nothing_but_a_pipeline_is_replaced(
    trained: Language,
    corpus_files: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "training" / "model-best"
    model.parent.mkdir()
    trained.to_disk(model)
    assert run(model, corpus_files(TARGET, 2), "--output", model.parent) == 1
    message = f"error: {model.parent}: exists, and is no spaCy pipeline directory to replace\n"
    assert capsys.readouterr().err == message
    assert spacy.load(model).pipe_names == ["transfer_ner"]


def test_one_of_two_components(
    trained: Language,
    corpus_files: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, output = tmp_path / "model", tmp_path / "calibrated"
    trained.to_disk(model)
    trained.add_pipe("transfer_ner", name="second", source=spacy.load(model))
    pipe = trained.get_pipe("second")
    with torch.no_grad():
        shim_of(pipe.model).network.head(TARGET).emission.bias[0] = 100.0  # O
    trained.to_disk(model)
    dev = corpus_files(TARGET, 10, seed=1)
    assert run(model, dev, "--output", output) == 1
    message = "model: expected one transfer component, or --component; found transfer_ner, second\n"
    assert message in capsys.readouterr().err
    assert run(model, dev, "--output", output, "--component", "third") == 1
    message = "model: no transfer component 'third'; found transfer_ner, second\n"
    assert message in capsys.readouterr().err
    assert not output.exists()
    assert run(model, dev, "--output", output, "--component", "transfer_ner") == 0
    nlp = spacy.load(output)
    assert nlp.get_pipe("transfer_ner").temperature != 1.0
    assert nlp.get_pipe("second").temperature == 1.0
