from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from spacy_transfer.nn.crf import CRF, Constraints
from spacy_transfer.nn.n_best import n_best
from tests.nn.brute_force import Chain

LENGTHS = [4, 1, 3, 2]


def random_crf(labels: int) -> tuple[CRF, Tensor, Tensor]:
    crf = CRF(labels).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    emissions = torch.randn(len(LENGTHS), 5, labels, dtype=torch.float64)
    return crf, emissions, torch.tensor(LENGTHS)


def constraints_of(labels: int) -> Constraints:
    transitions = torch.rand(labels, labels) < 0.5
    transitions[0, 0] = True
    start = torch.tensor([True, *[False] * (labels - 1)])
    return Constraints(start, transitions, torch.ones(labels, dtype=torch.bool))


@pytest.mark.parametrize("constrain", [False, True])
@pytest.mark.parametrize("n", [1, 4, 30])
def test_the_most_probable_sequences_in_their_order(n: int, constrain: bool) -> None:
    crf, emissions, lengths = random_crf(3)
    constraints = constraints_of(3) if constrain else None
    tags, logs = n_best(crf, emissions, lengths, n, constraints)
    assert tags.shape == (4, n, 5)
    scores: list[Tensor] = [crf.start, crf.transitions, crf.end]
    if constraints is not None:
        scores = [
            torch.where(mask, score, -math.inf)
            for mask, score in zip(constraints, scores, strict=True)
        ]
    for row, length in enumerate(LENGTHS):
        chain = Chain.of(emissions[row, :length], *scores)
        likely = [(p, path) for path, p in chain.distribution().items() if p]
        expected = sorted(likely, reverse=True)[:n]
        found = len(expected)
        assert [tuple(t[:length]) for t in tags[row, :found].tolist()] == [y for _, y in expected]
        assert logs[row, :found].exp().tolist() == pytest.approx([p for p, _ in expected])
        assert (logs[row, found:] == -math.inf).all()
        assert not tags[row, found:].any()
        assert not tags[row, :, length:].any()


def test_the_first_is_viterbi_s() -> None:
    crf, emissions, lengths = random_crf(7)
    tags, _ = n_best(crf, emissions, lengths, 3)
    assert torch.equal(tags[:, 0], crf.decode(emissions, lengths))


def test_none_is_no_number_of_sequences() -> None:
    crf, emissions, lengths = random_crf(2)
    with pytest.raises(ValueError, match="n must be at least 1; found 0"):
        n_best(crf, emissions, lengths, 0)
