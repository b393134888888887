from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc

from spacy_transfer.models import tagger
from spacy_transfer.models.shim import Blueprint, TransferShim, WordLevel
from spacy_transfer.models.tagger import (
    LossTerms,
    TaggerInput,
    TaskDocs,
    TransferModel,
    transfer_tagger,
)
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.sharing import PLANS, Sharing

ENCODER = EncoderSettings(char_hidden=3, word_embedding=4, word_hidden=3, word_dropout=0.0)
OBJECTIVE = ObjectiveSettings(alpha=0.1, beta=0.2, gamma=0.01)
SENTENCES = ("x", "Ann met Bo", "met x", "Bo Bo Bo x")

Make = Callable[[str], TransferModel]


@pytest.fixture
def make_model() -> Make:
    def make(plan: str) -> TransferModel:
        sharing = Sharing.of("target", plan, ["source"])
        blueprint = Blueprint(
            encoder=ENCODER,
            objective=OBJECTIVE,
            sharing=sharing,
            tasks={"target": 4, "source": 4},
            matched={"source": 1},
            words={
                sharing.words_of(task): WordLevel(["Ann", "met"], ENCODER.word_embedding)
                for task in ("target", "source")
            },
            characters="Anmetx",
        )
        model = transfer_tagger(ENCODER, OBJECTIVE, plan)
        shim_of(model).set_network(blueprint, blueprint.build())
        return model

    return make


def shim_of(model: TransferModel) -> TransferShim:
    shim = model.shims[0]
    assert isinstance(shim, TransferShim)
    return shim


def part(nlp: Language, task: str, gold: bool = True) -> TaskDocs:
    docs = [Doc(nlp.vocab, words=text.split()) for text in SENTENCES]
    tags = [np.arange(len(doc)) % 4 for doc in docs]
    return TaskDocs(task, docs, tags if gold else None)


def gradients(model: TransferModel, by: float, batch: list[TaskDocs]) -> dict[str, torch.Tensor]:
    network = shim_of(model).network
    network.zero_grad(set_to_none=True)
    output, backprop = model.begin_update(TaggerInput(batch))
    assert isinstance(output, LossTerms)
    assert sum(output.terms.values()) == pytest.approx(output.total, rel=1e-6)
    assert backprop(by) == []
    return {
        name: parameter.grad.to_dense()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("plan", PLANS)
def test_gradient_of_the_loss_is_what_it_is_given(
    make_model: Make, nlp: Language, plan: str
) -> None:
    model = make_model(plan)
    batch = [part(nlp, "target"), part(nlp, "source")]
    once, twice = gradients(model, 1.0, batch), gradients(model, 2.0, batch)
    assert once.keys() == {name for name, _ in shim_of(model).network.named_parameters()}
    for name, gradient in once.items():
        torch.testing.assert_close(twice[name], 2 * gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("plan", PLANS)
def test_predictions_come_in_the_order_of_the_docs(
    make_model: Make, nlp: Language, plan: str
) -> None:
    model = make_model(plan)
    both = [part(nlp, "target", gold=False), part(nlp, "source", gold=False)]
    together = model.predict(TaggerInput(both))
    assert isinstance(together, dict)
    for of_task in both:
        assert [len(found.tags) for found in together[of_task.task]] == [1, 3, 2, 4]
        for doc, found in zip(of_task.docs, together[of_task.task], strict=True):
            alone = model.predict(TaggerInput([TaskDocs(of_task.task, [doc])]))
            assert isinstance(alone, dict)
            assert alone[of_task.task][0].tags.tolist() == found.tags.tolist()


def test_docs_alone_are_texts_of_the_target(make_model: Make, nlp: Language) -> None:
    model, of_target = make_model("T-B"), part(nlp, "target", gold=False)
    given = model.predict(TaggerInput([of_target]))
    assert isinstance(given, dict)
    docs = [*of_target.docs[:2], Doc(nlp.vocab), *of_target.docs[2:]]
    found = model.predict(docs)
    assert isinstance(found, list)
    assert found.pop(2).tags.tolist() == []
    assert [of.tags.tolist() for of in found] == [of.tags.tolist() for of in given["target"]]
    assert model.predict([]) == []
    with pytest.raises(ValueError, match="no gold tags to learn from"):
        model.begin_update(docs)


def test_each_process_has_the_weights_of_its_docs(
    nlp: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(part(nlp, "source"), weights=[0.1, 0.2, 0.3, 0.4])
    monkeypatch.setattr(tagger, "processes", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(tagger, "rank", lambda rank=rank: rank)
        share = whole.share()
        assert [doc.text.strip() for doc in share.docs] == list(SENTENCES[rank::2])
        assert share.weights == [0.1, 0.2, 0.3, 0.4][rank::2]
        assert (share.total, part(nlp, "source").share().weights) == (4, None)


def test_dropout_rate_of_the_model_reaches_the_network(make_model: Make, nlp: Language) -> None:
    model = make_model("T-B")

    def total() -> float:
        output, _ = model.begin_update(TaggerInput([part(nlp, "target")]))
        assert isinstance(output, LossTerms)
        return output.total

    assert total() == total()
    model.attrs["dropout_rate"] = 0.5
    assert total() != total()


def test_threads_may_predict_with_one_model(make_model: Make, nlp: Language) -> None:
    """One that ends must not put the network into training mode while another is at work."""
    model = make_model("T-B")
    network, batch = shim_of(model).network, TaggerInput([part(nlp, "target", gold=False)])
    model.predict(batch)
    assert not any(module.training for module in network.modules())
    model.begin_update(TaggerInput([part(nlp, "target")]))
    assert all(module.training for module in network.modules())


def test_before_initialisation(nlp: Language) -> None:
    with pytest.raises(ValueError, match=r"not initialised: call nlp.initialize"):
        transfer_tagger(ENCODER, OBJECTIVE).predict(TaggerInput([part(nlp, "target", gold=False)]))
