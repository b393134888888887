from __future__ import annotations

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from spacy_transfer.models.gazetteer import Gazetteer

VOCAB = spacy.blank("xx").vocab
words = st.lists(st.sampled_from("abcA"), min_size=1, max_size=4)
lists = st.dictionaries(st.sampled_from(["x", "y", "z"]), st.lists(words, max_size=6), min_size=1)


def positions(of: Gazetteer, text: list[str]) -> dict[str, str]:
    """For each list a letter a token: its position in a phrase, `-` outside."""
    found = of.features(Doc(VOCAB, words=text)).reshape(len(text), -1, 4)
    assert found.sum(axis=2).max(initial=0) <= 1
    letters = np.concatenate([1 - found.sum(axis=2, keepdims=True), found], axis=2).argmax(axis=2)
    return {
        name: "".join("-SBIE"[i] for i in column)
        for name, column in zip(of.lists, letters.T, strict=True)
    }


def by_hand(phrases: list[list[str]], text: list[str]) -> str:
    """Leftmost, then longest, without overlap."""
    letters = ""
    while len(letters) < len(text):
        start = len(letters)
        fits = [len(p) for p in phrases if text[start : start + len(p)] == p]
        length = max(fits, default=0)
        letters += {0: "-", 1: "S"}.get(length, "B" + "I" * (length - 2) + "E")
    return letters


@given(lists, st.lists(st.sampled_from("abcA"), min_size=1, max_size=12))
def test_finds_what_a_plain_search_finds(of: dict[str, list[list[str]]], text: list[str]) -> None:
    exact = positions(Gazetteer.of(of, lower=False), text)
    assert exact == {name: by_hand(phrases, text) for name, phrases in of.items()}
    folded = positions(Gazetteer.of(of, lower=True), text)
    small = [[word.lower() for word in text]]
    assert folded == {
        name: by_hand([[word.lower() for word in phrase] for phrase in phrases], *small)
        for name, phrases in of.items()
    }


def test_longest_first_and_lists_apart() -> None:
    of = {"place": [["New", "York"], ["New", "York", "City", "Hall"]], "word": [["York"]]}
    text = ["New", "York", "City", "Hall", "is", "in", "New", "York"]
    assert positions(Gazetteer.of(of, lower=False), text) == {
        "place": "BIIE--BE",
        "word": "-S-----S",
    }


def test_state_makes_the_same_gazetteer() -> None:
    of = Gazetteer.of({"x": [["a", "b"], ["c"]], "y": [["c"], ["a"]]}, lower=False)
    again = Gazetteer(
        of.lists, of.lower, **{name: tensor.numpy() for name, tensor in of.state().items()}
    )
    text = list("abcabca")
    assert positions(again, text) == positions(of, text) == {"x": "BESBES-", "y": "S-SS-SS"}


def test_bits_hold_62_lists() -> None:
    of = Gazetteer.of({str(n): [["a"]] if n % 3 else [["b"]] for n in range(62)}, lower=False)
    assert of.width == 4 * 62
    assert list(positions(of, ["a"]).values()) == ["-SS"[n % 3] for n in range(62)]
    with pytest.raises(ValueError, match="at most 62 gazetteers; found 63"):
        Gazetteer.of({str(n): [["a"]] for n in range(63)}, lower=False)
