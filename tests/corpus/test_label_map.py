from __future__ import annotations

import re
from pathlib import Path

import pytest

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.label_map import (
    check_label_map,
    complete_map,
    matched_labels,
    read_label_map,
)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "map.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_pairs(tmp_path: Path) -> None:
    text = "\ufeff# a comment\n\ngeo-loc\tLOC\r\nperson\tPER\n city of birth \t LOC\nкраїна\tLOC"
    pairs = read_label_map(write(tmp_path, text))
    assert pairs == {"geo-loc": "LOC", "person": "PER", "city of birth": "LOC", "країна": "LOC"}
    assert list(pairs.lines.values()) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("person PER\n", 1, "expected `target label<TAB>source label`"),
        ("# x\nperson\tPER\tx\n", 2, "expected `target label<TAB>source label`"),
        ("person\t\n", 1, "expected `target label<TAB>source label`"),
        ("person\tPER\n\nperson\tLOC\n", 3, "'person' is already mapped to 'PER' in line 1"),
        (b"person\tPER\nm\xfcsic\tMISC\n", 2, "expected UTF-8 text"),
        ("# nothing\n", None, "found none"),
    ],
)
def test_bad_lines(tmp_path: Path, text: str | bytes, line: int | None, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(CorpusError) as error:
        read_label_map(path)
    assert str(error.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert message in str(error.value)


def test_equal_names_match_in_the_target_order() -> None:
    assert matched_labels(["ORG", "tvshow", "LOC"], ["LOC", "MISC", "ORG"]) == [
        ("ORG", "ORG"),
        ("LOC", "LOC"),
    ]
    assert matched_labels(["a"], ["b"]) == []


def test_a_map_goes_before_equal_names(tmp_path: Path) -> None:
    pairs = read_label_map(write(tmp_path, "person\tPER\nactor\tPER\nMISC\tPER\nORG\tOTHER\n"))
    labels = (["LOC", "actor", "MISC", "ORG", "person"], ["PER", "LOC", "MISC", "ORG"])
    matched = [("LOC", "LOC"), ("actor", "PER"), ("MISC", "PER"), ("person", "PER")]
    assert matched_labels(*labels, pairs) == matched
    assert matched_labels(*labels, dict(pairs)) == matched


def test_a_source_label_that_does_not_exist(tmp_path: Path) -> None:
    path = write(tmp_path, "# swapped\nperson\tPER\ngeo-loc\tLOK\n")
    message = f"{path}:3: 'LOK' is not a label of the source: expected one of LOC, PER"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_label_map(read_label_map(path), ["person", "geo-loc"], ["PER", "LOC"])
    with pytest.raises(ValueError, match=r"^label map, 'person' -> 'X': 'X' is not a label"):
        check_label_map({"person": "X"}, ["person"], ["PER"])


def test_a_target_label_that_the_sample_lacks_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "person\tPER\ntvshow\tMISC\n")
    pairs = read_label_map(path)
    with pytest.warns(UserWarning, match=r"map\.tsv:2: 'tvshow' is not a label of the target"):
        check_label_map(pairs, ["person"], ["PER", "MISC"])
    assert matched_labels(["person"], ["PER", "MISC"], pairs) == [("person", "PER")]
    # Another source may have the label.
    assert matched_labels(["person", "tvshow"], ["MISC"], pairs) == [("tvshow", "MISC")]


def test_a_complete_map_has_the_most_frequent_target_label_first(tmp_path: Path) -> None:
    pairs = read_label_map(write(tmp_path, "film\tMISC\nbook\tMISC\nman\tPER\ngame\tMISC\n"))
    for counts, order in (
        ({"book": 0, "film": 0, "game": 0, "man": 0}, ["film", "book", "man", "game"]),
        ({"book": 2, "film": 1, "game": 2, "man": 0}, ["book", "game", "film", "man"]),
    ):
        complete = complete_map(counts, ["PER", "MISC"], pairs)
        assert complete == pairs
        assert list(complete) == order


def test_missing_labels_take_the_default(tmp_path: Path) -> None:
    pairs = read_label_map(write(tmp_path, "man\tPER\n"))
    counts = {"book": 1, "film": 3, "man": 2}
    assert complete_map(counts, ["PER", "O"], pairs, "O") == {
        "man": "PER",
        "film": "O",
        "book": "O",
    }
    assert complete_map({"PER": 1, "book": 9}, ["PER"], None, "PER") == {
        "book": "PER",
        "PER": "PER",
    }
    assert complete_map({"PER": 1}, ["PER", "LOC"], None) == {"PER": "PER"}


def test_a_union_keeps_what_matches_nothing(tmp_path: Path) -> None:
    pairs = read_label_map(write(tmp_path, "(\t-LRB-\n"))
    counts = {"(": 3, "NN": 9, "USR": 4}
    complete = complete_map(counts, ["-LRB-", "NN"], pairs, union=True)
    assert complete == {"NN": "NN", "USR": "USR", "(": "-LRB-"}
    assert complete_map(counts, ["NN"], None, union=True) == {label: label for label in counts}
    both = complete_map({"GPE": 5, "LOC": 2}, ["LOC"], {"GPE": "LOC"}, union=True)
    assert both == {"GPE": "LOC", "LOC": "LOC"}
    with pytest.raises(ValueError, match="either a default_label or union = true; found both"):
        complete_map(counts, ["NN"], None, "NN", union=True)


def test_missing_labels_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "man\tPER\n")
    counts = dict.fromkeys(["book", "film", "man"], 1)
    with pytest.raises(
        ValueError, match=r"no source label for 'book', 'film': .*default_label"
    ) as e:
        complete_map(counts, ["PER"], read_label_map(path))
    assert str(e.value).startswith(f"{path}: ")
    with pytest.raises(ValueError, match=r"^without a label map, equal names: no source label for"):
        complete_map(counts, ["PER", "man"], None)
    with pytest.raises(ValueError, match=r"default_label 'O' is not a label of the source: .*PER$"):
        complete_map(counts, ["PER"], read_label_map(path), "O")
