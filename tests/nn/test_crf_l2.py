from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from spacy_transfer.nn.crf import CRF
from spacy_transfer.nn.crf_l2 import crf_l2

MATCHED = torch.tensor([[0, 2], [3, 0], [1, 1], [1, 4]])


def make_head(labels: int) -> tuple[nn.Linear, CRF]:
    emission, crf = nn.Linear(3, labels).double(), CRF(labels).double()
    with torch.no_grad():
        for parameter in (*emission.parameters(), *crf.parameters()):
            parameter.copy_(torch.randn(parameter.shape))
    return emission, crf


def parameters(emission: nn.Linear, crf: CRF) -> tuple[Tensor, ...]:
    return emission.weight, emission.bias, crf.start, crf.transitions, crf.end


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_is_the_sum_over_matched_labels() -> None:
    source, target = make_head(4), make_head(6)
    ws, bs, starts, moves, ends = (x.tolist() for x in parameters(*source))
    wt, bt, startt, movet, endt = (x.tolist() for x in parameters(*target))
    expected = 0.0
    for s, t in MATCHED.tolist():
        expected += sum((a - b) ** 2 for a, b in zip(ws[s], wt[t], strict=True))
        expected += (bs[s] - bt[t]) ** 2 + (starts[s] - startt[t]) ** 2 + (ends[s] - endt[t]) ** 2
        for s2, t2 in MATCHED.tolist():
            expected += (moves[s][s2] - movet[t][t2]) ** 2
    assert crf_l2(*source, *target, MATCHED).item() == pytest.approx(expected, rel=1e-12)


def test_passes_gradcheck() -> None:
    source, target = make_head(4), make_head(5)
    leaves = (*parameters(*source), *parameters(*target))
    assert torch.autograd.gradcheck(lambda *_: crf_l2(*source, *target, MATCHED), leaves)


def test_only_matched_labels_have_a_gradient() -> None:
    source, target = make_head(4), make_head(6)
    value = crf_l2(*source, *target, MATCHED)
    for head, labels in ((source, MATCHED[:, 0]), (target, MATCHED[:, 1])):
        matched = torch.zeros(len(head[1].start), dtype=torch.bool)
        matched[labels] = True
        gradients = torch.autograd.grad(value, parameters(*head), retain_graph=True)
        for gradient in gradients:
            assert not gradient[~matched].any()
            assert gradient[matched].any()
        assert not gradients[3][:, ~matched].any()


def test_equal_scores_are_at_distance_zero() -> None:
    source, target = make_head(4), make_head(4)
    assert crf_l2(*source, *source, torch.tensor([[0, 0], [2, 2]])).item() == 0
    assert crf_l2(*source, *target, torch.tensor([[0, 0], [2, 2]])).item() > 0


def test_is_zero_where_nothing_matches() -> None:
    source, target = make_head(4), make_head(6)
    value = crf_l2(*source, *target, torch.empty(0, 2, dtype=torch.int64))
    assert value.item() == 0
    for gradient in torch.autograd.grad(value, (*parameters(*source), *parameters(*target))):
        assert not gradient.any()
