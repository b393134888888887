"""What is known of a corpus in memory, and that it is read from any format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.labelled import NOTHING, read_labelled_text
from tests.corpus.labelled import labelled

COLUMNS = "New\tB-LOC\nYork\tI-LOC\nis\tO\nmay\t-\n\nAnn\tB-PER\n"


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_counts() -> None:
    text = labelled("New_York/LOC is new york", "Ann/PER met ANN/PER in NEW_York/ORG")
    assert text.words["york"] == text.words["new"] == 3
    assert list(text.labels.items()) == [("PER", 2), ("LOC", 1), ("ORG", 1)]
    assert text.strings == {"newyork": {"LOC": 1, "ORG": 1}, "ann": {"PER": 2}}


def test_occurrences() -> None:
    text = labelled(
        "New_York/LOC and new york and New york/LOC",  # the last one has other boundaries
        "new_york_times/ORG new york/? NewYork",  # so has the first, and the second is unknown
    )
    assert text.occurrences(["newyork", "york", "rome"]) == {
        "newyork": {"LOC": 1, NOTHING: 2},
        "york": {"LOC": 1, NOTHING: 1},
    }


def test_any_format(tmp_path: Path) -> None:
    columns = read_labelled_text(put(tmp_path / "a.conll", COLUMNS), "ents")
    assert columns.name == str(tmp_path / "a.conll")
    assert columns.sentences == [
        (["New", "York", "is", "may"], [(0, 2, "LOC")], [3]),
        (["Ann"], [(0, 1, "PER")], []),
    ]
    record = {"text": "Ann left", "spans": [{"start": 0, "end": 3, "label": "PER"}]}
    lines = read_labelled_text(put(tmp_path / "a.jsonl", json.dumps(record)), "spans:x", name="a")
    assert (lines.name, lines.sentences) == ("a", [(["Ann", "left"], [(0, 1, "PER")], [])])

    doc = Doc(Vocab(), words=["Ann", "left"])
    doc.set_ents([Span(doc, 0, 1, "PER")])
    folder = tmp_path / "folder"
    folder.mkdir()
    DocBin(docs=[doc, Doc(doc.vocab, words=["no", "labels"])]).to_disk(folder / "a.spacy")
    assert read_labelled_text(folder, "ents").sentences == lines.sentences

    tags = read_labelled_text(put(tmp_path / "tags.tsv", "Ann\tNNP\nleft\tVBD\n"), "tag")
    assert tags.sentences == [(["Ann", "left"], [(0, 1, "NNP"), (1, 2, "VBD")], [])]


def test_a_tag_that_is_not_known(tmp_path: Path) -> None:
    doc = Doc(Vocab(), words=["Ann", "left"], tags=["NNP", ""])
    DocBin(["TAG"], docs=[doc]).to_disk(tmp_path / "a.spacy")
    [sentence] = read_labelled_text(tmp_path / "a.spacy", "tag").sentences
    assert (sentence.spans, sentence.unknown) == ([(0, 1, "NNP")], [1])


def test_a_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(50)]
    path = put(tmp_path / "a.conll", "".join(f"{word}\tB-X\n\n" for word in words))

    def drawn(limit: int, seed: int) -> list[str]:
        return [
            s.words[0] for s in read_labelled_text(path, "ents", limit=limit, seed=seed).sentences
        ]

    assert drawn(0, 1) == drawn(50, 1) == drawn(60, 1) == words
    assert drawn(10, 1) == drawn(10, 1) == sorted(drawn(10, 1), key=words.index)
    assert len(drawn(10, 1)) == 10
    assert drawn(10, 1) != drawn(10, 2)


@pytest.mark.parametrize(
    ("name", "content", "layer", "message"),
    [
        ("a.conll", "", "ents", "a.conll: expected sentences with ents, found none"),
        ("a.conll", "a\tO\n\nb\tO\n", "ents", "found nothing annotated in 2 sentences"),
        ("a.conll", "a\tNN\n", "ents", "a.conll:1: tag 'NN' belongs to no tag scheme"),
        ("a.jsonl", "{}", "tag", "JSON lines hold spans"),
        ("none", None, "ents", "none: cannot be read: No such file"),
    ],
)
def test_bad_input(
    tmp_path: Path, name: str, content: str | None, layer: str, message: str
) -> None:
    if content is not None:
        put(tmp_path / name, content)
    with pytest.raises(CorpusError, match=message):
        read_labelled_text(tmp_path / name, layer)
