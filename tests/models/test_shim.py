from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Adam, Optimizer

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.gazetteer import Gazetteer
from spacy_transfer.models.optimizer import Adagrad, adagrad
from spacy_transfer.models.shim import Blueprint, TransferShim, WordLevel
from spacy_transfer.models.tagger import (
    LossTerms,
    TaggerInput,
    TaskDocs,
    TransferModel,
    shim_of,
    transfer_tagger,
)
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.sharing import Sharing
from tests.conftest import examples

ENCODER = EncoderSettings(
    char_embedding=2,
    char_hidden=3,
    char_layers=1,
    word_embedding=4,
    word_hidden=3,
    word_layers=1,
    word_dropout=0.0,
    lower=False,
)
OBJECTIVE = ObjectiveSettings(alpha=0.1, beta=0.2, gamma=0.01, epsilon=0.3, widths=(1.0, 2.0))
BLUEPRINT = Blueprint(
    encoder=ENCODER,
    objective=OBJECTIVE,
    sharing=Sharing.of("target", "T-B", ["source"]),
    tasks={"target": 3, "source": 4},
    matched={"source": 2},
    words={"target": WordLevel(["Ann", "naïve", "😀"], 4)},
    characters="Anïv😀",
)
TC = replace(
    BLUEPRINT,
    sharing=Sharing.of("target", "T-C", ["source"]),
    words={"target": WordLevel(["Ann"], 4), "source": WordLevel(["naïve", "Ann"], 5, static=False)},
)

MASKED, LINEAR = (
    replace(
        BLUEPRINT,
        sharing=Sharing.of("target", "T-A", ["source"]),
        tasks={"target": 4, "source": 4},
        projection=kind,
    )
    for kind in ("domain-mask", "linear")
)


def make_model(blueprint: Blueprint = BLUEPRINT) -> TransferModel:
    model = transfer_tagger(blueprint.encoder, blueprint.objective)
    network = blueprint.build()
    network.set_matched("source", [(0, 0), (2, 1)])
    shim(model).set_network(blueprint, network)
    return model


def shim(model: TransferModel) -> TransferShim:
    found = model.shims[0]
    assert isinstance(found, TransferShim)
    return found


def state(of: TransferShim) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in of.network.state_dict().items()}


def assert_same(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> None:
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def make_docs(nlp: Language, task: str = "target", gold: bool = True) -> TaggerInput:
    docs = [Doc(nlp.vocab, words=words) for words in (["Ann", "x"], ["naïve", "Ann", "😀"])]
    tags = [np.array([0, 1]), np.array([2, 0, 1])]
    return TaggerInput([TaskDocs(task, docs, tags if gold else None)])


@pytest.mark.parametrize(
    "blueprint", [BLUEPRINT, TC, MASKED, LINEAR], ids=["T-B", "T-C", "domain-mask", "linear"]
)
def test_round_trip(nlp: Language, blueprint: Blueprint) -> None:
    model = make_model(blueprint)
    other = transfer_tagger(ENCODER, OBJECTIVE).from_bytes(model.to_bytes())
    assert_same(state(shim(model)), state(shim(other)))
    assert shim(other).blueprint == blueprint
    vocabularies = shim(other).vocabularies
    listed = {group: level.words for group, level in blueprint.words.items()}
    assert {group: words.words for group, words in vocabularies.items()} == listed
    docs = make_docs(nlp, gold=False)
    before, after = model.predict(docs), other.predict(docs)
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    for expected, found in zip(before["target"], after["target"], strict=True):
        assert found.tags.tolist() == expected.tags.tolist()


def test_weights_file_is_plain_safetensors() -> None:
    model = make_model()
    weights = load(shim(model).to_bytes())
    assert_same(state(shim(model)), weights)


def test_empty_shim() -> None:
    empty = TransferShim()
    assert empty.to_bytes() == b""
    assert empty.from_bytes(b"") is empty
    with pytest.raises(ValueError, match="not initialised"):
        _ = empty.network
    assert transfer_tagger(ENCODER, OBJECTIVE).from_bytes(
        transfer_tagger(ENCODER, OBJECTIVE).to_bytes()
    )


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def refused(tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    good = shim(make_model()).to_bytes()
    header = good[8 : 8 + int.from_bytes(good[:8], "little")]
    weights = load(good)
    torch_file = BytesIO()
    torch.save({"payload": Payload(tmp_path / "executed")}, torch_file)
    other = {**weights, "heads.target.emission.bias": torch.zeros(9)}
    metadata = {"spacy_transfer.tagger.v1": BLUEPRINT.to_json()}
    not_ours, no_fit = "lack the header", "do not fit their header"
    return {
        "garbage": (b"not a model", "not a safetensors file"),
        "pickle": (pickle.dumps(Payload(tmp_path / "executed")), "not a safetensors file"),
        "torch": (torch_file.getvalue(), "not a safetensors file"),
        "half": (good[: len(good) // 2], "not a safetensors file"),
        "header alone": (good[:8] + header, "not a safetensors file"),
        "no metadata": (save(weights), not_ours),
        "other metadata": (save(weights, metadata={"format": "pt"}), not_ours),
        "other shape": (save(other, metadata=metadata), no_fit),
        "no weights": (save({}, metadata=metadata), no_fit),
        "broken header": (save(weights, metadata={"spacy_transfer.tagger.v1": "{"}), no_fit),
        "empty header": (save(weights, metadata={"spacy_transfer.tagger.v1": "{}"}), no_fit),
    }


REFUSED = (
    *("garbage", "pickle", "torch", "half", "header alone", "no metadata", "other metadata"),
    *("other shape", "no weights", "broken header", "empty header"),
)


@pytest.mark.parametrize("kind", REFUSED)
def test_anything_else_is_refused_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    data, message = refused(tmp_path)[kind]
    model = make_model()
    before, blueprint = state(shim(model)), shim(model).blueprint
    with pytest.raises(ValueError, match=message):
        shim(model).from_bytes(data)
    assert_same(before, state(shim(model)))
    assert shim(model).blueprint is blueprint
    assert not (tmp_path / "executed").exists()


def test_gazetteers_are_saved_with_the_weights(nlp: Language) -> None:
    gazetteer = Gazetteer.of({"people": [["Ann"], ["naïve", "Ann"]], "other": [["x"]]}, lower=True)
    blueprint = replace(BLUEPRINT, gazetteers=gazetteer.lists, gazetteer_lower=True)
    model = transfer_tagger(ENCODER, OBJECTIVE)
    network = blueprint.build()
    # All that counts is the list.
    with torch.no_grad():
        for parameter in network.heads.parameters():
            parameter.zero_()
        weight = network.head("target").emission.weight
        weight[1, -8:-4] = weight[2, -4:] = 1.0
    shim(model).set_network(blueprint, network, gazetteer)
    for of_model in (model, transfer_tagger(ENCODER, OBJECTIVE).from_bytes(model.to_bytes())):
        predicted = of_model.predict(make_docs(nlp, gold=False))
        assert [found.tags.tolist() for found in predicted["target"]] == [[1, 2], [1, 1, 0]]
        assert shim(of_model).blueprint == blueprint
    data = model.to_bytes()
    broken = data.replace(b"gazetteer.ends", b"gazetteer.endz")
    assert broken != data
    with pytest.raises(ValueError, match="do not fit their header"):
        transfer_tagger(ENCODER, OBJECTIVE).from_bytes(broken)


def test_rebuilding_keeps_the_weights() -> None:
    of_model = shim(make_model())
    before = state(of_model)
    of_model.rebuild(BLUEPRINT.with_tasks({"target": 5, "source": 4}))
    after = state(of_model)
    assert before.keys() == after.keys()
    for name, value in before.items():
        kept = after[name][tuple(slice(size) for size in value.shape)]
        assert torch.equal(kept, value), name
        assert (after[name].shape == value.shape) is not name.startswith(
            ("heads.target", "constraints.target")
        ), name


def test_an_optimizer_of_thinc_goes_on_after_rebuilding(nlp: Language) -> None:
    model, optimizer = make_model(), Adam(0.01)
    begin(model, nlp)
    model.finish_update(optimizer)
    shim(model).rebuild(BLUEPRINT.with_tasks({"target": 5, "source": 4}))
    losses = learn(model, nlp, optimizer)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    "blueprint",
    [BLUEPRINT, TC, replace(BLUEPRINT, projection="domain-mask")],
    ids=["T-B", "T-C", "domain-mask"],
)
def test_rebuilding_without_a_source(nlp: Language, blueprint: Blueprint) -> None:
    model = make_model(blueprint)
    before, prediction = state(shim(model)), model.predict(make_docs(nlp, gold=False))
    shim(model).rebuild(blueprint.with_tasks({"target": 3}))
    after = state(shim(model))
    assert after.keys() == {name for name in before if "source" not in name}
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert shim(model).vocabularies.keys() == {blueprint.sharing.words_of("target")}
    for old, new in zip(
        prediction["target"],
        model.predict(make_docs(nlp, gold=False))["target"],
        strict=True,
    ):
        assert new.tags.tolist() == old.tags.tolist()


def begin(model: TransferModel, nlp: Language, task: str = "target") -> float:
    output, backprop = model.begin_update(make_docs(nlp, task))
    assert isinstance(output, LossTerms)
    backprop(1.0)
    return output.total


def learn(model: TransferModel, nlp: Language, optimizer: Optimizer | Adagrad) -> list[float]:
    """The losses of 31 updates."""
    losses = []
    for _ in range(31):
        losses.append(begin(model, nlp))
        model.finish_update(optimizer)
    return losses


def test_thinc_optimizer(nlp: Language) -> None:
    """A plain Adam steps each parameter as thinc's own shim does."""
    model, optimizer, reference = make_model(), Adam(0.01), Adam(0.01)
    expected = {name: p.detach().clone() for name, p in shim(model).network.named_parameters()}
    losses = []
    for step in range(30):
        losses.append(begin(model, nlp, "target" if step % 2 else "source"))
        for name, parameter in shim(model).network.named_parameters():
            if parameter.grad is not None:
                gradient = parameter.grad.to_dense().numpy().copy()
                updated, _ = reference((0, name), expected[name].numpy(), gradient)
                expected[name] = torch.tensor(np.array(updated))
        model.finish_update(optimizer)
        for name, parameter in shim(model).network.named_parameters():
            torch.testing.assert_close(parameter.data, expected[name], rtol=1e-6, atol=1e-7)
    assert sum(losses[-2:]) < sum(losses[:2]) / 2


def test_averages_of_an_optimizer_can_be_computed_with(nlp: Language) -> None:
    model, optimizer = make_model(), Adam(0.01, use_averages=True)
    for _ in range(3):
        begin(model, nlp)
        model.finish_update(optimizer)
    assert optimizer.averages is not None
    before = state(shim(model))
    with suppress(KeyError), model.use_params(optimizer.averages):
        of_averages = state(shim(model))
        raise KeyError
    assert_same(before, state(shim(model)))
    averaged = {name for name, p in shim(model).network.named_parameters() if "source" not in name}
    for name in averaged:
        expected = torch.from_numpy(optimizer.averages[shim(model).id, name])
        torch.testing.assert_close(of_averages[name], expected, rtol=0, atol=0)
    assert any(not torch.equal(before[name], of_averages[name]) for name in averaged)
    with transfer_tagger(ENCODER, OBJECTIVE).use_params(optimizer.averages):
        pass  # nothing to do before there is a network


def test_adagrad_learns_through_model_and_shim(nlp: Language) -> None:
    model, optimizer = make_model(), adagrad(0.1)
    losses = learn(model, nlp, optimizer)
    assert losses[-1] < losses[0] / 2


def test_each_adagrad_has_its_own_settings_and_sums(nlp: Language) -> None:
    """A pipeline that is trained further with another optimizer follows that one."""

    def step(model: TransferModel, optimizer: Adagrad) -> float:
        before = state(shim(model))
        begin(model, nlp)
        model.finish_update(optimizer)
        return (state(shim(model))["heads.target.crf.start"] - before["heads.target.crf.start"])[
            0
        ].item()

    # The first step of AdaGrad from 0 is the learning rate itself.
    model = make_model()
    for rate in (0.1, 0.001, 0.02):
        optimizer = adagrad(rate, initial_accumulator=0.0, grad_clip=0.0)
        assert abs(step(model, optimizer)) == pytest.approx(rate, rel=1e-3)


def test_device(nlp: Language) -> None:
    assert shim(make_model()).device == torch.device("cpu")
    with pytest.raises(ValueError, match="not initialised"):
        _ = TransferShim().device


def test_averages_of_thincs_optimizers_are_used_and_put_back(trained: Language) -> None:
    shim = shim_of(trained.get_pipe("transfer_ner").model)
    before = {name: p.detach().clone() for name, p in shim.network.named_parameters()}
    optimizer = Adam(0.1, use_averages=True)
    trained.update(examples(trained, TARGET, 5), sgd=optimizer)
    after = {name: p.detach().clone() for name, p in shim.network.named_parameters()}
    averages = {name: optimizer.averages.get((shim.id, name)) for name in before}
    assert sum(values is not None for values in averages.values()) > 3
    with trained.use_params(optimizer.averages):
        for name, parameter in shim.network.named_parameters():
            values = after[name] if averages[name] is None else torch.from_numpy(averages[name])
            assert torch.equal(parameter, values)
    for name, parameter in shim.network.named_parameters():
        assert torch.equal(parameter, after[name])
