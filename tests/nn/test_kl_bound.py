"""The bound that CRF parameter transfer rests on: Wang et al. 2018, Eq. 6, Lemmas A.1 and A.2.

Biases, start and end scores, which the paper does not have, fit into its proof: a bias is the
weight of one more hidden unit that is always 1, and start and end are transitions from and to one
more label, the sentence boundary.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from spacy_transfer.nn.crf import CRF
from spacy_transfer.nn.crf_l2 import crf_l2
from tests.nn.brute_force import Chain, kl_divergence

Head = tuple[nn.Linear, CRF]


def make_head(hidden: int, labels: int, scale: float) -> Head:
    emission, crf = nn.Linear(hidden, labels).double(), CRF(labels).double()
    with torch.no_grad():
        for parameter in (*emission.parameters(), *crf.parameters()):
            parameter.copy_(torch.randn(parameter.shape) * scale)
    return emission, crf


def near(head: Head, scale: float) -> Head:
    emission, crf = make_head(head[0].in_features, head[0].out_features, scale)
    with torch.no_grad():
        for module, origin in zip((emission, crf), head, strict=True):
            for parameter, value in zip(module.parameters(), origin.parameters(), strict=True):
                parameter.add_(value)
    return emission, crf


def distance(source: Head, target: Head) -> float:
    """||W_s - W_t||^2 + ||A_s - A_t||^2"""
    labels = torch.arange(source[0].out_features)
    return crf_l2(*source, *target, torch.stack([labels, labels], 1)).item()


def c1(hidden: Tensor, labels: int) -> float:
    """The constant of Lemma A.1: twice the largest squared norm of the masks of any sequence."""
    states = [[*row, 1.0] for row in hidden.tolist()]
    largest = 0.0
    for path in itertools.product(range(labels), repeat=len(states)):
        sums = torch.zeros(labels, len(states[0]), dtype=torch.float64)
        for label, state in zip(path, states, strict=True):
            sums[label] += torch.tensor(state, dtype=torch.float64)
        counts = torch.zeros(labels + 1, labels + 1)
        for move in itertools.pairwise((labels, *path, labels)):
            counts[move] += 1
        largest = max(largest, sums.square().sum().item(), counts.square().sum().item())
    return 2 * largest


def chain(head: Head, hidden: Tensor) -> Chain:
    emission, crf = head
    return Chain.of(emission(hidden), crf.start, crf.transitions, crf.end)


def divergence(source: Head, target: Head, hidden: Tensor) -> float:
    """KL(p_s || p_t), from the package's own probabilities of all sequences."""
    paths = chain(source, hidden).paths()
    tags = torch.tensor(paths)
    lengths = torch.full((len(paths),), len(hidden))
    p, q = (
        (-crf.loss(emission(hidden).expand(len(paths), -1, -1), tags, lengths)).exp().tolist()
        for emission, crf in (source, target)
    )
    return kl_divergence(dict(zip(paths, p, strict=True)), dict(zip(paths, q, strict=True)))


CASES = [
    pytest.param(steps, labels, scale, change, id=f"{steps}-{labels}-{scale}-{change}")
    for steps, labels in [(1, 2), (2, 3), (4, 3), (3, 4)]
    for scale in (0.1, 2.0)
    for change in (0.01, 1.0, 5.0)
]


@pytest.mark.parametrize(("steps", "labels", "scale", "change"), CASES)
def test_the_divergence_is_bounded(steps: int, labels: int, scale: float, change: float) -> None:
    torch.manual_seed(steps + labels)
    for _ in range(5):
        hidden = torch.randn(steps, 3, dtype=torch.float64)
        source = make_head(3, labels, scale)
        target = near(source, change)
        s, t = chain(source, hidden), chain(target, hidden)
        constant = c1(hidden, labels)
        epsilon = math.sqrt(constant * distance(source, target))
        # Lemma A.1, Eq. 8 and Lemma A.2, with c = 2 sqrt(c1).
        assert max(abs(s.score(path) - t.score(path)) for path in s.paths()) <= epsilon
        assert abs(s.log_partition() - t.log_partition()) <= epsilon
        kl = divergence(source, target, hidden)
        assert kl == pytest.approx(kl_divergence(s.distribution(), t.distribution()), abs=1e-9)
        assert 0 < kl <= 2 * math.sqrt(constant) * math.sqrt(distance(source, target))


def test_the_bound_is_not_vacuous() -> None:
    """Two CRFs that are sure of opposite labels come within a factor of 10 of it."""
    hidden = torch.ones(1, 1, dtype=torch.float64)
    source, target = make_head(1, 2, 0.0), make_head(1, 2, 0.0)
    with torch.no_grad():
        source[0].weight[0, 0] = 20.0
        target[0].weight[1, 0] = 20.0
    kl = divergence(source, target, hidden)
    assert kl == pytest.approx(20, rel=1e-6)
    bound = 2 * math.sqrt(c1(hidden, 2)) * math.sqrt(distance(source, target))
    assert kl <= bound < 10 * kl


def test_the_bound_needs_the_distance_of_start_and_end_scores() -> None:
    """Without them, two CRFs that differ in nothing else would be at distance 0."""
    hidden = torch.ones(2, 1, dtype=torch.float64)
    for name in ("start", "end"):
        source, target = make_head(1, 2, 0.0), make_head(1, 2, 0.0)
        with torch.no_grad():
            getattr(source[1], name)[0] = 3.0
        kl = divergence(source, target, hidden)
        assert 0.1 < kl <= 2 * math.sqrt(c1(hidden, 2)) * math.sqrt(distance(source, target))
