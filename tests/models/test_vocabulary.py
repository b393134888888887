from __future__ import annotations

import numpy as np
import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vectors import Vectors

from spacy_transfer.models import vocabulary as module
from spacy_transfer.models.vocabulary import (
    Normalizer,
    Vocabulary,
    VocabularyBuilder,
    initial_vectors,
    vector_row,
)
from spacy_transfer.nn.batch import TokenBatch
from tests.conftest import blank
from tests.nn.packing import unpack

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("lower", "zero_digits", "expected"),
    [
        (True, True, "room 00-b٠"),
        (True, False, "room 12-b٣"),
        (False, True, "Room 00-B٠"),
        (False, False, "Room 12-B٣"),
    ],
)
def test_normalizer(lower: bool, zero_digits: bool, expected: str) -> None:
    found = Normalizer(lower, zero_digits)("Room 12-B٣")
    assert found == expected.replace("٠", "0")


def with_vectors(nlp: Language, *words: str) -> Language:
    """The n-th word has a vector of n."""
    for number, word in enumerate(words, start=1):
        nlp.vocab.set_vector(word, np.full(2, number, dtype="float32"))
    return nlp


def test_vector_is_looked_up_raw_then_lower_then_normalised(nlp: Language) -> None:
    vectors = with_vectors(nlp, "Room1", "room1", "room0", "b").vocab.vectors
    normalize = Normalizer()

    def value(word: str) -> float | None:
        row = vector_row(vectors, word, normalize(word))
        return None if row < 0 else float(vectors.data[row, 0])

    assert [value(word) for word in ("Room1", "ROOM1", "Room2", "B", "c")] == [1, 2, 3, 4, None]
    assert vector_row(Vectors(), "Room1", "room0") == -1


def make_docs(nlp: Language, *texts: str) -> list[Doc]:
    return [Doc(nlp.vocab, words=text.split()) for text in texts]


def make_vocabulary() -> Vocabulary:
    return Vocabulary(["ann", "room", "00"], "Aano", Normalizer())


Token = tuple[list[int], int, list[float]]


def read(tokens: TokenBatch, ranks: torch.Tensor) -> list[list[Token]]:
    """Each Doc's tokens as character ids, row and static vector."""
    characters = [ids.tolist() for ids in unpack(tokens.characters)]
    static = dict(zip(tokens.static_index.tolist(), tokens.static.tolist(), strict=True))
    sentences = unpack(tokens.words)
    return [
        [(characters[i], int(tokens.rows[i]), static.get(i, [])) for i in sentences[rank].tolist()]
        for rank in ranks.tolist()
    ]


def test_batch_gives_every_token_its_ids(nlp: Language) -> None:
    with_vectors(nlp, "rome", "ann")
    docs = make_docs(nlp, "Ann", "room 12 Ann Rome", "ANN x", "oo na")
    found = read(*make_vocabulary().batch(docs, CPU))
    ann: Token = ([1, 3, 3], 1, [])
    assert found == [
        [ann],
        [([0, 4, 4, 0], 2, []), ([0, 0], 3, []), ann, ([0, 4, 0, 0], 0, [1.0, 1.0])],
        [([1, 0, 0], 1, []), ([0], 0, [])],
        [([4, 4], 0, []), ([3, 2], 0, [])],
    ]


def test_batch_holds_each_distinct_word_once(nlp: Language) -> None:
    docs = make_docs(nlp, "a bb a", "bb a ccc bb", "A")
    tokens, _ = make_vocabulary().batch(docs, CPU)
    assert len(tokens.rows) == 4
    assert [len(word) for word in unpack(tokens.characters)] == [3, 2, 1, 1]


def test_keys_are_those_of_the_words_in_every_batch(nlp: Language) -> None:
    keys: dict[str, int] = {}
    for text in ("a bb a", "room bb Ann", "ann a"):
        tokens, _ = make_vocabulary().batch(make_docs(nlp, text), CPU)
        assert tokens.keys is not None
        words = sorted(set(text.split()), key=lambda word: -len(word))
        assert len(tokens.keys) == len(words)
        for key in tokens.keys:
            assert keys.setdefault(nlp.vocab.strings[key], key) == key
        assert [len(nlp.vocab.strings[key]) for key in tokens.keys] == [len(w) for w in words]
    assert keys.keys() == {"a", "bb", "room", "Ann", "ann"}


def test_a_trained_word_has_its_row_and_no_static_vector(nlp: Language) -> None:
    with_vectors(nlp, "ann")
    tokens, _ = make_vocabulary().batch(make_docs(nlp, "ann room"), CPU)
    assert sorted(tokens.rows.tolist()) == [1, 2]
    assert len(tokens.static_index) == 0


def test_one_vocabulary_serves_pipelines_with_other_vectors() -> None:
    vocabulary = make_vocabulary()
    one, two = with_vectors(blank(), "rome", "x"), with_vectors(blank(), "x", "rome")
    none = blank()
    expected = {one: [1.0, 1.0], two: [2.0, 2.0], none: []}
    for nlp in (one, two, none, two, one):
        (((_, row, static),),) = read(*vocabulary.batch(make_docs(nlp, "Rome"), CPU))
        assert (row, static) == (0, expected[nlp])


def test_vectors_that_come_later_are_seen(nlp: Language) -> None:
    vocabulary = make_vocabulary()
    assert read(*vocabulary.batch(make_docs(nlp, "Rome"), CPU))[0][0][2] == []
    with_vectors(nlp, "rome")
    assert read(*vocabulary.batch(make_docs(nlp, "Rome"), CPU))[0][0][2] == [1.0, 1.0]


def test_words_are_remembered_up_to_a_limit(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CACHE_LIMIT", 2)
    vocabulary, texts = make_vocabulary(), ("ann room 12", "room x y", "ann", "x")
    expected = [read(*make_vocabulary().batch(make_docs(nlp, text), CPU)) for text in texts]
    for _ in range(2):
        for text, want in zip(texts, expected, strict=True):
            assert read(*vocabulary.batch(make_docs(nlp, text), CPU)) == want
            assert len(vocabulary._cache) <= 2 + 3


def test_words_are_taken_apart_once(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = make_vocabulary()
    first = read(*vocabulary.batch(make_docs(nlp, "ann Rome"), CPU))

    def never(*_: object) -> None:
        raise AssertionError("looked up again")

    monkeypatch.setattr(vocabulary, "_entry", never)
    assert read(*vocabulary.batch(make_docs(nlp, "ann Rome"), CPU)) == first


def test_builder_counts_words_as_they_are_looked_up(nlp: Language) -> None:
    builder = VocabularyBuilder(Normalizer())
    for doc in make_docs(nlp, "Ann met ann 12", "ANN 34"):
        builder.add(doc)
    assert builder.words == {"ann": 3, "met": 1, "00": 2}
    assert builder.surface == {"ann": "Ann", "met": "met", "00": "12"}
    assert builder.characters == set("Anmetan1234N")


def test_initial_vectors(nlp: Language) -> None:
    vectors = with_vectors(nlp, "Ann", "ann", "12").vocab.vectors
    surface = {"ann": "Ann", "met": "met", "00": "12"}
    positions, values = initial_vectors(["met", "ann", "00"], surface, vectors)
    assert positions.tolist() == [1, 2]
    assert values.tolist() == [[1.0, 1.0], [3.0, 3.0]]
    positions, values = initial_vectors(["met"], surface, Vectors())
    assert len(positions) == len(values) == 0
