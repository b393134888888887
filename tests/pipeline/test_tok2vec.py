from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, Model, fix_random_seed

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models import tok2vec as tok2vec_module
from spacy_transfer.models.tagger import shim_of
from spacy_transfer.pipeline.base import TransferPipe
from spacy_transfer.pipeline.confidence import Confidence
from tests.conftest import LADTL, add_small_ner, blank, examples, renamed

POOLING = {"@layers": "reduce_mean.v1"}
LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "pooling": POOLING,
    "grad_factor": 1.0,
    "upstream": "*",
}
SPANS = {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 8, "stride": 6}
HASH_EMBED = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 12,
    "depth": 1,
    "embed_size": 50,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
}
KINDS = ["cnn", "cnn-listener", "bert", "bert-listener"]


def pipeline(
    kind: str, bert: Path, sharing: str = "T-B", alpha: float = 0.02, **encoder: object
) -> Language:
    """A pipeline whose tagger has a tok2vec of its own, or listens to a component."""
    nlp = blank()
    of_bert = {
        "name": str(bert),
        "get_spans": SPANS,
        "tokenizer_config": {"use_fast": True},
    }
    if kind == "cnn-listener":
        nlp.add_pipe("tok2vec", config={"model": HASH_EMBED})
    if kind == "bert-listener":
        model = {"@architectures": "spacy-transformers.TransformerModel.v3", **of_bert}
        nlp.add_pipe("transformer", config={"model": model})
    nlp.add_pipe(
        "transfer_ner",
        config={
            "model": {
                "@architectures": "spacy_transfer.TransferTagger.v1",
                "sharing": sharing,
                "tok2vec": {
                    "cnn": HASH_EMBED,
                    "cnn-listener": {"@architectures": "spacy.Tok2VecListener.v1", "width": 12},
                    "bert": {
                        "@architectures": "spacy-transformers.Tok2VecTransformer.v3",
                        "pooling": POOLING,
                        **of_bert,
                    },
                    "bert-listener": LISTENER,
                }[kind],
                "encoder": {
                    "@architectures": "spacy_transfer.HierarchicalEncoder.v1",
                    "char_encoder": "none",
                    "word_encoder": "none",
                    **encoder,
                },
                "objective": {
                    "@architectures": "spacy_transfer.Objective.v1",
                    **LADTL,
                    "beta": 0.0 if sharing == "T-A" else LADTL["beta"],
                    "alpha": alpha,
                },
            }
        },
    )
    return nlp


def tagger(nlp: Language) -> TransferPipe:
    pipe = nlp.get_pipe("transfer_ner")
    assert isinstance(pipe, TransferPipe)
    return pipe


def initialize(nlp: Language, both: list[Example], label_map: Path | None = None) -> None:
    if label_map:
        nlp.config["initialize"]["components"]["transfer_ner"] = {"label_map": str(label_map)}
    nlp.initialize(lambda: both)


def learn(nlp: Language, batch: list[Example], steps: int, rate: float = 0.01, **how: Any) -> float:
    """Train as `spacy train` does; the last loss of the tagger."""
    optimizer, losses = Adam(rate), {}
    for _ in range(steps):
        losses = nlp.update(batch, sgd=False, **how)
        for name, pipe in nlp.pipeline:
            if name not in how.get("exclude", ()):
                pipe.finish_update(optimizer)
    return float(losses["transfer_ner"])


def both_tasks(nlp: Language) -> list[Example]:
    mixed = zip(examples(nlp, "source", 10), examples(nlp, TARGET, 10), strict=True)
    return [example for pair in mixed for example in pair]


def weights(model: Model[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Copies of all that a tok2vec learns."""
    for node in model.walk():
        for name in node.param_names:
            yield node.get_param(name).copy()
        for shim in node.shims:
            for parameter in shim._model.parameters():
                yield parameter.detach().numpy().copy()


def below(nlp: Language, kind: str) -> Model[Any, Any]:
    """The model that gives the vectors."""
    if kind.endswith("listener"):
        of_component: Model[Any, Any] = nlp.pipeline[0][1].model
        return of_component
    return tagger(nlp).model.layers[0]


def gradient_of_bert(nlp: Language, batch: list[Example], **how: Any) -> torch.Tensor:
    """What a layer of the transformer gets from a batch, without any dropout."""
    bert = nlp.get_pipe("transformer").model.transformer
    for module in bert.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    bert.zero_grad()
    fix_random_seed(0)
    nlp.update(batch, sgd=False, **how)
    found: torch.Tensor = bert.encoder.layer[0].output.dense.weight.grad
    return found.clone()


def texts(nlp: Language) -> list[Doc]:
    return [example.predicted for example in examples(nlp, TARGET, 5, seed=2)]


@pytest.mark.parametrize("sharing", ["T-A", "T-B", "T-C"])
@pytest.mark.parametrize("kind", KINDS)
def test_learns_and_survives_the_disk(
    kind: str, sharing: str, tiny_bert: Path, label_map_file: Path, tmp_path: Path
) -> None:
    on_top = {"word_encoder": "gru", "word_hidden": 6} if sharing == "T-C" else {}
    nlp = pipeline(kind, tiny_bert, sharing, **on_top)
    both = both_tasks(nlp)
    initialize(nlp, both, label_map_file)
    before = list(weights(below(nlp, kind)))
    first = learn(nlp, both, 1)
    assert learn(nlp, both, 25, rate=0.02) < 0.7 * first
    after = list(weights(below(nlp, kind)))
    assert any((old != new).any() for old, new in zip(before, after, strict=True))

    nlp.to_disk(tmp_path / "saved")
    loaded = spacy.load(tmp_path / "saved")
    expected, found = (list(of.pipe(texts(of))) for of in (nlp, loaded))
    for doc, other in zip(expected, found, strict=True):
        assert [(e.start, e.end, e.label_) for e in doc.ents] == [
            (e.start, e.end, e.label_) for e in other.ents
        ]
    states, again = tagger(nlp).hidden(expected), tagger(loaded).hidden(found)
    for state, of_loaded in zip(states, again, strict=True):
        np.testing.assert_allclose(of_loaded, state, atol=1e-5)
        assert state.any()
    [best, *_] = tagger(loaded).n_best(found[0], 2)
    assert [(s.start, s.end) for s in best.spans] == [(e.start, e.end) for e in found[0].ents]
    with tagger(loaded).use_confidence(Confidence()):
        [sure] = loaded.pipe(texts(loaded)[:1])
    assert len(sure.spans["transfer_ner"].attrs["scores"]) == len(found[0].ents)
    assert shim_of(tagger(loaded).model).blueprint == shim_of(tagger(nlp).model).blueprint


def test_characters_beside_a_tok2vec(tiny_bert: Path) -> None:
    nlp = pipeline("cnn", tiny_bert, char_encoder="cnn", char_hidden=5)
    both = both_tasks(nlp)
    initialize(nlp, both)
    first = learn(nlp, both, 1)
    assert learn(nlp, both, 10) < first
    [state, *_] = tagger(nlp).hidden(texts(nlp))
    assert state.shape[1] == 12 + 5


def test_empty_docs_and_long_ones(tiny_bert: Path) -> None:
    nlp = pipeline("bert-listener", tiny_bert)
    both = both_tasks(nlp)
    initialize(nlp, both)
    empty = Example(Doc(nlp.vocab), Doc(nlp.vocab))
    learn(nlp, [empty, *both], 1)
    docs = [Doc(nlp.vocab), Doc(nlp.vocab, words=["Ann", "left"] * 40)]
    found = list(nlp.pipe(docs))
    assert [len(state) for state in tagger(nlp).hidden(found)] == [0, 80]


def test_mmd_reaches_the_transformer(tiny_bert: Path) -> None:
    """What pulls hidden states together has to pull at what makes them."""
    gradients = []
    for alpha in (0.0, 10.0):
        nlp = pipeline("bert-listener", tiny_bert, alpha=alpha)
        both = renamed(examples(nlp, TARGET, 10), "source") + examples(nlp, TARGET, 10)
        fix_random_seed(0)
        initialize(nlp, both)
        gradients.append(gradient_of_bert(nlp, both))
    assert not torch.allclose(*gradients)


@pytest.mark.parametrize("place", ["before", "after"])
def test_two_components_on_one_transformer(place: str, tiny_bert: Path, tmp_path: Path) -> None:
    """spaCy's own `ner` beside ours: what they listen to learns from both."""
    nlp = pipeline("bert-listener", tiny_bert)
    model = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 8,
        "maxout_pieces": 1,
        "use_upper": False,
        "tok2vec": LISTENER,
    }
    nlp.add_pipe("ner", config={"model": model}, **{place: "transfer_ner"})
    chunks = renamed(examples(nlp, "source", 6, layer="spans:chunks"), "source", "spans:chunks")
    batch, of_other_task = (examples(nlp, TARGET, 6) for _ in range(2))
    for example in renamed(of_other_task, "source", "spans:chunks"):
        del example.reference.spans["chunks"]  # spaCy's still reads the entities
    fix_random_seed(0)
    initialize(nlp, [*batch, *chunks])
    together, of_ner_alone = (gradient_of_bert(nlp, of) for of in (batch, of_other_task))
    assert of_ner_alone.any()
    assert not torch.allclose(together, of_ner_alone, rtol=0.1)
    learn(nlp, batch, 20)
    nlp.to_disk(tmp_path / "saved")
    loaded = spacy.load(tmp_path / "saved")
    for doc, other in zip(nlp.pipe(texts(nlp)), loaded.pipe(texts(nlp)), strict=True):
        assert [str(ent) for ent in doc.ents] == [str(ent) for ent in other.ents]


def test_a_frozen_transformer(tiny_bert: Path) -> None:
    nlp = pipeline("bert-listener", tiny_bert)
    both = both_tasks(nlp)
    initialize(nlp, both)
    before = list(weights(below(nlp, "bert-listener")))
    ours = shim_of(tagger(nlp).model).network.head(TARGET).emission.weight.clone()
    learn(nlp, both, 2, exclude=["transformer"], annotates=["transformer"])
    for old, new in zip(before, weights(below(nlp, "bert-listener")), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not torch.equal(ours, shim_of(tagger(nlp).model).network.head(TARGET).emission.weight)


@pytest.mark.parametrize("kind", ["cnn-listener", "bert-listener"])
def test_listeners_can_be_replaced(kind: str, tiny_bert: Path) -> None:
    nlp = pipeline(kind, tiny_bert)
    initialize(nlp, both_tasks(nlp))
    [before, *_] = tagger(nlp).hidden(list(nlp.pipe(texts(nlp))))
    nlp.replace_listeners(nlp.pipe_names[0], "transfer_ner", ["model.tok2vec"])
    nlp.remove_pipe(nlp.pipe_names[0])
    [after, *_] = tagger(nlp).hidden(texts(nlp))
    np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize("kind", ["cnn-listener", "bert-listener"])
def test_a_doc_that_the_component_before_has_not_seen(kind: str, tiny_bert: Path) -> None:
    nlp = pipeline(kind, tiny_bert)
    initialize(nlp, both_tasks(nlp))
    doc = texts(nlp)[0]
    for call in (lambda: tagger(nlp)(doc), lambda: tagger(nlp).hidden([doc])):
        with pytest.raises(
            ValueError,
            match=r"through the tok2vec or transformer before it, .* run the",
        ):
            call()


def test_what_a_tok2vec_cannot_be_combined_with(tiny_bert: Path, tmp_path: Path) -> None:
    nlp = pipeline("cnn", tiny_bert)
    both = both_tasks(nlp)
    for name, value in {"source_vectors": {"source": None}, "source_pipeline": "saved"}.items():
        with pytest.raises(ValueError, match=f"{name} .*for embeddings of words"):
            tagger(nlp).initialize(lambda: both, **{name: value})
    initialize(nlp, both)
    nlp.to_disk(tmp_path / "saved")
    other = add_small_ner(blank())
    with pytest.raises(ValueError, match="or a tok2vec cannot be carried over"):
        other.get_pipe("transfer_ner").initialize(
            lambda: examples(other, TARGET, 5), source_pipeline=tmp_path / "saved"
        )


def test_a_listener_with_nothing_to_listen_to(tiny_bert: Path) -> None:
    nlp = pipeline("bert-listener", tiny_bert)
    nlp.remove_pipe("transformer")
    with pytest.raises(ValueError, match="the tok2vec cannot be initialised"):
        initialize(nlp, both_tasks(nlp))


def test_several_processes(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tok2vec_module, "processes", lambda: 2)
    nlp = pipeline("cnn", tiny_bert)
    with pytest.raises(ValueError, match="several processes cannot train a tok2vec"):
        initialize(nlp, both_tasks(nlp))


def test_another_device_than_that_of_thinc(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = pipeline("cnn", tiny_bert)
    meta = torch.device("meta")
    monkeypatch.setattr(tok2vec_module, "get_torch_default_device", lambda: meta)
    with pytest.raises(ValueError, match="a tok2vec needs cupy"):
        initialize(nlp, both_tasks(nlp))


def test_examples_without_words(tiny_bert: Path) -> None:
    nlp = pipeline("cnn", tiny_bert)
    with pytest.raises(ValueError, match="there are none with words"):
        initialize(nlp, [Example(Doc(nlp.vocab), Doc(nlp.vocab))])


def test_a_tok2vec_that_is_not_there() -> None:
    nlp = pipeline("bert", Path("no/such/folder"))
    with pytest.raises(ValueError, match="the tok2vec cannot be initialised"):
        initialize(nlp, both_tasks(nlp))


def test_labels_and_tasks_change(tiny_bert: Path, label_map_file: Path) -> None:
    nlp = pipeline("cnn", tiny_bert)
    both = both_tasks(nlp)
    initialize(nlp, both, label_map_file)
    learn(nlp, both, 3)
    before = tagger(nlp).hidden(texts(nlp))
    tagger(nlp).add_label("thing")
    tagger(nlp).drop_task("source")
    for old, new in zip(before, tagger(nlp).hidden(texts(nlp)), strict=True):
        np.testing.assert_array_equal(old, new)
