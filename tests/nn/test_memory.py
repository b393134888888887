from __future__ import annotations

import copy
import pickle
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from spacy_transfer.nn import memory as module
from spacy_transfer.nn.batch import Packed
from spacy_transfer.nn.memory import WordMemory
from tests.nn.packing import pack, unpack

WEIGHTS = [torch.ones(2, 3), torch.zeros(4)]


def words(keys: Sequence[int]) -> Packed:
    """A word of two characters for each key, both of them its key."""
    return pack([torch.tensor([key, key]) for key in keys])


def encode(characters: Packed) -> Tensor:
    """A word's vector: its character, twice as much, and three times."""
    ids = torch.stack([word[0] for word in unpack(characters)])
    return ids[:, None] * torch.tensor([1.0, 2.0, 3.0])


def expected(keys: Sequence[int]) -> list[list[float]]:
    return [[1.0 * key, 2.0 * key, 3.0 * key] for key in keys]


def test_only_new_words_are_encoded() -> None:
    memory, encoded = WordMemory(WEIGHTS, 3), []

    def record(characters: Packed) -> Tensor:
        encoded.append([int(word[0]) for word in unpack(characters)])
        return encode(characters)

    for keys in ([3, 1, 2], [5, 3, 4], [2, 5, 1, 3], [1]):
        found = memory.recall(keys, words(keys), record)
        assert found is not None
        assert found.tolist() == expected(keys)
    assert encoded == [[3, 1, 2], [5, 4]]


def test_words_beyond_its_capacity_find_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAPACITY", 3)
    memory = WordMemory(WEIGHTS, 3)
    assert memory.recall([1, 2], words([1, 2]), encode) is not None
    assert memory.recall([2, 3, 4], words([2, 3, 4]), encode) is None
    found = memory.recall([2, 1], words([2, 1]), encode)
    assert found is not None
    assert found.tolist() == expected([2, 1])


def add_to_data(weight: Tensor) -> None:
    weight.data.add_(1e-6)


def replace_data(weight: Tensor) -> None:
    weight.data = weight.data + 1


def to_double(weight: Tensor) -> None:
    weight.data = weight.data.double()


def to_nan(weight: Tensor) -> None:
    weight.data.fill_(float("nan"))


@pytest.mark.parametrize("change", [add_to_data, replace_data, to_double, to_nan])
def test_it_is_of_its_weights_until_they_change(change: Callable[[Tensor], None]) -> None:
    weights = [torch.nn.Parameter(weight.clone()) for weight in WEIGHTS]
    memory = WordMemory(list(weights), 3)
    assert memory.is_of([weight.detach().clone() for weight in weights])
    assert not memory.is_of(weights[:1])
    change(weights[1])
    assert not memory.is_of(list(weights))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_empty_and_of_no_weights(copied: Callable[[WordMemory], WordMemory]) -> None:
    memory = WordMemory(WEIGHTS, 3)
    memory.recall([1], words([1]), encode)
    assert not copied(memory).is_of(WEIGHTS)
    assert memory.is_of(WEIGHTS)


def test_threads_share_it() -> None:
    memory = WordMemory(WEIGHTS, 3)

    def slow(characters: Packed) -> Tensor:
        vectors = encode(characters)
        time.sleep(0.001)  # lets other threads look for the same words
        return vectors

    def read(seed: int) -> bool:
        keys = random.Random(seed).sample(range(1, 60), 20)
        found = memory.recall(keys, words(keys), slow)
        return found is not None and found.tolist() == expected(keys)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, range(60)))
