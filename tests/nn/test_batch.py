from __future__ import annotations

import random

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from spacy_transfer.nn.batch import Packed, take
from tests.nn.packing import pack, unpack

LENGTHS = [[1], [5], [3, 3, 3], [7, 4, 4, 1], [6, 5, 4, 3, 2, 1, 1, 1]]


def numbered(lengths: list[int]) -> list[torch.Tensor]:
    return list(torch.split(torch.arange(1, sum(lengths) + 1), lengths))


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_layout_is_that_of_torch(lengths: list[int]) -> None:
    sequences = numbered(lengths)
    padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    expected = pack_padded_sequence(padded, torch.tensor(lengths), batch_first=True)
    packed = pack(sequences)
    assert packed.data.tolist() == expected.data.tolist()
    assert packed.batch_sizes.tolist() == expected.batch_sizes.tolist()
    assert [s.tolist() for s in unpack(packed)] == [s.tolist() for s in sequences]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_index_finds_any_sequences_in_any_order(lengths: list[int]) -> None:
    sequences = numbered(lengths)
    packed = pack(sequences)
    rng = random.Random(0)
    for _ in range(10):
        ranks = rng.sample(range(len(lengths)), rng.randint(1, len(lengths)))
        index, found = packed.index(torch.tensor(ranks))
        assert found.tolist() == [lengths[rank] for rank in ranks]
        assert index.shape == (len(ranks), max(found.tolist()))
        for row, rank in zip(index, ranks, strict=True):
            assert packed.data[row[: lengths[rank]]].tolist() == sequences[rank].tolist()
            assert not row[lengths[rank] :].any()


def test_other_items_keep_the_layout() -> None:
    packed = pack(numbered([3, 2]))
    other = packed.with_data(packed.data * 10)
    assert isinstance(other, Packed)
    assert other.batch_sizes is packed.batch_sizes
    assert [s.tolist() for s in unpack(other)] == [[10, 20, 30], [40, 50]]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_selected_sequences_keep_their_order(lengths: list[int]) -> None:
    sequences = numbered(lengths)
    rng = random.Random(0)
    for _ in range(10):
        ranks = sorted(rng.sample(range(len(lengths)), rng.randint(1, len(lengths))))
        expected = pack([sequences[rank] for rank in ranks])
        found = pack(sequences).select(ranks)
        assert found.data.tolist() == expected.data.tolist()
        assert found.batch_sizes.tolist() == expected.batch_sizes.tolist()


def test_rows_that_are_taken_often_have_one_gradient_whatever_the_threads() -> None:
    threads = torch.get_num_threads()
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(5, (4000,), generator=generator)
    weights = torch.randn(4000, 64, generator=generator)
    gradients = []
    try:
        torch.set_num_threads(4)
        for _ in range(20):
            table = torch.zeros(5, 64, requires_grad=True)
            taken = take(table, index)
            assert torch.equal(taken, table[index])
            (taken * weights).sum().backward()
            gradients.append(table.grad)
    finally:
        torch.set_num_threads(threads)
    expected = torch.zeros(5, 64).index_add(0, index, weights)
    torch.testing.assert_close(gradients[0], expected)
    for gradient in gradients[1:]:
        assert torch.equal(gradient, gradients[0])
