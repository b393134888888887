from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model

from spacy_transfer.models import tok2vec as tok2vec_module
from spacy_transfer.models.shim import Blueprint, WordLevel
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
from spacy_transfer.nn.sharing import PLANS, Sharing

WIDTH = 3
NONE = EncoderSettings(char_encoder="none", word_encoder="none", word_hidden=2)
OBJECTIVE = ObjectiveSettings(alpha=0.1, beta=0.2)
SENTENCES = ["x", "", "Ann met Bo", "met x", "Bo Bo Bo x", "not annotated"]
OF_TASKS = {"target": [2, 0], "source": [3, 4]}  # not in the order of the batch

Arrays = list["np.ndarray[tuple[int, int], np.dtype[np.float32]]"]


class Table:
    """A tok2vec that gives the vectors in a table, and keeps what it is given."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.vectors = {
            text: rng.normal(size=(len(text.split()), WIDTH)).astype("f") for text in SENTENCES
        }
        self.calls: list[list[str]] = []
        self.gradients: list[Arrays] = []
        self.model: Model[list[Doc], Arrays] = Model("table", self._forward)

    def _forward(self, _: object, docs: list[Doc], is_train: bool) -> tuple[Arrays, object]:
        texts = [" ".join(token.text for token in doc) for doc in docs]
        self.calls.append(texts)
        return [self.vectors[text] for text in texts], self.gradients.append


def make(table: Table, plan: str) -> TransferModel:
    encoder = replace(NONE, word_encoder="gru") if plan == "T-C" else NONE
    sharing = Sharing.of("target", plan, ["source"])
    model = transfer_tagger(encoder, OBJECTIVE, plan, tok2vec=table.model)
    blueprint = Blueprint(
        encoder=replace(encoder, word_embedding=WIDTH, from_outside=True),
        objective=OBJECTIVE,
        sharing=sharing,
        tasks={"target": 4, "source": 4},
        matched={"source": 1},
        words={
            sharing.words_of(task): WordLevel([], WIDTH, static=False)
            for task in ("target", "source")
        },
        characters="",
    )
    shim_of(model).set_network(blueprint, blueprint.build())
    return model


def batch(nlp: Language) -> TaggerInput:
    docs = [Doc(nlp.vocab, words=text.split()) for text in SENTENCES]
    parts = [
        TaskDocs(task, [docs[i] for i in places], [np.arange(len(docs[i])) % 4 for i in places])
        for task, places in OF_TASKS.items()
    ]
    return TaggerInput(parts, docs)


@pytest.mark.parametrize("plan", PLANS)
def test_gradient_of_each_vector(nlp: Language, plan: str) -> None:
    table = Table()
    model = make(table, plan)

    def loss() -> float:
        output, _ = model.begin_update(batch(nlp))
        assert isinstance(output, LossTerms)
        return output.total

    _, backprop = model.begin_update(batch(nlp))
    backprop(1.0)
    assert table.calls == [SENTENCES]  # once, in the order of the batch
    [gradients] = table.gradients
    step = 1e-2
    for text, gradient in zip(SENTENCES, gradients, strict=True):
        vectors = table.vectors[text]
        assert gradient.shape == vectors.shape
        slopes = np.zeros_like(vectors)
        for place in np.ndindex(vectors.shape):
            value = vectors[place]
            vectors[place] = value + step
            above = loss()
            vectors[place] = value - step
            slopes[place] = (above - loss()) / (2 * step)
            vectors[place] = value
        np.testing.assert_allclose(gradient, slopes, rtol=0.02, atol=2e-3, err_msg=text)
        assert gradient.any() == any(
            SENTENCES[i] == text for places in OF_TASKS.values() for i in places
        )


def test_a_batch_without_gold_still_answers(nlp: Language) -> None:
    """Other components that listen to the same one wait for it."""
    table = Table()
    output, backprop = make(table, "T-B").begin_update(TaggerInput([], batch(nlp).docs))
    assert output == LossTerms(0.0, {})
    backprop(1.0)
    [gradients] = table.gradients
    assert [len(gradient) for gradient in gradients] == [len(t.split()) for t in SENTENCES]
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("plan", PLANS)
def test_predictions_come_in_the_order_of_the_docs(nlp: Language, plan: str) -> None:
    model = make(Table(), plan)
    parts = [TaskDocs(part.task, part.docs) for part in batch(nlp).parts]
    together = model.predict(TaggerInput(parts))
    assert isinstance(together, dict)
    for part in parts:
        for doc, found in zip(part.docs, together[part.task], strict=True):
            alone = model.predict(TaggerInput([TaskDocs(part.task, [doc])]))
            assert isinstance(alone, dict)
            assert alone[part.task][0].tags.tolist() == found.tags.tolist()


def test_a_network_apart_from_its_tok2vec(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(Table(), "T-B")
    meta = torch.device("meta")
    monkeypatch.setattr(tok2vec_module, "get_torch_default_device", lambda: meta)
    with pytest.raises(ValueError, match=r"on 'cpu', its tok2vec with thinc on 'meta'.*cupy"):
        model.begin_update(batch(nlp))


def test_where_a_word_encoder_is_needed() -> None:
    for sharing in ("T-C", {"one": "T-B", "other": "T-C"}):
        with pytest.raises(ValueError, match="T-C each task has a word encoder of its own"):
            transfer_tagger(NONE, OBJECTIVE, sharing, tok2vec=Table().model)
    with pytest.raises(ValueError, match="word_encoder may be none with a tok2vec alone"):
        transfer_tagger(NONE, OBJECTIVE)
