from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spacy_transfer.nn.crf import CRF, Constraints
from spacy_transfer.nn.kernels.chain import summing
from tests.nn.brute_force import Chain


def assert_close(
    found: Tensor | Sequence[Tensor],
    expected: Tensor | Sequence[Tensor],
    rtol: float = 1e-9,
    atol: float = 1e-9,
) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def make_crf(labels: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> CRF:
    crf = CRF(labels).to(dtype)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) * scale)
    return crf


def make_batch(
    lengths: list[int], labels: int, scale: float = 1.0, padding: float = 99.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Emissions and tags with rubbish in the padding, a step longer than the longest sequence."""
    shape = (len(lengths), max(lengths) + 1)
    emissions = torch.randn(*shape, labels, dtype=torch.float64) * scale
    tags = torch.randint(labels, shape)
    for row, length in enumerate(lengths):
        emissions[row, length:] = padding
        tags[row, length:] = -1
    return emissions, tags, torch.tensor(lengths)


def make_constraints(labels: int) -> Constraints:
    """Random, but label 0 may always be used, so that there is a path."""
    start, transitions, end = (
        torch.rand(*shape) < 0.6 for shape in [(labels,), (labels, labels), (labels,)]
    )
    start[0] = transitions[0, 0] = end[0] = True
    return Constraints(start, transitions, end)


def chains(
    crf: CRF, emissions: Tensor, lengths: Tensor, constraints: Constraints | None = None
) -> list[Chain]:
    scores: list[Tensor] = [crf.start, crf.transitions, crf.end]
    if constraints is not None:
        scores = [
            torch.where(allowed, score, -math.inf)
            for score, allowed in zip(scores, constraints, strict=True)
        ]
    return [
        Chain.of(row[:length], *scores)
        for row, length in zip(emissions, lengths.tolist(), strict=True)
    ]


def allowed_tags(lengths: list[int], constraints: Constraints) -> Tensor:
    """The first path of each length that the constraints allow, found by trying all."""
    labels = len(constraints.start)
    scores = [torch.where(allowed, 0.0, -math.inf) for allowed in constraints]
    tags = torch.full((len(lengths), max(lengths) + 1), -1)
    for row, length in enumerate(lengths):
        chain = Chain.of(torch.zeros(length, labels), *scores)
        tags[row, :length] = torch.tensor(chain.best())
    return tags


constrained = pytest.mark.parametrize("constrain", [False, True], ids=["free", "constrained"])


@pytest.fixture(params=["compiled", "torch"], scope="module", autouse=True)
def _kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs on the compiled loops and without them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPACY_TRANSFER_KERNEL", "off" if request.param == "torch" else "on")
        if request.param == "compiled" and summing(*[torch.zeros(1)] * 4) is None:
            pytest.skip("the compiled loops need numba")
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# Values


@constrained
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_log_partition_is_the_sum_over_all_sequences(scale: float, constrain: bool) -> None:
    crf, (emissions, _, lengths) = make_crf(3, scale), make_batch([2, 4, 1, 3, 5], 3, scale)
    constraints = make_constraints(3) if constrain else None
    expected = [chain.log_partition() for chain in chains(crf, emissions, lengths, constraints)]
    found = crf.log_partition(emissions, lengths, constraints)
    assert_close(found, found.new_tensor(expected))


def test_score_is_the_sum_along_the_path() -> None:
    crf, (emissions, tags, lengths) = make_crf(4), make_batch([3, 1, 5, 2], 4)
    expected = [
        chain.score(row[:length])
        for chain, row, length in zip(
            chains(crf, emissions, lengths), tags.tolist(), lengths.tolist(), strict=True
        )
    ]
    found = crf.score(emissions, tags, lengths)
    assert_close(found, found.new_tensor(expected))


@constrained
@pytest.mark.parametrize("cost", [0.0, 0.5, 5.0])
def test_loss_is_the_softmax_margin(cost: float, constrain: bool) -> None:
    crf, (emissions, tags, lengths) = make_crf(3), make_batch([2, 4, 1, 3, 5], 3)
    constraints = make_constraints(3) if constrain else None
    if constraints is not None:
        tags = allowed_tags(lengths.tolist(), constraints)
    expected = [
        chain.softmax_margin(row[:length], cost)
        for chain, row, length in zip(
            chains(crf, emissions, lengths, constraints),
            tags.tolist(),
            lengths.tolist(),
            strict=True,
        )
    ]
    found = crf.loss(emissions, tags, lengths, cost, constraints)
    assert_close(found, found.new_tensor(expected))


def test_loss_without_cost_is_the_negative_log_likelihood() -> None:
    crf, (emissions, tags, lengths) = make_crf(5), make_batch([7, 1, 12, 2], 5)
    likelihood = crf.score(emissions, tags, lengths) - crf.log_partition(emissions, lengths)
    assert_close(crf.loss(emissions, tags, lengths), -likelihood)


@constrained
@pytest.mark.parametrize("cost", [0.0, 5.0])
def test_partial_loss_sums_over_what_is_not_known(cost: float, constrain: bool) -> None:
    crf, (emissions, tags, lengths) = make_crf(3), make_batch([2, 4, 1, 3, 5], 3)
    constraints = make_constraints(3) if constrain else None
    if constraints is not None:
        tags = allowed_tags(lengths.tolist(), constraints)
    tags = tags.masked_fill(torch.rand(tags.shape) < 0.5, -1)
    tags[1] = -1
    expected = [
        chain.partial_margin(row[:length], cost)
        for chain, row, length in zip(
            chains(crf, emissions, lengths, constraints),
            tags.tolist(),
            lengths.tolist(),
            strict=True,
        )
    ]
    found = crf.partial_loss(emissions, tags, lengths, cost, constraints)
    assert_close(found, found.new_tensor(expected))
    assert found[1].abs() < 1e-9


def test_partial_loss_of_all_that_is_known_is_the_loss() -> None:
    crf, (emissions, tags, lengths) = make_crf(4), make_batch([3, 7, 1], 4)
    found = crf.partial_loss(emissions, tags, lengths, 5.0)
    assert_close(found, crf.loss(emissions, tags, lengths, 5.0))


@constrained
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_marginals_are_sums_of_path_probabilities(scale: float, constrain: bool) -> None:
    crf, (emissions, _, lengths) = make_crf(3, scale), make_batch([2, 4, 1, 3, 5], 3, scale)
    constraints = make_constraints(3) if constrain else None
    found = crf.marginals(emissions, lengths, constraints)
    for row, chain in zip(found, chains(crf, emissions, lengths, constraints), strict=True):
        length = len(chain.emissions)
        expected = row.new_tensor(chain.marginals())
        assert_close(row[:length], expected)
        assert not row[length:].any()
        assert_close(row[:length].sum(1), row.new_ones(length))


@constrained
def test_decode_is_the_best_of_all_sequences(constrain: bool) -> None:
    for _ in range(5):
        crf, (emissions, _, lengths) = make_crf(3), make_batch([2, 4, 1, 3, 1, 4, 2], 3)
        constraints = make_constraints(3) if constrain else None
        found = crf.decode(emissions, lengths, constraints)
        for row, chain in zip(found, chains(crf, emissions, lengths, constraints), strict=True):
            assert row[: len(chain.emissions)].tolist() == chain.best()
            assert not row[len(chain.emissions) :].any()


def test_decode_breaks_ties_towards_the_lower_label() -> None:
    for _ in range(20):
        crf, (emissions, _, lengths) = make_crf(3), make_batch([3, 4, 1, 2], 3)
        with torch.no_grad():
            for parameter in crf.parameters():
                parameter.round_().clamp_(-1, 1)
        emissions = emissions.round().clamp(-1, 1)
        found = crf.decode(emissions, lengths)
        for row, chain in zip(found, chains(crf, emissions, lengths), strict=True):
            assert row[: len(chain.emissions)].tolist() == chain.best()


# Gradients


@constrained
@pytest.mark.parametrize("cost", [0.0, 2.0])
def test_gradient_of_the_partial_loss(cost: float, constrain: bool) -> None:
    crf, (emissions, _, lengths) = make_crf(3), make_batch([2, 4, 1, 3], 3)
    constraints = make_constraints(3)
    tags = allowed_tags(lengths.tolist(), constraints).masked_fill(torch.rand(4, 5) < 0.4, -1)

    def loss(emissions: Tensor, *_: Tensor) -> Tensor:
        return crf.partial_loss(emissions, tags, lengths, cost, constraints if constrain else None)

    assert torch.autograd.gradcheck(loss, (emissions.requires_grad_(), *crf.parameters()))


@constrained
@pytest.mark.parametrize("cost", [0.0, 2.0])
def test_gradient_of_the_loss(cost: float, constrain: bool) -> None:
    crf, (emissions, _, lengths) = make_crf(3), make_batch([2, 4, 1, 3], 3)
    constraints = make_constraints(3)
    tags = allowed_tags(lengths.tolist(), constraints)

    def loss(emissions: Tensor, *_: Tensor) -> Tensor:
        return crf.loss(emissions, tags, lengths, cost, constraints if constrain else None)

    assert torch.autograd.gradcheck(loss, (emissions.requires_grad_(), *crf.parameters()))


def test_gradients_of_the_log_partition_are_expected_counts() -> None:
    crf, (emissions, _, lengths) = make_crf(3), make_batch([2, 4, 1, 3], 3)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    expected = [torch.zeros_like(parameter) for parameter in (crf.start, crf.transitions, crf.end)]
    for chain, weight in zip(chains(crf, emissions, lengths), weights.tolist(), strict=True):
        for path, probability in chain.distribution().items():
            expected[0][path[0]] += weight * probability
            expected[2][path[-1]] += weight * probability
            for move in itertools.pairwise(path):
                expected[1][move] += weight * probability
    expected.append(crf.marginals(emissions, lengths) * weights[:, None, None])
    leaves = (crf.start, crf.transitions, crf.end, emissions.requires_grad_())
    log_z = crf.log_partition(emissions, lengths)
    assert_close(torch.autograd.grad(log_z, leaves, weights), expected)


def test_gradient_through_constraints_is_exactly_zero_where_forbidden() -> None:
    crf, (emissions, _, lengths) = make_crf(4), make_batch([5, 2, 1], 4)
    constraints = make_constraints(4)
    log_z = crf.log_partition(emissions, lengths, constraints)
    gradients = torch.autograd.grad(log_z.sum(), (crf.start, crf.transitions, crf.end))
    for gradient, allowed in zip(gradients, constraints, strict=True):
        assert not gradient[~allowed].any()
        assert (gradient[allowed] > 0).any()


# Numbers at the edge


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@constrained
@pytest.mark.parametrize("transition_scale", [1.0, 15.0, 300.0])
def test_large_scores(dtype: torch.dtype, transition_scale: float, constrain: bool) -> None:
    crf, (emissions, tags, lengths) = make_crf(3), make_batch([2, 4, 1, 3], 3, scale=1e4)
    with torch.no_grad():
        crf.transitions.mul_(transition_scale)
    constraints = make_constraints(3) if constrain else None
    if constraints is not None:
        tags = allowed_tags(lengths.tolist(), constraints)
    # The definition gets the same rounded numbers.
    crf, emissions = crf.to(dtype), emissions.to(dtype).requires_grad_()
    reference = chains(crf, emissions, lengths, constraints)
    loss = crf.loss(emissions, tags, lengths, constraints=constraints)
    gradients = torch.autograd.grad(loss.sum(), (emissions, *crf.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    marginals = crf.marginals(emissions, lengths, constraints)
    decoded = crf.decode(emissions, lengths, constraints)
    rtol, atol = (1e-5, 1e-2) if dtype == torch.float32 else (1e-9, 1e-9)
    for row, chain in enumerate(reference):
        length = len(chain.emissions)
        expected = chain.softmax_margin(tags[row, :length].tolist(), 0)
        assert_close(loss[row], loss.new_tensor(expected), rtol, atol)
        posteriors = marginals.new_tensor(chain.marginals())
        assert_close(marginals[row, :length], posteriors, rtol, atol)
        assert decoded[row, :length].tolist() == chain.best()


@constrained
def test_a_path_that_lies_hundreds_of_nats_behind_is_not_lost(constrain: bool) -> None:
    """The only way to the end leads through a label that is hopeless at first sight."""
    crf = CRF(2)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.zero_()
        if not constrain:
            crf.transitions[0, 1] = -1e4
    constraints = None
    if constrain:
        transitions = torch.tensor([[True, False], [True, True]])
        constraints = Constraints(torch.ones(2).bool(), transitions, torch.ones(2).bool())
    emissions = torch.tensor([[[0.0, -400.0], [0.0, -300.0], [-9000.0, 0.0]]])
    log_z = crf.log_partition(emissions, torch.tensor([3]), constraints)
    assert log_z.tolist() == [-700.0]
    marginals = crf.marginals(emissions, torch.tensor([3]), constraints)
    assert marginals.tolist() == [[[0.0, 1.0]] * 3]
    assert crf.decode(emissions, torch.tensor([3]), constraints).tolist() == [[1, 1, 1]]


@constrained
@pytest.mark.parametrize("gap", [20.0, 34.0, 60.0, 104.0, 1e3])
def test_a_path_that_is_far_behind_for_two_tokens_is_not_lost(gap: float, constrain: bool) -> None:
    """Label 1 is ever less probable, but from it alone a cheap move leads to the last label."""
    crf = CRF(3)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.zero_()
        if not constrain:
            crf.transitions.fill_(-gap)
            crf.transitions[0, 1] = crf.transitions[1, 0] = 0
    constraints = None
    if constrain:
        masks = [torch.ones(shape).bool() for shape in [(3,), (3, 3), (3,)]]
        masks[1][2, 0] = False
        constraints = Constraints(*masks)
    far = -1.9 * gap
    emissions = torch.tensor([[[0, -1e4, -1e4], [-1e4, far, 0], [0, -1e4, -1e4]]])
    lengths = torch.tensor([3])
    expected = crf.double().log_partition(emissions.double(), lengths, constraints)
    assert_close(expected, torch.tensor([far], dtype=torch.float64), atol=0.2)
    found = crf.float().log_partition(emissions, lengths, constraints)
    assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    expected = crf.double().marginals(emissions.double(), lengths, constraints)
    found = crf.float().marginals(emissions, lengths, constraints)
    assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_a_confident_loss_keeps_its_digits_in_float32() -> None:
    crf = make_crf(3, 0.1, torch.float32)
    tags = torch.randint(3, (1, 200))
    emissions = torch.randn(1, 200, 3) + 1e4
    emissions = emissions.scatter_add(2, tags.unsqueeze(2), torch.full((1, 200, 1), 12.0))
    lengths = torch.tensor([200])
    expected = crf.double().loss(emissions.double(), tags, lengths)
    found = crf.float().loss(emissions, tags, lengths)
    assert_close(found.double(), expected, rtol=1e-3, atol=0)


def test_float32_agrees_with_float64() -> None:
    crf, (emissions, tags, lengths) = make_crf(17), make_batch([30, 1, 2, 11], 17)
    results: list[list[Tensor]] = []
    for dtype in (torch.float64, torch.float32):
        crf.to(dtype)
        leaf = emissions.to(dtype, copy=True).requires_grad_()
        loss = crf.loss(leaf, tags, lengths, cost=5.0)
        assert loss.dtype == dtype
        gradients = torch.autograd.grad(loss.sum(), (leaf, *crf.parameters()))
        results.append([loss, *gradients, crf.marginals(leaf, lengths)])
    expected, found = results
    assert_close([x.double() for x in found], expected, rtol=1e-4, atol=1e-4)


def test_autocast_computes_in_float32() -> None:
    crf, (emissions, tags, lengths) = make_crf(9).float(), make_batch([9, 1, 5], 9)
    half = emissions.bfloat16()

    def results(emissions: Tensor) -> list[Tensor]:
        loss = crf.loss(emissions, tags, lengths, cost=1.0)
        return [
            loss,
            *torch.autograd.grad(loss.sum(), list(crf.parameters())),
            crf.score(emissions, tags, lengths),
            crf.log_partition(emissions, lengths),
            crf.marginals(emissions, lengths),
        ]

    expected = results(half.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(half)
    assert_close(found, expected, rtol=0, atol=0)  # and of the same type


def test_half_precision_scores_are_promoted() -> None:
    crf, (emissions, tags, lengths) = make_crf(5).bfloat16(), make_batch([9, 1, 5], 5)
    found = crf.loss(emissions.bfloat16(), tags, lengths.int())
    expected = crf.float().loss(emissions.bfloat16().float(), tags, lengths)
    assert_close(found, expected, rtol=0, atol=0)


def test_emissions_are_left_as_they_were() -> None:
    crf, (emissions, _, lengths) = make_crf(5), make_batch([4], 5)
    before = emissions.clone()
    crf.log_partition(emissions, lengths)
    crf.decode(emissions, lengths)
    assert torch.equal(emissions, before)


def test_emissions_that_are_not_a_number_make_the_loss_so() -> None:
    crf, (emissions, tags, lengths) = make_crf(3), make_batch([3, 2], 3)
    emissions[0, 1, 2] = math.nan
    loss = crf.loss(emissions, tags, lengths)
    assert loss.isnan().tolist() == [True, False]


# Forbidden


def test_forbidden_gold_has_infinite_loss_and_no_gradient() -> None:
    crf, (emissions, _, lengths) = make_crf(2), make_batch([2, 2, 1], 2)
    transitions = torch.tensor([[True, False], [True, True]])
    constraints = Constraints(torch.ones(2).bool(), transitions, torch.ones(2).bool())
    tags = torch.tensor([[0, 1], [1, 0], [1, -1]])
    emissions = emissions[:, :2].clone().requires_grad_()
    loss = crf.loss(emissions, tags, lengths, constraints=constraints)
    assert loss.isinf().tolist() == [True, False, False]
    gradient, *others = torch.autograd.grad(loss.sum(), (emissions, *crf.parameters()))
    assert not gradient[0].any()
    assert gradient[1].abs().min() > 0
    assert all(other.isfinite().all() for other in others)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_where_no_path_is_allowed(part: int) -> None:
    crf, (emissions, tags, lengths) = make_crf(3), make_batch([3, 2], 3)
    masks = [torch.ones(shape).bool() for shape in [(3,), (3, 3), (3,)]]
    masks[part][:] = False
    constraints = Constraints(*masks)
    log_z = crf.log_partition(emissions.requires_grad_(), lengths, constraints)
    assert log_z.tolist() == [-math.inf, -math.inf]
    gradients = torch.autograd.grad(log_z.sum(), (emissions, *crf.parameters()))
    assert not any(gradient.any() for gradient in gradients)
    assert not crf.marginals(emissions, lengths, constraints).any()
    assert not crf.decode(emissions, lengths, constraints).any()
    assert crf.loss(emissions, tags, lengths, 1.0, constraints).tolist() == [math.inf, math.inf]


# Batches


Operation = Callable[[CRF, Tensor, Tensor, Tensor, "Constraints | None"], Tensor]
OPERATIONS: dict[str, Operation] = {
    "log_partition": lambda crf, e, tags, n, c: crf.log_partition(e, n, c),
    "score": lambda crf, e, tags, n, c: crf.score(e, tags, n),
    "loss": lambda crf, e, tags, n, c: crf.loss(e, tags, n, 1.5, c),
    "marginals": lambda crf, e, tags, n, c: crf.marginals(e, n, c),
    "decode": lambda crf, e, tags, n, c: crf.decode(e, n, c),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    labels=st.integers(1, 6),
    padding=st.sampled_from([0.0, -1e9, math.nan]),
    constrain=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_a_batch_equals_its_sentences(
    operation: Operation,
    lengths: list[int],
    labels: int,
    padding: float,
    constrain: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    crf, (emissions, tags, _) = make_crf(labels), make_batch(lengths, labels, padding=padding)
    constraints = make_constraints(labels) if constrain else None
    together = operation(crf, emissions, tags, torch.tensor(lengths), constraints)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        alone = operation(
            crf, emissions[one, :length], tags[one, :length], torch.tensor([length]), constraints
        )
        found = together[one] if together.dim() == 1 else together[one, :length]
        assert_close(found, alone)


@given(
    length=st.integers(1, 4),
    labels=st.integers(1, 4),
    scale=st.sampled_from([0.0, 1.0, 50.0, 1000.0]),
    constrain=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_against_enumeration(
    length: int, labels: int, scale: float, constrain: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    crf, (emissions, _, lengths) = make_crf(labels, scale), make_batch([length], labels, scale)
    constraints = make_constraints(labels) if constrain else None
    (chain,) = chains(crf, emissions, lengths, constraints)
    log_z = crf.log_partition(emissions, lengths, constraints)
    assert_close(log_z, log_z.new_tensor([chain.log_partition()]))
    marginals = crf.marginals(emissions, lengths, constraints)[0, :length]
    assert_close(marginals, marginals.new_tensor(chain.marginals()))
    if scale:
        assert crf.decode(emissions, lengths, constraints)[0, :length].tolist() == chain.best()


@given(shift=st.floats(-1e3, 1e3), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_a_constant_on_a_token_moves_the_log_partition_by_as_much(shift: float, seed: int) -> None:
    torch.manual_seed(seed)
    crf, (emissions, tags, lengths) = make_crf(4), make_batch([6, 2, 1], 4)
    moved = emissions.clone()
    moved[:, 0] += shift
    log_z = crf.log_partition(emissions, lengths)
    assert_close(crf.log_partition(moved, lengths), log_z + shift)
    loss = crf.loss(emissions, tags, lengths, 2.0)
    assert_close(crf.loss(moved, tags, lengths, 2.0), loss)
    marginals = crf.marginals(emissions, lengths)
    assert_close(crf.marginals(moved, lengths), marginals)


def test_initial_scores_are_small_and_differ() -> None:
    crf = CRF(11)
    scores = torch.cat([parameter.detach().flatten() for parameter in crf.parameters()])
    assert scores.abs().max() <= 0.5
    assert scores.std() > 0.1
