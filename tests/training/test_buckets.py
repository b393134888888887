from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from spacy_transfer.training.buckets import by_length, equal_parts

NLP = spacy.blank("en")


def sentences(*lengths: int) -> list[Example]:
    docs = [Doc(NLP.vocab, words=["a"] * length) for length in lengths]
    return [Example(doc, doc) for doc in docs]


def lengths(examples: list[Example]) -> list[int]:
    return [len(example) for example in examples]


def test_parts_have_equal_numbers_of_tokens() -> None:
    parts = equal_parts(sentences(*[2] * 30, *[6] * 20, *[20] * 3), 6)
    assert [sum(lengths(part)) for part in parts] == pytest.approx([40] * 6, abs=6)
    assert [len(part) for part in parts] == [20, 13, 7, 7, 4, 2]
    assert lengths([e for part in parts for e in part]) == [2] * 30 + [6] * 20 + [20] * 3


def test_an_example_longer_than_a_part_is_alone() -> None:
    assert [lengths(part) for part in equal_parts(sentences(1, 1, 1, 1, 50), 3)] == [[1] * 4, [50]]
    assert [lengths(part) for part in equal_parts(sentences(7), 1)] == [[7]]


def test_batches_are_of_like_length_and_equal_token_counts() -> None:
    rng = random.Random(0)
    corpus = sentences(*(rng.randint(2, 40) for _ in range(500)))
    batches = [batch for _, batch in by_length(((0, example) for example in corpus), 10, 50, "0")]
    assert len(batches) == 50
    assert sorted(map(id, (e for batch in batches for e in batch))) == sorted(map(id, corpus))
    tokens = sum(lengths(corpus)) / 50
    for batch in batches:
        assert sum(lengths(batch)) == pytest.approx(tokens, abs=40)
        assert max(lengths(batch)) <= 1.5 * min(lengths(batch)) + 4
    first = [min(lengths(batch)) for batch in batches]
    assert first != sorted(first)


def test_the_last_window_of_an_epoch_has_batches_of_the_same_size() -> None:
    stream = ((0, example) for example in sentences(*[5] * 27))
    sizes = [len(batch) for _, batch in by_length(stream, 5, 4, "0")]
    assert sizes == [5, 5, 5, 5, 7]
    stream = ((0, example) for example in sentences(5, 5))
    assert [len(batch) for _, batch in by_length(stream, 5, 4, "0")] == [2]


def test_epochs_stay_apart_and_differ() -> None:
    corpus = sentences(*range(1, 24))
    stream = ((epoch, example) for epoch in range(3) for example in corpus)
    found = list(by_length(stream, 2, 5, "0"))
    assert [epoch for epoch, _ in found] == sorted(epoch for epoch, _ in found)
    passes = []
    for epoch in range(3):
        seen = [example for of, batch in found if of == epoch for example in batch]
        assert sorted(lengths(seen)) == list(range(1, 24))
        passes.append(lengths(seen))
    assert passes[0] != passes[1] != passes[2]


def test_the_draws_follow_the_seed_and_nothing_else() -> None:
    corpus = sentences(*range(1, 41))

    def drawn(seed: str) -> list[list[int]]:
        random.seed(len(runs))
        runs.append(
            [lengths(batch) for _, batch in by_length([(1, e) for e in corpus], 4, 5, seed)]
        )
        return runs[-1]

    runs: list[list[list[int]]] = []
    assert drawn("a") == drawn("a") != drawn("b")


def test_a_window_at_a_time_is_read() -> None:
    read: list[int] = []

    def stream() -> Iterator[tuple[int, Example]]:
        for number, example in enumerate(sentences(*[3] * 100)):
            read.append(number)
            yield 0, example

    batches = by_length(stream(), 2, 5, "0")
    assert len(list(islice(batches, 5))) == 5
    assert len(read) == 10
