"""Posteriors of segments against the sum over all tag sequences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from spacy_transfer.corpus.schemes import TagScheme, allowed, barred, decode, tags_of
from spacy_transfer.nn.batch import Segments
from spacy_transfer.nn.crf import CRF, Constraints
from spacy_transfer.nn.kernels.chain import summing
from spacy_transfer.nn.segments import segment_posteriors
from tests.nn.brute_force import Chain

LENGTHS = [5, 1, 4, 2, 3]
Found = dict[tuple[int, int, str], float]


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def _kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPACY_TRANSFER_KERNEL", "off" if request.param == "torch" else "on")
        if request.param == "compiled" and summing(*[torch.zeros(1)] * 4) is None:
            pytest.skip("the compiled loops need numba")
        yield


def spans(tags: Sequence[str], plain: bool) -> list[tuple[int, int, str]]:
    return [(i, i + 1, tag) for i, tag in enumerate(tags)] if plain else decode(tags)


def of_all_sequences(chain: Chain, names: list[str], plain: bool) -> Found:
    """The share of each span in all sequences, by probability."""
    total: Found = {}
    for path, probability in chain.distribution().items():
        if probability:
            for span in spans([names[tag] for tag in path], plain):
                total[span] = total.get(span, 0.0) + probability
    return total


def setting(scheme: TagScheme | None) -> tuple[list[str], Segments, Constraints]:
    names = ["A", "B", "C"] if scheme is None else tags_of(["PER", "LOC"], scheme)
    rules = allowed(names, scheme)
    parts = [name.partition("-") for name in names]
    continues = [
        [scheme is not None and a in "BI" and b in "IE" and x == y != "" for b, _, y in parts]
        for a, _, x in parts
    ]
    counted = [name != "O" for name in names]
    constraints = Constraints(*map(torch.from_numpy, rules))
    return names, Segments(torch.tensor(counted), torch.tensor(continues)), constraints


def random_crf(labels: int, scale: float) -> tuple[CRF, Tensor]:
    crf = CRF(labels).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return crf, torch.randn(len(LENGTHS), 6, labels, dtype=torch.float64) * scale


@pytest.mark.parametrize(("scale", "some_barred"), [(0.3, False), (3.0, False), (1.0, True)])
@pytest.mark.parametrize("scheme", ["BIOES", "BIO", None])
def test_posteriors_are_sums_over_all_sequences(
    scheme: TagScheme | None, scale: float, some_barred: bool
) -> None:
    names, segments, constraints = setting(scheme)
    seen = 0
    for _ in range(4):
        crf, emissions = random_crf(len(names), scale)
        if some_barred and scheme is not None:
            kinds = torch.randint(4, emissions.shape[:2]) * (torch.rand(emissions.shape[:2]) < 0.3)
            table = torch.from_numpy(barred(names, scheme))
            emissions = emissions.masked_fill(table[kinds], -torch.inf)
        lengths = torch.tensor(LENGTHS)
        tags = crf.decode(emissions, lengths, constraints)
        found = segment_posteriors(crf, emissions, tags, lengths, segments, constraints)
        scores = [
            torch.where(mask, score, -torch.inf)
            for mask, score in zip(constraints, (crf.start, crf.transitions, crf.end), strict=True)
        ]
        for row, length in enumerate(LENGTHS):
            chain = Chain.of(emissions[row, :length], *scores)
            expected = of_all_sequences(chain, names, scheme is None)
            path = [names[tag] for tag in tags[row, :length].tolist()]
            predicted = spans(path, scheme is None)
            values = found[row].tolist()
            for span in predicted:
                assert values[span[0]] == pytest.approx(expected[span], abs=1e-9)
            starts = {start for start, _, _ in predicted}
            assert not any(value for i, value in enumerate(values) if i not in starts)
            seen += len(predicted)
    assert seen > 20


@pytest.mark.parametrize("scheme", ["BIOES", "BIO"])
def test_every_span_of_a_short_sentence(scheme: TagScheme) -> None:
    """Of any valid tags, not the best alone: at the start, at the end, beside each other."""
    names, segments, constraints = setting(scheme)
    crf, emissions = random_crf(len(names), 1.0)
    lengths = torch.tensor([3])
    scores = [
        torch.where(mask, score, -torch.inf)
        for mask, score in zip(constraints, (crf.start, crf.transitions, crf.end), strict=True)
    ]
    chain = Chain.of(emissions[0, :3], *scores)
    expected = of_all_sequences(chain, names, False)
    shapes = set()
    for path, probability in chain.distribution().items():
        if not probability:
            continue
        tags = torch.tensor([path])
        found = segment_posteriors(crf, emissions[:1, :3], tags, lengths, segments, constraints)
        predicted = decode([names[tag] for tag in path])
        for span in predicted:
            assert found[0, span[0]].item() == pytest.approx(expected[span], abs=1e-9)
        shapes |= {(start, end) for start, end, _ in predicted}
        shapes |= {
            (a, b) for a, b in itertools.pairwise(predicted) if a[1] == b[0] and a[2] == b[2]
        }
    assert {(0, 1), (2, 3), (0, 3), (1, 3)} <= shapes
    assert any(isinstance(a, tuple) for a, _ in shapes)


def test_float32_of_a_long_sentence() -> None:
    names, segments, constraints = setting("BIO")
    torch.manual_seed(0)
    crf = CRF(len(names))
    emissions = torch.randn(1, 2000, len(names)) * 4
    lengths = torch.tensor([2000])
    tags = crf.decode(emissions, lengths, constraints)
    found = segment_posteriors(crf, emissions, tags, lengths, segments, constraints)
    exact = segment_posteriors(
        crf.double(), emissions.double(), tags, lengths, segments, constraints
    )
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-5)
