"""The CRF's compiled loops against torch, and everything that can go wrong around them.

Unlike tests/nn/test_crf.py, which holds both to the definitions on small chains, this has any
number of labels, both precisions, and the paths inside the loops.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spacy_transfer.nn import crf as crf_module
from spacy_transfer.nn.crf import CRF, Constraints
from spacy_transfer.nn.kernels import availability, chain

numba = pytest.importorskip("numba", reason="the compiled loops need numba")

RAGGED = [7, 1, 12, 2, 2, 5]
constrained = pytest.mark.parametrize("constrain", [False, True], ids=["free", "constrained"])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", "on")


@pytest.fixture
def nothing_loaded() -> Iterator[None]:
    caches = (chain._load, availability._say)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def make_crf(labels: int, scale: float = 1.0) -> CRF:
    """Of float64, with scores that float32 has too."""
    crf = CRF(labels).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.randn(parameter.shape) * scale)
    return crf


def make_batch(
    lengths: list[int], labels: int, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Emissions, as the scores above, tags and lengths; rubbish in the padding."""
    shape = (len(lengths), max(lengths) + 1)
    emissions = (torch.randn(*shape, labels) * scale).double()
    tags = torch.randint(labels, shape)
    for row, length in enumerate(lengths):
        emissions[row, length:] = math.nan
        tags[row, length:] = -100
    return emissions, tags, torch.tensor(lengths)


def make_constraints(labels: int) -> Constraints:
    """Random, but label 0 may always be used, so that there is a path."""
    start, transitions, end = (
        torch.rand(*shape) < 0.4 for shape in [(labels,), (labels, labels), (labels,)]
    )
    start[0] = transitions[0, 0] = end[0] = True
    return Constraints(start, transitions, end)


def results(
    crf: CRF,
    emissions: Tensor,
    tags: Tensor,
    lengths: Tensor,
    constraints: Constraints | None = None,
) -> dict[str, Tensor]:
    """Everything that the CRF computes, with gradients of a random combination of sentences."""
    leaves = {"emissions": emissions.detach().requires_grad_(), **dict(crf.named_parameters())}
    weights = torch.linspace(-1, 2, len(lengths)).to(emissions.dtype)
    found: dict[str, Tensor] = {
        "decode": crf.decode(emissions, lengths, constraints),
        "marginals": crf.marginals(emissions, lengths, constraints),
    }
    for name, values in {
        "log-partition": crf.log_partition(leaves["emissions"], lengths, constraints),
        "loss": crf.loss(leaves["emissions"], tags, lengths, 1.5, constraints),
    }.items():
        gradients = torch.autograd.grad(values, list(leaves.values()), weights)
        found[name] = values.detach()
        found |= {f"{name} by {leaf}": x for leaf, x in zip(leaves, gradients, strict=True)}
    return found


def by_torch(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> dict[str, Tensor]:
    with monkeypatch.context() as patch:
        patch.setenv("SPACY_TRANSFER_KERNEL", "off")
        return results(*arguments)


def assert_equal(
    found: dict[str, Tensor], expected: dict[str, Tensor], rtol: float, atol: float
) -> None:
    torch.testing.assert_close(
        {name: found[name].to(tensor.dtype) for name, tensor in expected.items()},
        expected,
        rtol=rtol,
        atol=atol,
        equal_nan=True,
    )


# Values and gradients


@constrained
@pytest.mark.parametrize("labels", [1, 2, 7, 8, 9, 17, 33, 121])
def test_equals_torch(labels: int, constrain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    crf, batch = make_crf(labels), make_batch(RAGGED, labels)
    constraints = make_constraints(labels) if constrain else None
    if constraints is not None:
        batch = batch[0], crf.decode(batch[0], batch[2], constraints), batch[2]
    expected = by_torch(monkeypatch, crf, *batch, constraints)
    assert expected["loss"].isfinite().all()
    assert_equal(results(crf, *batch, constraints), expected, 1e-9, 1e-9)
    emissions, tags, lengths = batch
    single = results(crf.float(), emissions.float(), tags, lengths, constraints)
    assert all(x.dtype is torch.float32 for name, x in single.items() if name != "decode")
    assert_equal(single, expected, 1e-5, 2e-5)


@constrained
@pytest.mark.parametrize("transition_scale", [0.1, 30.0, 1e4])
@pytest.mark.parametrize("scale", [20.0, 60.0, 100.0, 1e4])
def test_scores_that_lie_far_apart(
    scale: float, transition_scale: float, constrain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums and moves out of the range of float32 are made from logarithms."""
    for _ in range(4):
        crf, batch = make_crf(9, transition_scale), make_batch([9, 1, 2, 6], 9, scale)
        constraints = make_constraints(9) if constrain else None
        expected = by_torch(monkeypatch, crf, *batch, constraints)
        assert_equal(results(crf, *batch, constraints), expected, 1e-9, 1e-9)
        emissions, tags, lengths = batch
        single = results(crf.float(), emissions.float(), tags, lengths, constraints)
        # What float32 makes of the highest scores of a sentence, as a share of a probability.
        rounding = 20 * max(scale, transition_scale) * torch.finfo(torch.float32).eps
        assert_equal(single, expected, 1e-5, 1e-5 + rounding)


@pytest.mark.parametrize("labels", [3, 9])
def test_gradient_of_the_loss(labels: int) -> None:
    crf, (emissions, tags, lengths) = make_crf(labels, 0.5), make_batch([3, 1, 2], labels)
    emissions = emissions.nan_to_num()
    constraints = make_constraints(labels)
    tags = crf.decode(emissions, lengths, constraints)

    def loss(emissions: Tensor, *_: Tensor) -> Tensor:
        return crf.loss(emissions, tags, lengths, 2.0, constraints)

    assert torch.autograd.gradcheck(loss, (emissions.requires_grad_(), *crf.parameters()))


def test_long_sentences_keep_their_digits_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    crf, batch = make_crf(9), make_batch([1500, 3], 9, 3.0)
    expected = by_torch(monkeypatch, crf, *batch)
    emissions, tags, lengths = batch
    del expected["decode"]
    single = results(crf.float(), emissions.float(), tags, lengths)
    assert_equal(single, expected, 1e-6, 1e-4)


def test_forbidden_moves_have_no_gradient_at_all() -> None:
    crf, (emissions, _, lengths) = make_crf(17).float(), make_batch(RAGGED, 17)
    constraints = make_constraints(17)
    log_z = crf.log_partition(emissions.float(), lengths, constraints)
    gradients = torch.autograd.grad(log_z.sum(), (crf.start, crf.transitions, crf.end))
    for gradient, allowed in zip(gradients, constraints, strict=True):
        assert not gradient[~allowed].any()
        assert (gradient[allowed] > 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sentence_without_a_path_among_others(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 0 to 1 and no further: two tokens, and no other number, can be tagged."""
    masks = [torch.zeros(shape).bool() for shape in [(3,), (3, 3), (3,)]]
    masks[0][0] = masks[1][0, 1] = masks[2][1] = True
    constraints = Constraints(*masks)
    crf, (emissions, tags, lengths) = make_crf(3).to(dtype), make_batch([2, 1, 3, 2], 3)
    emissions = emissions.to(dtype)
    tags[:] = torch.tensor([0, 1, 0, 0])
    found = results(crf, emissions, tags, lengths, constraints)
    assert found["log-partition"].isinf().tolist() == [False, True, True, False]
    assert found["loss"].tolist() == pytest.approx([0, math.inf, math.inf, 0], abs=1e-6)
    assert not found["log-partition by emissions"][1:3].any()
    assert found["marginals"].sum((1, 2)).tolist() == [2, 0, 0, 2]
    assert found["decode"].tolist() == [[0, 1, 0, 0], [0] * 4, [0] * 4, [0, 1, 0, 0]]
    expected = by_torch(monkeypatch, crf, emissions, tags, lengths, constraints)
    assert_equal(found, expected, 1e-6, 1e-6)


# Not a number


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("token", [0, 1, 2])
def test_emissions_that_are_not_a_number(token: int, sign: float, dtype: torch.dtype) -> None:
    crf, (emissions, tags, lengths) = make_crf(3).to(dtype), make_batch([3, 3, 1], 3)
    emissions, tags = emissions[:, :3].to(dtype), torch.zeros(3, 3).long()
    emissions[1, token, 2] = math.copysign(math.nan, sign)
    forbidding = Constraints(*[torch.ones(shape).bool() for shape in [(3,), (3, 3), (3,)]])
    forbidding.start[1] = forbidding.end[1] = False
    for constraints in (None, forbidding):
        found = results(crf, emissions, tags, lengths, constraints)
        for name in ("loss", "log-partition"):
            assert found[name].isnan().tolist() == [False, True, False]
            assert found[f"{name} by emissions"][1].isnan().any()
            assert not found[f"{name} by emissions"][[0, 2]].isnan().any()
            assert found[f"{name} by transitions"].isnan().any()
        assert not found["decode"][1].any()


@pytest.mark.parametrize("part", ["start", "transitions", "end"])
def test_scores_that_are_not_a_number(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    crf, (emissions, tags, lengths) = make_crf(3), make_batch([3, 1, 2], 3)
    with torch.no_grad():
        getattr(crf, part).view(-1)[-1] = math.nan
    tags[:] = 0
    found = results(crf, emissions, tags, lengths)
    expected = by_torch(monkeypatch, crf, emissions, tags, lengths)
    for name in ("loss", "log-partition", "decode"):
        torch.testing.assert_close(found[name], expected[name], equal_nan=True)
    assert found["loss"].isnan().tolist() == [True, part != "transitions", True]


# Ties


@constrained
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("labels", [2, 5, 16, 21])
def test_decode_is_torchs_to_the_last_tie(
    labels: int, dtype: torch.dtype, constrain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = make_constraints(labels) if constrain else None
    for scale in (0.0, 0.7, 2.0):  # all scores equal; many; some
        crf, (emissions, _, lengths) = make_crf(labels, scale), make_batch(RAGGED * 4, labels)
        with torch.no_grad():
            for parameter in crf.parameters():
                parameter.round_()  # to 0.0 and to -0.0, which are equal
        crf, emissions = crf.to(dtype), (emissions * scale).round().to(dtype)
        found = crf.decode(emissions, lengths, constraints)
        with monkeypatch.context() as patch:
            patch.setenv("SPACY_TRANSFER_KERNEL", "off")
            assert torch.equal(found, crf.decode(emissions, lengths, constraints))


def test_decode_rounds_as_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores a rounding error apart: any other order of additions decodes other labels."""
    crf, (emissions, _, lengths) = make_crf(4), make_batch([200] * 8, 4)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.mul_(4).round_().div_(10)
    crf, emissions = crf.float(), (emissions * 4).round().div(10).float() + 100
    found = crf.decode(emissions, lengths)
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", "off")
    assert torch.equal(found, crf.decode(emissions, lengths))


# Tensors of all kinds


def test_any_memory_layout() -> None:
    crf, (emissions, tags, lengths) = make_crf(9), make_batch(RAGGED, 9)
    expected = results(crf, emissions, tags, lengths)
    strided = torch.stack([lengths, lengths], 1)[:, 0]
    turned = tags.t().contiguous().t()
    for layout in (
        emissions.transpose(0, 1).contiguous().transpose(0, 1),
        emissions.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        torch.stack([emissions, emissions], 3)[..., 1],
    ):
        assert not layout.is_contiguous()
        assert_equal(results(crf, layout, turned, strided), expected, 0, 0)
    with torch.no_grad():
        crf.transitions.set_(crf.transitions.t().contiguous().t())  # type: ignore[call-overload]
    assert not crf.transitions.is_contiguous()
    assert_equal(results(crf, emissions, tags, lengths), expected, 0, 0)


def test_any_type_of_integers_and_of_incoming_gradient() -> None:
    crf, (emissions, tags, lengths) = make_crf(9), make_batch(RAGGED, 9)
    expected = results(crf, emissions, tags, lengths)
    assert_equal(results(crf, emissions, tags.int(), lengths.int()), expected, 0, 0)
    loss = crf.loss(emissions, tags, lengths)
    ones = torch.autograd.grad(loss, crf.transitions, torch.ones_like(loss), retain_graph=True)
    expanded = torch.autograd.grad(loss.sum(), crf.transitions)
    torch.testing.assert_close(ones, expanded, rtol=0, atol=0)


def test_no_sentences() -> None:
    crf = make_crf(3)
    emissions, tags = torch.zeros(0, 4, 3).double(), torch.zeros(0, 4).long()
    found = results(crf, emissions, tags, torch.zeros(0).long())
    assert found["decode"].shape == (0, 4)
    assert found["loss"].shape == (0,)
    assert not found["loss by transitions"].any()


def test_backward_twice_adds_the_same_gradient() -> None:
    crf, (emissions, tags, lengths) = make_crf(9), make_batch(RAGGED, 9)
    loss = crf.loss(emissions, tags, lengths).sum()
    torch.autograd.backward(loss, retain_graph=True)
    once = [parameter.grad.clone() for parameter in crf.parameters() if parameter.grad is not None]
    torch.autograd.backward(loss)
    twice = [parameter.grad for parameter in crf.parameters()]
    torch.testing.assert_close(twice, [2 * grad for grad in once])


def test_several_python_threads_at_once() -> None:
    jobs = [(make_crf(9), *make_batch(RAGGED * 10, 9)) for _ in range(4)]
    expected = [results(*job) for job in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for _ in range(5):
            for found, one in zip(pool.map(lambda job: results(*job), jobs), expected, strict=True):
                assert_equal(found, one, 0, 0)


@pytest.mark.parametrize(
    ("lengths", "tag", "problem"),
    [
        ([3, 0], 0, "sequence 1: expected a length from 1 to 3.* the length is 0"),
        ([3, 4], 0, "sequence 1: expected a length from 1 to 3.* the length is 4"),
        ([2, -1], 0, "sequence 1"),
        ([3, 3], 5, r"sequence 0: .* tags from 0 to 4; .* the tags are \[0, 5, 0\]"),
        ([3, 3], -1, "sequence 0"),
    ],
)
def test_lengths_and_tags_out_of_range(lengths: list[int], tag: int, problem: str) -> None:
    crf, emissions, tags = CRF(5), torch.zeros(2, 3, 5), torch.zeros(2, 3).long()
    tags[0, 1] = tag
    with pytest.raises(IndexError, match=problem):
        crf.loss(emissions, tags, torch.tensor(lengths))
    if not tag:
        for operation in (crf.decode, crf.marginals, crf.log_partition):
            with pytest.raises(IndexError, match=problem):
                operation(emissions, torch.tensor(lengths))


@pytest.mark.parametrize(
    ("emissions", "tags", "lengths"),
    [
        ((2, 3, 4), (2, 3), 2),
        ((2, 3, 5), (2, 4), 2),
        ((2, 3, 5), (2, 3), 3),
        ((2, 3, 5), (3, 2), 2),
    ],
)
def test_shapes_that_do_not_fit(
    emissions: tuple[int, ...], tags: tuple[int, ...], lengths: int
) -> None:
    crf = CRF(5)
    with pytest.raises(ValueError, match="do not go with"):
        crf.loss(torch.zeros(emissions), torch.zeros(tags).long(), torch.ones(lengths).long())


# When the loops are used


def used(*tensors: Tensor) -> bool:
    scores = (*tensors, *[torch.zeros(1)] * (4 - len(tensors)))
    loops = chain.summing(*scores), chain.maximising(*scores)
    assert (loops[0] is None) == (loops[1] is None)
    return loops[0] is not None


def test_the_crf_runs_on_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    crf, batch = make_crf(3), make_batch([2, 1], 3)
    for name in ("_prepare", "_forward_backward", "_path_score"):
        monkeypatch.delattr(crf_module, name)
    assert results(crf, *batch)["loss"].isfinite().all()
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", "off")
    with pytest.raises(NameError):
        results(crf, *batch)


@pytest.mark.parametrize(
    "emissions",
    [
        torch.zeros(1).bfloat16(),
        torch.zeros(1).double(),
        torch.zeros(1, device="meta"),
        torch.zeros(1).to_sparse(),
    ],
    ids=["bfloat16", "mixed types", "mixed devices", "sparse"],
)
def test_other_tensors_are_left_to_torch(emissions: Tensor) -> None:
    assert used()
    assert not used(emissions)


def test_tracing_and_the_switch_leave_it_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(used(x))
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(look, torch.zeros(1))  # type: ignore[no-untyped-call]
    assert seen[0] is False
    assert used()
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", "off")
    assert not used()


@pytest.mark.usefixtures("nothing_loaded")
def test_without_numba_torch_does_it_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "spacy_transfer.nn.kernels.chain_loops", None)
    monkeypatch.delattr("spacy_transfer.nn.kernels.chain_loops", raising=False)
    crf, batch = make_crf(3), make_batch([2, 1], 3)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            found = results(crf, *batch)
            assert not used()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "the CRF" in caplog.text
    assert_equal(found, by_torch(monkeypatch, crf, *batch), 0, 0)


def test_no_directory_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from spacy_transfer.nn.kernels import chain_loops, compiler

    def cfunc(signature: object, **options: object) -> Any:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.cfunc(signature, **options)

    monkeypatch.setattr(compiler, "cfunc", cfunc)
    assert chain_loops.loop.__wrapped__("viterbi", "f4").address


def test_numba_is_imported_only_when_a_crf_runs() -> None:
    code = """
import sys, torch, spacy_transfer.nn.crf as module
print("numba" in sys.modules)
module.CRF(3).decode(torch.zeros(1, 2, 3), torch.tensor([2]))
print("numba" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "True"], done.stderr


# Functions


def test_elementary_functions_are_accurate_to_the_last_bits() -> None:
    from spacy_transfer.nn.kernels import chain_loops

    exp, log = chain_loops._exp, chain_loops._log

    @numba.njit  # type: ignore[untyped-decorator]
    def both(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        z = np.empty((2, len(x)), x.dtype)
        for i in range(len(x)):
            z[0, i], z[1, i] = exp(x[i]), log(y[i])
        return z

    size = np.concatenate([np.geomspace(1e-30, 86.9, 20001), [0.0, math.log(2) / 2]])
    around = np.concatenate([np.geomspace(2e-38, 3e38, 20000), [0.70710677, 1.4142135, 1.0]])
    for dtype, tolerance in ((np.float32, 2e-7), (np.float64, 1e-15)):
        x = -size.astype(dtype)
        y = np.concatenate([around[: len(x) - 1000], 1 + np.linspace(-1e-3, 1e-3, 1000)])
        y = y[: len(x)].astype(dtype)
        x = x[: len(y)]
        found = both(x, y)
        np.testing.assert_allclose(found[0], np.exp(x.astype(np.longdouble)), rtol=tolerance)
        np.testing.assert_allclose(found[1], np.log(y.astype(np.longdouble)), rtol=tolerance)
        special = np.array([-math.inf, math.nan, -1e30], dtype)
        none, not_a_number, tiny = both(special, np.ones(3, dtype))[0]
        assert none == tiny == 0
        assert np.isnan(not_a_number)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_highest_of_any_numbers(dtype: type) -> None:
    from spacy_transfer.nn.kernels import chain_loops

    rank, ranked = chain_loops._rank, chain_loops._ranked

    @numba.njit  # type: ignore[untyped-decorator]
    def both(x: np.ndarray) -> tuple[Any, Any]:
        ranks = [rank(value) for value in x]
        return ranks, [ranked(value) for value in ranks]

    values = [-math.inf, -3e38, -1.5, -1e-40, 0.0, 1e-40, 1.0, 2.5, 3e38, math.inf]
    numbers: np.ndarray = np.array(values, dtype)
    ranks, back = both(numbers)
    assert ranks == sorted(set(ranks))
    assert np.array(back, dtype).tolist() == numbers.tolist()
