"""The whole network against its definition, computed sentence by sentence from its parts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spacy_transfer.nn.crf import Constraints
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import MMDName, ObjectiveSettings
from spacy_transfer.nn.sharing import PLANS
from spacy_transfer.nn.tagger import Loss, TransferTagger
from tests.nn import brute_force
from tests.nn.packing import unpack
from tests.nn.small_tagger import (
    ENCODER,
    GOLD,
    ONLY_CRF,
    PAIRS,
    SENTENCES,
    WIDTHS,
    WORD_ROWS,
    chain,
    crf_loss,
    floats,
    hidden_of,
    learning,
    loss_of,
    make_batch,
    make_tagger,
)


def mmd(tagger: TransferTagger, source: str, pairs: list[tuple[int, int]] | None) -> float:
    hidden = {task: torch.cat(hidden_of(tagger, task)) for task in (source, "target")}
    tags = {task: torch.tensor([*itertools.chain(*GOLD[task])]) for task in (source, "target")}
    if pairs is None:
        return brute_force.mmd2(hidden[source], hidden["target"], WIDTHS)
    total = 0.0
    for of_source, of_target in pairs:
        of_label = tags[source] == of_source, tags["target"] == of_target
        if of_label[0].any() and of_label[1].any():
            total += brute_force.mmd2(
                hidden[source][of_label[0]], hidden["target"][of_label[1]], WIDTHS
            )
    return total


def crf_l2(tagger: TransferTagger, source: str) -> float:
    theirs, ours = tagger.head(source), tagger.head("target")
    total = 0.0
    for s, t in PAIRS[source]:
        total += (theirs.emission.weight[s] - ours.emission.weight[t]).pow(2).sum().item()
        total += (theirs.emission.bias[s] - ours.emission.bias[t]).item() ** 2
        total += (theirs.crf.start[s] - ours.crf.start[t]).item() ** 2
        total += (theirs.crf.end[s] - ours.crf.end[t]).item() ** 2
        for s2, t2 in PAIRS[source]:
            total += (theirs.crf.transitions[s, s2] - ours.crf.transitions[t, t2]).item() ** 2
    return total


def squared_norm(tagger: TransferTagger) -> float:
    embeddings = {embedding.weight for embedding in tagger.embeddings.values()}
    assert tagger.characters is not None
    embeddings.add(tagger.characters.embedding.weight)
    return sum(p.pow(2).sum().item() for p in tagger.parameters() if p not in embeddings)


def test_terms_are_their_definition() -> None:
    tagger = make_tagger()
    loss = loss_of(tagger, "target", "source")
    expected = {
        "crf_target": 0.6 * crf_loss(tagger, "target", cost=0.7),
        "crf_source": 0.4 * crf_loss(tagger, "source", cost=0.7),
        "mmd_source": 0.2 * mmd(tagger, "source", PAIRS["source"]),
        "crf_l2_source": 0.3 * crf_l2(tagger, "source"),
        "l2": 0.05 * squared_norm(tagger),
    }
    assert floats(loss) == pytest.approx(expected, rel=1e-9)
    assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-9)
    assert not any(term.requires_grad for term in loss.terms.values())


def weighted(tagger: TransferTagger, *weights: float) -> tuple[Loss, dict[str, Tensor]]:
    """The loss of the source with weights for its sentences, and its gradients."""
    [group] = make_batch(tagger, ("source",))
    part = replace(group.parts[0], weights=torch.tensor(weights))
    tagger.zero_grad()
    loss = tagger([replace(group, parts=[part])])
    assert isinstance(loss, Loss)
    loss.total.backward()
    parameters = tagger.named_parameters()
    return loss, {name: p.grad.to_dense() for name, p in parameters if p.grad is not None}


@pytest.mark.parametrize("plan", PLANS)
def test_weights_scale_the_losses_of_sentences(plan: str) -> None:
    tagger = make_tagger(plan, ONLY_CRF)
    each = [
        chain(tagger, "source", hidden).softmax_margin(gold, 0.0)
        for hidden, gold in zip(hidden_of(tagger, "source"), GOLD["source"], strict=True)
    ]
    loss, gradients = weighted(tagger, 0.25, 0.75)
    assert loss.total.item() == pytest.approx((0.25 * each[0] + 0.75 * each[1]) / 2, rel=1e-9)
    # A weight scales the step that a sentence makes, as a learning rate does.
    first, second = weighted(tagger, 1.0, 0.0)[1], weighted(tagger, 0.0, 1.0)[1]
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, 0.25 * first[name] + 0.75 * second[name])
    for gradient in weighted(tagger, 0.0, 0.0)[1].values():
        assert not gradient.any()
    # None is 1, to the last bit.
    assert torch.equal(weighted(tagger, 1.0, 1.0)[0].total, loss_of(tagger, "source").total)


@pytest.mark.parametrize("plan", PLANS)
def test_two_sources(plan: str) -> None:
    tagger = make_tagger(plan, tasks=("target", "source", "other"))
    expected = {
        "crf_target": 0.6 * crf_loss(tagger, "target", cost=0.7),
        "l2": 0.05 * squared_norm(tagger),
    }
    for task in ("source", "other"):
        expected[f"crf_{task}"] = 0.2 * crf_loss(tagger, task, cost=0.7)
        expected[f"mmd_{task}"] = 0.2 * mmd(tagger, task, PAIRS[task])
        if plan != "T-A":
            expected[f"crf_l2_{task}"] = 0.3 * crf_l2(tagger, task)
    found = loss_of(tagger, "target", "source", "other")
    assert floats(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("plan", ["T-B", "T-C"])
@pytest.mark.parametrize("kind", ["label-aware", "marginal"])
def test_marginal_and_label_aware_mmd(plan: str, kind: MMDName) -> None:
    tagger = make_tagger(plan, ObjectiveSettings(alpha=1.0, mmd=kind, widths=WIDTHS))
    pairs = PAIRS["source"] if kind == "label-aware" else None
    found = floats(loss_of(tagger, "target", "source"))["mmd_source"]
    assert found == pytest.approx(mmd(tagger, "source", pairs), rel=1e-9)


@pytest.mark.parametrize("kind", ["label-aware", "marginal"])
def test_the_mmd_compares_as_many_tokens_as_it_may(kind: MMDName) -> None:
    settings = ObjectiveSettings(alpha=1.0, mmd=kind, widths=WIDTHS)
    tagger = make_tagger("T-B", settings)
    whole = floats(loss_of(tagger, "target", "source"))["mmd_source"]
    tagger.objective = replace(settings, mmd_tokens=1000)
    assert floats(loss_of(tagger, "target", "source"))["mmd_source"] == pytest.approx(whole)
    tagger.objective = replace(settings, mmd_tokens=1)
    drawn = {floats(loss_of(tagger, "target", "source"))["mmd_source"] for _ in range(20)}
    assert len(drawn) > 1


@pytest.mark.parametrize("plan", PLANS)
def test_one_task_in_a_batch(plan: str) -> None:
    """Without the other task, epsilon balances nothing and there is no MMD."""
    tagger = make_tagger(plan)
    ties = {"l2"} if plan == "T-A" else {"l2", "crf_l2_source"}
    for task in ("target", "source"):
        found = floats(loss_of(tagger, task))
        assert found.keys() == {f"crf_{task}", *ties}
        assert found[f"crf_{task}"] == pytest.approx(crf_loss(tagger, task, cost=0.7), rel=1e-9)


def test_the_plain_objective_adds_up_mean_likelihoods() -> None:
    tagger = make_tagger(objective=ONLY_CRF)
    found = loss_of(tagger, "target", "source")
    expected = {f"crf_{task}": crf_loss(tagger, task, cost=0.0) for task in ("target", "source")}
    assert floats(found) == pytest.approx(expected, rel=1e-9)


def test_weights_of_the_tasks() -> None:
    balanced = ObjectiveSettings(epsilon=0.3)
    assert balanced.crf_weights(1, True) == pytest.approx((0.3, 0.7))
    assert balanced.crf_weights(3, True) == pytest.approx((0.1, 0.7))
    assert balanced.crf_weights(2, False) == (1.0, 1.0)
    assert balanced.crf_weights(0, True) == (1.0, 1.0)
    assert ObjectiveSettings().crf_weights(2, True) == (1.0, 1.0)
    assert ObjectiveSettings(epsilon=0.0).crf_weights(1, True) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": -0.1}, "alpha must be at least 0; found -0.1"),
        ({"cost": float("nan")}, "cost must be at least 0; found nan"),
        ({"mmd_tokens": 0}, "mmd_tokens must be at least 1; found 0"),
        ({"epsilon": 1.1}, "epsilon must be between 0 and 1; found 1.1"),
        ({"widths": ()}, r"widths must be positive numbers; found \(\)"),
        ({"widths": (1.0, 0.0)}, "widths must be positive numbers"),
    ],
)
def test_objectives_that_cannot_be(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectiveSettings(**wrong)  # type: ignore[arg-type]


def test_l2_leaves_embeddings_alone() -> None:
    tagger = make_tagger(objective=ObjectiveSettings(gamma=1.0))
    before = floats(loss_of(tagger, "target"))["l2"]
    with torch.no_grad():
        for name, parameter in tagger.named_parameters():
            if "embedding" in name:
                parameter.mul_(3.0)
    assert floats(loss_of(tagger, "target"))["l2"] == before
    with torch.no_grad():
        tagger.head("source").emission.bias.zero_()
        without = floats(loss_of(tagger, "target"))["l2"]
        tagger.head("source").emission.bias.fill_(2.0)
    assert floats(loss_of(tagger, "target"))["l2"] == pytest.approx(without + 4 * 4.0)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "encoder",
    [
        ENCODER,
        replace(ENCODER, char_encoder="lstm", word_encoder="lstm", word_layers=2),
        replace(ENCODER, char_encoder="gru-reset-before", word_encoder="gru-reset-before"),
        replace(ENCODER, char_encoder="cnn", word_encoder="cnn", word_layers=2),
        replace(ENCODER, char_encoder="none"),
    ],
    ids=lambda encoder: f"{encoder.char_encoder}-{encoder.word_encoder}",
)
def test_one_call_equals_a_call_a_task_and_a_call_a_sentence(
    plan: str, encoder: EncoderSettings
) -> None:
    tagger = make_tagger(plan, ONLY_CRF, encoder=encoder)
    for group in make_batch(tagger, ("target", "source")):
        together = unpack(
            group.tokens.words.with_data(tagger.hidden(group.tokens, group.parts[0].task))
        )
        for part in group.parts:
            alone = hidden_of(tagger, part.task)
            for rank, expected in zip(part.ranks.tolist(), alone, strict=True):
                torch.testing.assert_close(together[rank], expected, rtol=1e-9, atol=1e-12)
    apart = floats(loss_of(tagger, "target")) | floats(loss_of(tagger, "source"))
    assert floats(loss_of(tagger, "source", "target")) == pytest.approx(apart, rel=1e-9)


def names(tagger: TransferTagger, *prefixes: str) -> set[str]:
    found = {name for name, _ in tagger.named_parameters() if name.startswith(prefixes)}
    assert found
    return found


def used_by(plan: str, task: str) -> tuple[str, ...]:
    """The modules of a task, the character level apart."""
    words = task if plan == "T-C" else "target"
    head = "target" if plan == "T-A" else task
    return f"embeddings.{words}.", f"words.{words}.", f"heads.{head}."


@pytest.mark.parametrize("plan", PLANS)
def test_crf_loss_trains_what_its_task_uses_and_nothing_else(plan: str) -> None:
    tagger = make_tagger(plan, ONLY_CRF)
    for task in ("target", "source"):
        assert learning(tagger, task) == names(tagger, "characters.", *used_by(plan, task))
    assert learning(tagger, "target", "source") == names(tagger, "")


@pytest.mark.parametrize("plan", PLANS)
def test_mmd_trains_both_encoders_and_no_head(plan: str) -> None:
    only = ObjectiveSettings(alpha=1.0, epsilon=0.0, widths=WIDTHS)
    tagger = make_tagger(plan, only)
    # Epsilon 0 silences the source's CRF: what is left to the source's own modules is the MMD.
    found = learning(tagger, "target", "source")
    expected = names(tagger, "characters.", *used_by(plan, "target"))
    if plan == "T-C":
        expected |= names(tagger, "embeddings.source.", "words.source.")
    assert found == expected


@pytest.mark.parametrize("plan", ["T-B", "T-C"])
def test_crf_l2_trains_both_heads_in_any_batch(plan: str) -> None:
    tagger = make_tagger(plan, ObjectiveSettings(beta=1.0))
    expected = names(tagger, "characters.", *used_by(plan, "target"), "heads.source.")
    assert learning(tagger, "target") == expected
    gradient = tagger.head("source").emission.bias.grad
    assert gradient is not None
    # Source tags 0, 1 and 3 are matched, 2 is not.
    assert gradient.ne(0).tolist() == [True, True, False, True]


def test_embeddings_learn_by_the_row() -> None:
    tagger = make_tagger("T-C", ONLY_CRF)
    loss_of(tagger, "source").total.backward()  # type: ignore[no-untyped-call]
    gradient = tagger.embeddings["source"].weight.grad
    assert isinstance(gradient, Tensor)
    assert gradient.is_sparse
    used = {WORD_ROWS[word] for sentence in SENTENCES["source"] for word in sentence}
    assert set(gradient.to_dense().abs().sum(1).nonzero().flatten().tolist()) == used


@pytest.mark.parametrize("plan", PLANS)
def test_prediction_is_the_best_path_of_each_sentence(plan: str) -> None:
    tagger = make_tagger(plan)
    predicted = tagger(make_batch(tagger, ("target", "source"), gold=False))
    assert predicted.keys() == {"target", "source"}
    for task, (tags, lengths, posteriors) in predicted.items():
        assert posteriors is None
        assert lengths.tolist() == [len(sentence) for sentence in SENTENCES[task]]
        for row, length, hidden in zip(tags, lengths, hidden_of(tagger, task), strict=True):
            assert row[:length].tolist() == chain(tagger, task, hidden).best()


def test_prediction_keeps_to_the_constraints_of_its_task() -> None:
    tagger = make_tagger("T-A")
    with torch.no_grad():
        tagger.head("target").emission.bias.copy_(torch.tensor([0.0, 9.0, 0.0, 0.0]))
    everything = torch.ones(4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool)
    not_one = torch.tensor([True, False, True, True])
    tagger.set_constraints(
        "target", Constraints(not_one, everything[1] & not_one & not_one[:, None], not_one)
    )
    tagger.set_constraints("source", Constraints(everything[0], everything[1], everything[0]))
    predicted = tagger(make_batch(tagger, ("target", "source"), gold=False))
    assert not predicted["target"][0].eq(1).any()
    assert predicted["source"][0].eq(1).any()


def test_dropout_of_the_whole_network() -> None:
    tagger = make_tagger(objective=ONLY_CRF)
    tagger.set_dropout(0.5)
    assert loss_of(tagger, "target").total != loss_of(tagger, "target").total
    tagger.set_dropout(0.0)
    assert loss_of(tagger, "target").total == loss_of(tagger, "target").total
    tagger.set_dropout(0.5)
    tagger.eval()
    assert loss_of(tagger, "target").total == loss_of(tagger, "target").total


def test_pretrained_words_start_from_their_vectors() -> None:
    tagger = make_tagger().float()
    before = tagger.state_dict()["embeddings.target.weight"].clone()
    vectors = torch.arange(8.0).view(2, 4)
    rare = torch.tensor([True, False, False, True, False])
    tagger.set_words("target", torch.tensor([3, 0]), vectors, rare)
    after = tagger.state_dict()
    assert torch.equal(after["embeddings.target.weight"][[4, 1]], vectors)
    assert torch.equal(after["embeddings.target.weight"][[0, 2, 3, 5]], before[[0, 2, 3, 5]])
    assert after["embeddings.target.rare"].tolist() == [False, *rare.tolist()]


def test_gold_is_asked_for() -> None:
    tagger = make_tagger()
    target, source = (make_batch(tagger, (task,)) for task in ("target", "source"))
    unlabelled = [replace(target[0], parts=[replace(target[0].parts[0], tags=None)])]
    with pytest.raises(ValueError, match="sentences of task 'target' carry no gold tags"):
        tagger(unlabelled + source)


KINDS = ["gru", "gru-reset-before", "lstm", "cnn"]


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_in_the_encoder_alone(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Without the compiled loops, the CPU takes the same way as a GPU."""
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", "off")
    encoder = replace(ENCODER, char_encoder=kind, word_encoder=kind)
    tagger = make_tagger(encoder=encoder).float()
    both = "target", "source"
    exact = loss_of(tagger, *both)
    exact.total.backward()
    expected = {name: p.grad.to_dense() for name, p in tagger.named_parameters()}
    tagger.zero_grad()
    given: list[Tensor] = []
    for head in tagger.heads.values():
        loss = head.crf.loss
        monkeypatch.setattr(
            head.crf,
            "loss",
            lambda emissions, *rest, loss=loss, **options: (
                given.append(emissions) or loss(emissions, *rest, **options)
            ),
        )
    tagger.set_precision(torch.bfloat16)
    rough = loss_of(tagger, *both)
    assert [emissions.dtype for emissions in given] == [torch.float32] * 2
    assert rough.total.dtype == torch.float32
    assert rough.total != exact.total
    torch.testing.assert_close(rough.total, exact.total, rtol=0.02, atol=0.0)
    rough.total.backward()
    for name, parameter in tagger.named_parameters():
        assert (parameter.dtype, parameter.grad.dtype) == (torch.float32, torch.float32)
        distance = (parameter.grad.to_dense() - expected[name]).norm()
        assert distance <= 0.05 * expected[name].norm() + 1e-4, name
    tagger.set_precision(None)
    assert torch.equal(loss_of(tagger, *both).total, exact.total)


@pytest.mark.parametrize("kernel", ["on", "off"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_autocast_around_it_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str, kernel: str
) -> None:
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", kernel)
    tagger = make_tagger(encoder=replace(ENCODER, word_encoder=kind)).float()
    expected = loss_of(tagger, "target", "source")
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_of(tagger, "target", "source")
        tags = tagger.eval()(make_batch(tagger, ("target",), gold=False))["target"][0]
    assert torch.equal(found.total, expected.total)
    assert torch.equal(tags, tagger(make_batch(tagger, ("target",), gold=False))["target"][0])
    # In lower precision too, what is lower is the encoder.
    tagger.train().set_precision(torch.bfloat16)
    expected = loss_of(tagger, "target", "source")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss_of(tagger, "target", "source").total, expected.total)
