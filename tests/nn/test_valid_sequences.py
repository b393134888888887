"""No impossible tag sequence comes out, whatever the weights: more than 100,000 sequences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from spacy_transfer.corpus.schemes import (
    SENTENCE_START,
    WHITE_SPACE,
    TagScheme,
    allowed,
    barred,
    decode,
    encode,
    tags_of,
)
from spacy_transfer.nn.crf import CRF, Constraints
from spacy_transfer.nn.kernels import chain
from spacy_transfer.nn.n_best import n_best

LENGTHS = torch.arange(1, 21)
ROUNDS = [
    (scheme, labels, scale, dtype)
    for scheme, labels, (scale, dtype) in itertools.product(
        ("BIO", "BIOES"),
        (1, 2, 5),
        # Up to the largest numbers that there are, whose sums are infinite.
        [(s, torch.float32) for s in (0.0, 1e-3, 1.0, 100.0, 1e30, 3e38)]
        + [(1.0, torch.float64), (1e308, torch.float64)],
    )
]


def invalid(tags: Tensor, lengths: Tensor, names: list[str], scheme: TagScheme) -> list[list[str]]:
    """The sequences that are not what the scheme makes of the spans that they hold."""
    found = []
    for row, length in zip(tags.tolist(), lengths.tolist(), strict=True):
        sequence = [names[tag] for tag in row[:length]]
        if encode(decode(sequence), length, scheme) != sequence:
            found.append(sequence)
    return found


@pytest.mark.parametrize("kernels", [True, False])
def test_every_sequence_is_valid(monkeypatch: pytest.MonkeyPatch, kernels: bool) -> None:
    if not kernels:
        monkeypatch.setattr(chain, "maximising", lambda *_: None)
        monkeypatch.setattr(chain, "summing", lambda *_: None)
    torch.manual_seed(int(kernels))
    count = 0
    for scheme, labels, scale, dtype in ROUNDS:
        names = tags_of([f"L{i}" for i in range(labels)], scheme)
        constraints = Constraints(*map(torch.from_numpy, allowed(names, scheme)))
        crf = CRF(len(names)).to(dtype)
        lengths = LENGTHS.repeat(35)
        for parameter in crf.parameters():
            torch.nn.init.uniform_(parameter, -1, 1).data.mul_(scale)
        emissions = scale * (2 * torch.rand(len(lengths), 20, len(names), dtype=dtype) - 1)
        best = crf.decode(emissions, lengths, constraints)
        assert not invalid(best, lengths, names, scheme)
        few, of_few = emissions[:200], lengths[:200]
        several, _ = n_best(crf, few, of_few, 2, constraints)
        for tags in several.unbind(1):
            assert not invalid(tags, of_few, names, scheme)
        count += len(lengths) + 2 * len(few)
    assert count > 50_000  # of each implementation


@pytest.mark.parametrize("kernels", [True, False])
def test_no_tag_is_one_that_its_token_cannot_have(
    monkeypatch: pytest.MonkeyPatch, kernels: bool
) -> None:
    if not kernels:
        monkeypatch.setattr(chain, "maximising", lambda *_: None)
        monkeypatch.setattr(chain, "summing", lambda *_: None)
    torch.manual_seed(int(kernels))
    spans = 0
    lengths = LENGTHS.repeat(5)
    for scheme, labels, scale, dtype in ROUNDS:
        names = tags_of([f"L{i}" for i in range(labels)], scheme)
        constraints = Constraints(*map(torch.from_numpy, allowed(names, scheme)))
        crf = CRF(len(names)).to(dtype)
        for parameter in crf.parameters():
            torch.nn.init.uniform_(parameter, -1, 1).data.mul_(scale)
        emissions = scale * (2 * torch.rand(len(lengths), 20, len(names), dtype=dtype) - 1)
        kinds = torch.randint(4, emissions.shape[:2]) * (torch.rand(emissions.shape[:2]) < 0.4)
        barred_here = torch.from_numpy(barred(names, scheme))[kinds]
        emissions = emissions.masked_fill(barred_here, -math.inf)
        several, _ = n_best(crf, emissions, lengths, 2, constraints)
        for tags in (crf.decode(emissions, lengths, constraints), *several.unbind(1)):
            assert not invalid(tags, lengths, names, scheme)
            for row, of_row, length in zip(tags, kinds.tolist(), lengths.tolist(), strict=True):
                found = decode([names[tag] for tag in row[:length].tolist()])
                spans += len(found)
                for start, end, _ in found:
                    inside = of_row[start:end]
                    assert not inside[0] & WHITE_SPACE
                    assert not inside[-1] & WHITE_SPACE
                    assert not any(kind & SENTENCE_START for kind in inside[1:])
                    assert WHITE_SPACE | SENTENCE_START not in inside
    assert spans > 10_000


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers(
    monkeypatch: pytest.MonkeyPatch, kernels: bool, number: float
) -> None:
    if not kernels:
        monkeypatch.setattr(chain, "maximising", lambda *_: None)
    torch.manual_seed(0)
    names = tags_of(["A", "B"], "BIOES")
    constraints = Constraints(*map(torch.from_numpy, allowed(names, "BIOES")))
    crf = CRF(len(names))
    lengths = LENGTHS.repeat(20)
    emissions = torch.randn(len(lengths), 20, len(names))
    emissions[torch.rand_like(emissions) < 0.05] = number
    tags = crf.decode(emissions, lengths, constraints)
    assert not invalid(tags, lengths, names, "BIOES")
    several, _ = n_best(crf, emissions, lengths, 2, constraints)
    assert not invalid(several[:, 1], lengths, names, "BIOES")
