"""Where networks are, and that a GPU would never be waited for without need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Adam

from spacy_transfer.models import device as of_module
from spacy_transfer.models import shim as shim_module
from spacy_transfer.models import tagger as model_module
from spacy_transfer.models.device import default_device, require_device, use_gpu
from spacy_transfer.models.shim import Blueprint, TransferShim, WordLevel
from spacy_transfer.models.tagger import TaggerInput, TaskDocs, forward, shim_of, transfer_tagger
from spacy_transfer.nn.crf import CRF
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.sharing import Sharing

MISSING = "cuda:63"
ENCODER = EncoderSettings(char_hidden=3, word_embedding=4, word_hidden=3)
OBJECTIVE = ObjectiveSettings(beta=0.1, gamma=0.1)
BLUEPRINT = Blueprint(
    encoder=ENCODER,
    objective=OBJECTIVE,
    sharing=Sharing.of("target", "T-B", ["source"]),
    tasks={"target": 3, "source": 4},
    matched={"source": 1},
    words={"target": WordLevel(["Ann", "met"], 4)},
    characters="Anmet",
)


def shim_in(nlp: Language) -> TransferShim:
    return shim_of(nlp.get_pipe("transfer_ner").model)


def with_model(**settings: object) -> dict[str, Any]:
    return {"components": {"transfer_ner": {"model": settings}}}


@pytest.fixture
def saved(trained: Language, tmp_path: Path) -> Path:
    trained.to_disk(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A torch with two GPUs and a thinc without cupy; which of them were made current."""
    current: list[int] = []
    monkeypatch.setattr(of_module, "gpu_is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    yield current
    use_gpu(-1)


def test_a_device_is_chosen_when_a_pipeline_is_loaded(saved: Path) -> None:
    assert shim_in(spacy.load(saved)).device == torch.device("cpu")
    elsewhere = shim_in(spacy.load(saved, config=with_model(device="meta")))
    assert {p.device.type for p in elsewhere.network.state_dict().values()} == {"meta"}


def test_a_missing_device_is_the_cpu_when_a_pipeline_is_loaded(saved: Path) -> None:
    with pytest.warns(UserWarning, match="has no device") as caught:
        nlp = spacy.load(saved, config=with_model(device=MISSING))
    (warning,) = caught
    assert f"has no device '{MISSING}' on this machine" in str(warning.message)
    assert str(warning.message).endswith("the pipeline is loaded on the CPU")
    expected = [ent.text for ent in spacy.load(saved)("Ann Lee lives in Rome now").ents]
    assert expected
    assert [ent.text for ent in nlp("Ann Lee lives in Rome now").ents] == expected
    # It stays there, and elsewhere it is where its config says.
    nlp.get_pipe("transfer_ner").add_label("other")
    assert shim_in(nlp).device == torch.device("cpu")
    assert nlp.config["components"]["transfer_ner"]["model"]["device"] == MISSING


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"device": "gpu"}, "device must be null or a device of torch.*found 'gpu'"),
        ({"precision": "float16"}, "precision"),
    ],
)
def test_settings_that_cannot_be_used(
    saved: Path, setting: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        spacy.load(saved, config=with_model(**setting))


def test_learning_needs_the_device() -> None:
    model = transfer_tagger(ENCODER, OBJECTIVE, device=MISSING)
    with pytest.raises(ValueError, match=f"has no device '{MISSING}' on this machine"):
        shim_of(model).set_network(BLUEPRINT, BLUEPRINT.build())
    with pytest.raises(ValueError, match="not initialised"):
        _ = shim_of(model).network


def test_a_gpu_without_cupy(two_gpus: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert use_gpu(1) == -1  # thinc stays on the CPU
    assert two_gpus == [1]
    assert default_device() == torch.device("cuda:1")
    asked: list[torch.device] = []
    monkeypatch.setattr(
        shim_module, "require_device", lambda device: asked.append(device) or torch.device("cpu")
    )
    for device, expected in ((None, "cuda:1"), ("cpu", "cpu"), ("cuda:0", "cuda:0")):
        model = transfer_tagger(ENCODER, OBJECTIVE, device=device)
        shim_of(model).set_network(BLUEPRINT, BLUEPRINT.build())
        assert asked.pop() == torch.device(expected)
    with pytest.raises(ValueError, match=r"no GPU 2: torch .* finds 2 GPUs"):
        use_gpu(2)
    assert use_gpu(-1) == -1
    assert default_device() == torch.device("cpu")


def test_a_gpu_with_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    required: list[int] = []
    monkeypatch.setattr(of_module, "gpu_is_available", lambda: True)
    monkeypatch.setattr(of_module, "require_gpu", required.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert use_gpu(3) == 3
    assert required == [3]
    assert default_device() == torch.device("cpu")  # where thinc's ops still are, in this test


@pytest.mark.parametrize("device", [MISSING, "hpu"])
def test_devices_that_torch_has(device: str) -> None:
    assert require_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ValueError, match=rf"no device '{device}' on this machine \(.+\)$"):
        require_device(torch.device(device))


def docs(nlp: Language, task: str, gold: bool = True) -> TaskDocs:
    made = [Doc(nlp.vocab, words=text.split()) for text in ("x", "Ann met Bo", "met x")]
    return TaskDocs(task, made, [np.zeros(len(doc), dtype=np.int64) for doc in made])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["gru", "gru-reset-before", "lstm", "cnn"])
def test_nothing_outside_the_crf_waits_for_the_device(
    nlp: Language, monkeypatch: pytest.MonkeyPatch, kind: str, precision: str
) -> None:
    """Tensors of the device `meta` have no values: asking for one, or for a shape that depends on
    one, is an error, as is arithmetic with tensors of the CPU."""
    given: list[tuple[torch.dtype, set[str]]] = []

    def loss(self: CRF, emissions: torch.Tensor, *others: torch.Tensor, **_: object) -> Any:
        given.append((emissions.dtype, {x.device.type for x in (emissions, *others)}))
        return emissions.sum((1, 2))

    monkeypatch.setattr(CRF, "loss", loss)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not for meta
    monkeypatch.setattr(model_module, "summed", lambda values: torch.zeros(len(values)))
    nlp.vocab.vectors.resize((3, 4))
    nlp.vocab.set_vector("Bo", np.ones(4, dtype=np.float32))
    encoder = replace(ENCODER, char_encoder=kind, word_encoder=kind)
    model = transfer_tagger(encoder, OBJECTIVE, device="meta", precision=precision)
    blueprint = replace(BLUEPRINT, encoder=encoder)
    shim_of(model).set_network(blueprint, blueprint.build())
    _, backprop = forward(model, TaggerInput([docs(nlp, "target"), docs(nlp, "source")]), True)
    backprop(1.0)
    assert given == [(torch.float32, {"meta"})] * 2
    for name, parameter in shim_of(model).network.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.dtype, parameter.grad.device.type) == (torch.float32, "meta"), name


def test_optimizers_of_thinc_reach_a_device_that_thinc_does_not(
    nlp: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(away: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = transfer_tagger(replace(ENCODER, word_dropout=0.0), OBJECTIVE)
        shim_of(model).set_network(BLUEPRINT, BLUEPRINT.build())
        optimizer = Adam(0.01)
        with monkeypatch.context() as patch:
            if away:
                meta = torch.device("meta")
                patch.setattr(shim_module, "get_torch_default_device", lambda: meta)
            for _ in range(3):
                _, backprop = model.begin_update(TaggerInput([docs(nlp, "target")]))
                backprop(1.0)
                model.finish_update(optimizer)
        return shim_of(model).network.state_dict()

    beside, away = weights(away=False), weights(away=True)
    assert all(torch.equal(value, away[name]) for name, value in beside.items())


def test_the_pipeline_keeps_its_settings(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path / "a")
    changed = spacy.load(tmp_path / "a", config=with_model(precision="bfloat16", device="cpu"))
    changed.to_disk(tmp_path / "b")
    again = spacy.load(tmp_path / "b")
    model = again.config["components"]["transfer_ner"]["model"]
    assert (model["precision"], model["device"]) == ("bfloat16", "cpu")
    precisions = {
        module.precision
        for module in shim_in(again).network.modules()
        if hasattr(module, "precision")
    }
    assert precisions == {torch.bfloat16}
    assert {p.dtype for p in shim_in(again).network.parameters()} == {torch.float32}
