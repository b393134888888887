"""Suggested labels where the right ones are known by construction."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import pytest
from spacy.language import Language

from spacy_transfer.corpus.label_map import read_label_map
from spacy_transfer.corpus.labelled import LabelledText, Sentence
from spacy_transfer.corpus.matching import Match, match_labels, write_suggestions
from tests.conftest import LABEL_MAP, sentences
from tests.corpus.labelled import labelled


def pairs(target: LabelledText, source: LabelledText) -> dict[str, str]:
    return {match.target: match.source for match in match_labels(target, source) if match.suggested}


def test_strings() -> None:
    target = labelled("a/x c/x b/y", "a/x d/y e/y f/z", "g/w")
    source = labelled("A/X q b/Y D/Y e/X", "f f f/Y c/X g")
    by_target = {match.target: match for match in match_labels(target, source)}
    assert list(by_target) == ["x", "y", "w", "z"]
    # x = (a 1, c 1) and X = (a 1, c 1, e 1); y = (b 1, d 1, e 1) and Y = (b 1, d 1, f 1/3)
    assert by_target["x"].source == "X"
    assert by_target["x"].strings == pytest.approx(2 / sqrt(2 * 3))
    assert by_target["y"].source == "Y"
    assert by_target["y"].strings == pytest.approx(2 / sqrt(3 * (2 + 1 / 9)))
    assert (by_target["y"].found, by_target["y"].agreeing) == (3, ("b", "d"))
    assert by_target["w"].strings == 0.0  # the source has it, but not as a span
    assert by_target["w"].found == 1


def text_of(nlp: Language, task: str) -> LabelledText:
    found = [
        Sentence([t.text for t in doc], [(e.start, e.end, e.label_) for e in doc.ents], [])
        for doc in sentences(nlp, task, 30)
    ]
    return LabelledText(task, found)


def test_contexts_without_a_string_in_common(nlp: Language) -> None:
    target, source = text_of(nlp, "target"), text_of(nlp, "source")
    assert not set(target.strings) & set(source.strings)
    matches = match_labels(target, source)
    assert {match.target: match.source for match in matches if match.suggested} == LABEL_MAP
    assert {(match.found, match.strings) for match in matches} == {(0, 0.0)}


def test_contexts_of_a_single_label_are_told_by_words_outside() -> None:
    target = labelled("he went to Rome/place today")
    like, unlike = labelled("we fly to Oslo/LOC today"), labelled("p53/GENE binds")
    [near], [far] = match_labels(target, like), match_labels(target, unlike)
    assert near.contexts > 0.2 > far.contexts


def test_what_is_found_without_a_label_is_no_match() -> None:
    target = labelled("Ann/person likes Moby_Dick/book", "Bo/person read Emma/book")
    source = labelled("Ann/PER is here", "Moby Dick", "Bo/PER is far", "Emma")
    assert pairs(target, source) == {"person": "PER"}


def test_one_name_is_one_label() -> None:
    target, source = labelled("a/X b/Y"), labelled("a/Y c/X")
    assert pairs(target, source) == {"X": "X", "Y": "Y"}


def test_score() -> None:
    """Six strings weigh twice as much as contexts, none leaves it to these."""
    assert Match("x", "y", 6, (), 0.5, 0.2).score == pytest.approx((2 * 0.5 + 0.2) / 3)
    assert Match("x", "y", 0, (), 0.0, 0.2).score == pytest.approx(0.2)
    assert [Match("x", "y", 0, (), 0.0, cosine).suggested for cosine in (0.19, 0.21)] == [
        False,
        True,
    ]
    assert Match("x", "x", 0, (), 0.0, 0.0).suggested


def test_the_file_is_a_label_map(tmp_path: Path) -> None:
    matches = [
        Match("person", "PER", 4, ("ann", "bo", "cy", "di"), 0.9, 0.5),
        Match("#", "#", 1, ("#",), 1.0, 0.5),  # a tag of the Penn Treebank
        Match("book", "MISC", 2, (), 0.1, 0.1),
    ]
    path = tmp_path / "maps" / "news.tsv"
    write_suggestions(matches, path, "tweets", "news")
    assert read_label_map(path) == {"person": "PER", "#": "#"}
    text = path.read_text(encoding="utf-8")
    assert "tweets from news" in text
    assert (
        "# score 0.73: of 4 strings in both, 4 agree (ann, bo, cy); strings 0.90, contexts 0.50\n"
        "person\tPER\n" in text
    )
    path.write_text(text.replace("#book", "book"), encoding="utf-8")
    assert read_label_map(path)["book"] == "MISC"
    assert [file.name for file in path.parent.iterdir()] == ["news.tsv"]


def test_nothing_to_suggest(tmp_path: Path) -> None:
    path = tmp_path / "maps" / "news.tsv"
    with pytest.raises(ValueError, match=r"news.tsv: no label of news is like one of tweets"):
        write_suggestions([Match("book", "MISC", 2, (), 0.1, 0.1)], path, "tweets", "news")
    assert not path.parent.exists()
