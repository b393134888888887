from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spacy_transfer.nn.mmd import AUTHOR_WIDTHS, label_aware_mmd, mmd2
from tests.nn import brute_force

WIDTHS = (0.1, 1.0, 7.0)


def assert_close(found: Tensor, expected: Tensor, rtol: float = 1e-9, atol: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def samples(n: int, m: int, hidden: int, shift: float = 0.3) -> tuple[Tensor, Tensor]:
    source = torch.randn(n, hidden, dtype=torch.float64)
    target = torch.randn(m, hidden, dtype=torch.float64) + shift
    return source.requires_grad_(), target.requires_grad_()


def hidden_states(n: int, m: int) -> tuple[Tensor, Tensor]:
    """Of norm 10 in 400 dimensions, some of them alike on one side or on both, some nearly so."""
    source = torch.tanh(torch.randn(n, 400) * 0.6)
    target = torch.tanh(torch.randn(m, 400) * 0.6 + 0.1)
    source[3], source[5] = source[1], source[2] + 1e-4 * torch.randn(400)
    target[:4], target[7] = source[:4], target[6]
    return source, target


def label_by_label(
    source: Tensor,
    source_tags: Tensor,
    target: Tensor,
    target_tags: Tensor,
    matched: list[tuple[int, int]],
    widths: tuple[float, ...],
) -> Tensor:
    """Wang et al. 2018, Eq. 5."""
    total = source.new_zeros(())
    for a, b in matched:
        if (source_tags == a).any() and (target_tags == b).any():
            total = total + brute_force.differentiable_mmd2(
                source[source_tags == a], target[target_tags == b], widths
            )
    return total


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_authors_widths() -> None:
    assert len(AUTHOR_WIDTHS) == 19
    assert sum(AUTHOR_WIDTHS) == pytest.approx(1111241.111111)


@pytest.mark.parametrize("widths", [WIDTHS, AUTHOR_WIDTHS], ids=["three", "authors"])
@pytest.mark.parametrize(("n", "m", "hidden"), [(1, 1, 1), (5, 3, 4), (1, 8, 2), (80, 61, 3)])
def test_mmd2_is_the_triple_sum(n: int, m: int, hidden: int, widths: tuple[float, ...]) -> None:
    source, target = samples(n, m, hidden)
    with torch.no_grad():
        target[-1] = source[0]
        source[n // 2] = source[0]
    expected = brute_force.mmd2(source, target, widths)
    assert mmd2(source, target, widths).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_mmd2_uses_the_authors_widths_unless_told() -> None:
    source, target = samples(4, 5, 3)
    assert mmd2(source, target).item() == mmd2(source, target, AUTHOR_WIDTHS).item()


def test_the_two_slow_versions_agree() -> None:
    source, target = samples(6, 4, 3)
    expected = brute_force.mmd2(source, target, WIDTHS)
    found = brute_force.differentiable_mmd2(source, target, WIDTHS).item()
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [3, 70, 200])
def test_mmd2_has_the_gradient_of_its_definition(size: int) -> None:
    source, target = samples(size, size + 5, 6)
    expected = brute_force.differentiable_mmd2(source, target, WIDTHS)
    found = mmd2(source, target, WIDTHS)
    assert_close(found, expected)
    for a, b in zip(
        torch.autograd.grad(found * 3, (source, target)),
        torch.autograd.grad(expected * 3, (source, target)),
        strict=True,
    ):
        assert_close(a, b)


def test_mmd2_passes_gradcheck_with_equal_rows() -> None:
    source, target = samples(4, 3, 2)
    with torch.no_grad():
        source[1] = source[0]
        target[0] = source[0]
    assert torch.autograd.gradcheck(lambda a, b: mmd2(a, b, WIDTHS), (source, target))


def test_rows_that_are_all_equal_have_no_gradient() -> None:
    source = torch.full((70, 5), 3.7).requires_grad_()
    target = torch.full((50, 5), 3.7).requires_grad_()
    value = mmd2(source, target)
    assert value.item() == pytest.approx(0, abs=1e-5)
    for gradient in torch.autograd.grad(value, (source, target)):
        assert not gradient.any()


def test_equal_samples_have_no_discrepancy_and_different_ones_have() -> None:
    source, target = samples(90, 90, 5, shift=1.0)
    assert mmd2(source, source[torch.randperm(90)]).item() == pytest.approx(0, abs=1e-12)
    assert mmd2(source, target).item() > 0.1


@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_float32_agrees_with_float64(offset: float) -> None:
    source, target = (x + offset for x in hidden_states(150, 130))
    results = []
    for dtype in (torch.float64, torch.float32):
        a, b = (x.to(dtype, copy=True).requires_grad_() for x in (source, target))
        value = mmd2(a, b)
        assert value.dtype == dtype
        gradients = torch.autograd.grad(value, (a, b))
        results.append((value.double(), torch.cat(gradients).double()))
    (value, gradient), (value32, gradient32) = results
    assert_close(value32, value, rtol=1e-4, atol=0)
    # The kernel is steepest between the rows that are nearly alike, 0.002 apart.
    assert (gradient32 - gradient).norm() < 5e-3 * gradient.norm()
    direct = brute_force.differentiable_mmd2(source.double(), target.double(), AUTHOR_WIDTHS)
    assert_close(value, direct, rtol=1e-6, atol=0)


def test_autocast_and_half_precision_compute_in_float32() -> None:
    source, target = (x.bfloat16() for x in hidden_states(30, 40))
    tags = torch.randint(3, (40,))

    def results(source: Tensor, target: Tensor) -> list[Tensor]:
        a, b = source.detach().requires_grad_(), target.detach().requires_grad_()
        values = [mmd2(a, b), label_aware_mmd(a, tags[:30], b, tags, [(0, 0), (1, 2)])]
        gradients = [torch.autograd.grad(value, (a, b))[0].bfloat16() for value in values]
        return values + gradients

    expected = results(source.float(), target.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(source, target)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0)])
def test_mmd2_of_nothing_is_an_error(sizes: tuple[int, int]) -> None:
    n, m = sizes
    with pytest.raises(ValueError, match=f"got {n} of source and {m} of target"):
        mmd2(torch.zeros(n, 2), torch.zeros(m, 2), WIDTHS)


# Label-aware


@pytest.mark.parametrize("size", [5, 40, 300])
def test_label_aware_mmd_is_the_sum_over_labels(size: int) -> None:
    source, target = samples(size, size + 9, 4)
    source_tags, target_tags = torch.randint(7, (size,)), torch.randint(6, (size + 9,))
    source_tags[: size // 2] = 2  # a large class, as O is
    # In any order; 2 is matched twice, 9 occurs nowhere, and some tags are not matched.
    matched = [(4, 1), (2, 3), (0, 0), (2, 5), (9, 2), (1, 9)]
    expected = label_by_label(source, source_tags, target, target_tags, matched, WIDTHS)
    found = label_aware_mmd(source, source_tags, target, target_tags, matched, WIDTHS)
    assert_close(found, expected)
    for a, b in zip(
        torch.autograd.grad(found, (source, target)),
        torch.autograd.grad(expected, (source, target)),
        strict=True,
    ):
        assert_close(a, b)
    as_tensor = label_aware_mmd(
        source, source_tags, target, target_tags, torch.tensor(matched), WIDTHS
    )
    assert as_tensor.item() == found.item()


def test_label_aware_mmd_with_one_label_is_mmd2() -> None:
    source, target = samples(20, 30, 4)
    found = label_aware_mmd(
        source, torch.full((20,), 3), target, torch.full((30,), 1), [(3, 1)], AUTHOR_WIDTHS
    )
    assert_close(found, mmd2(source, target, AUTHOR_WIDTHS), rtol=1e-12, atol=0)


@pytest.mark.parametrize("matched", [[], [(0, 1)], [(5, 5), (6, 6)]])
def test_label_aware_mmd_is_zero_where_no_label_is_on_both_sides(
    matched: list[tuple[int, int]],
) -> None:
    source, target = samples(3, 4, 2)
    value = label_aware_mmd(
        source, torch.tensor([0, 0, 2]), target, torch.tensor([0, 0, 3, 2]), matched, WIDTHS
    )
    assert value.item() == 0
    for gradient in torch.autograd.grad(value, (source, target)):
        assert not gradient.any()


def test_label_aware_mmd_leaves_unmatched_tokens_alone() -> None:
    source, target = samples(6, 6, 3)
    tags = torch.tensor([0, 1, 2, 0, 1, 2])
    value = label_aware_mmd(source, tags, target, tags, [(0, 0), (2, 1)], WIDTHS)
    source_gradient, target_gradient = torch.autograd.grad(value, (source, target))
    assert source_gradient.abs().sum(1).gt(0).tolist() == (tags != 1).tolist()
    assert target_gradient.abs().sum(1).gt(0).tolist() == (tags != 2).tolist()


# Drawn tokens


def test_small_labels_are_compared_whole_and_large_ones_in_part() -> None:
    source, target = samples(60, 70, 3)
    source_tags, target_tags = torch.zeros(60).long(), torch.zeros(70).long()
    source_tags[:7], target_tags[10:15] = 1, 1
    arguments = (source, source_tags, target, target_tags, [(0, 0), (1, 1)], WIDTHS)
    assert label_aware_mmd(*arguments, 65).item() == pytest.approx(
        label_aware_mmd(*arguments).item(), rel=1e-12
    )
    value = label_aware_mmd(*arguments, 9)
    used = [g.abs().sum(1) > 0 for g in torch.autograd.grad(value, (source, target))]
    assert used[0][:7].all()
    assert used[1][10:15].all()
    assert used[0].sum() == 9 + 7
    assert used[1].sum() == 9 + 5
    expected = label_by_label(
        source[used[0]], source_tags[used[0]], target[used[1]], target_tags[used[1]], *arguments[4:]
    )
    assert_close(value, expected)


def test_every_token_of_a_label_is_drawn_as_often() -> None:
    source, target = samples(8, 5, 2)
    counts = torch.zeros(8)
    for _ in range(2000):
        value = mmd2(source, target, WIDTHS, limit=3)
        counts += torch.autograd.grad(value, source)[0].abs().sum(1) > 0
    assert counts.sum() == 3 * 2000
    assert (counts - 750).abs().max() < 5 * (2000 * 3 / 8 * 5 / 8) ** 0.5


def test_draws_are_those_of_the_seed() -> None:
    source, target = samples(40, 40, 3)

    def drawn(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return [mmd2(source, target, WIDTHS, limit=10).item() for _ in range(3)]

    assert drawn(1) == drawn(1)
    assert len({*drawn(1), *drawn(2)}) == 6


@given(
    n=st.integers(1, 90),
    m=st.integers(1, 90),
    hidden=st.integers(1, 5),
    tags=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_any_shape_in_any_order(n: int, m: int, hidden: int, tags: int, seed: int) -> None:
    torch.manual_seed(seed)
    source, target = samples(n, m, hidden)
    source_tags, target_tags = torch.randint(tags, (n,)), torch.randint(tags, (m,))
    matched = [(tag, (tag + 1) % tags) for tag in range(tags)]
    expected = label_by_label(source, source_tags, target, target_tags, matched, WIDTHS)
    order, other = torch.randperm(n), torch.randperm(m)
    found = label_aware_mmd(
        source[order], source_tags[order], target[other], target_tags[other], matched, WIDTHS
    )
    assert_close(found, expected)
    plain = brute_force.differentiable_mmd2(source, target, WIDTHS)
    assert_close(mmd2(source[order], target[other], WIDTHS), plain)
