from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from spacy_transfer.corpus import docbin
from spacy_transfer.corpus.docbin import docbin_writer
from spacy_transfer.corpus.errors import CorpusError

NLP = spacy.blank("en")


def write(output: Path, count: int) -> None:
    with docbin_writer(output, "ents") as add:
        for n in range(count):
            add(NLP(f"number {n}"))


def texts(path: Path) -> list[str]:
    return [doc.text for doc in DocBin().from_disk(path).get_docs(Vocab())]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docbin, "SHARD", 3)


def test_a_file_in_new_folders(tmp_path: Path) -> None:
    output = tmp_path / "new" / "er" / "out.spacy"
    write(output, 2)
    assert texts(output) == ["number 0", "number 1"]
    assert [path.name for path in output.parent.iterdir()] == ["out.spacy"]


@pytest.mark.usefixtures("small_shards")
def test_a_folder_of_shards(tmp_path: Path) -> None:
    output = tmp_path / "out"
    write(output, 7)
    assert sorted(tree(output)) == ["0000.spacy", "0001.spacy", "0002.spacy"]
    assert texts(output / "0001.spacy") == ["number 3", "number 4", "number 5"]
    assert texts(output / "0002.spacy") == ["number 6"]
    write(output, 3)
    assert sorted(tree(tmp_path)) == ["out/0000.spacy"]


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("name", ["out.spacy", "out", "new/er/out.spacy", "new/er/out"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_stays_of_what_breaks_off(
    tmp_path: Path, name: str, error: type[BaseException]
) -> None:
    def fail() -> None:
        with docbin_writer(tmp_path / name, "ents") as add:
            for n in range(4):
                add(NLP(f"number {n}"))
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []

    write(tmp_path / name, 5)
    before = tree(tmp_path)
    with pytest.raises(error):
        fail()
    assert tree(tmp_path) == before


def test_what_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "dir.spacy").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    before = tree(tmp_path)
    for name, message in [
        ("dir.spacy", "is a folder: expected a file"),
        ("file", "is a file: expected a folder"),
        ("home", "holds thesis.txt: expected a folder of shards"),
        ("file/out.spacy", "file is a file: expected a folder"),
        ("file/new/out", "file is a file: expected a folder"),
    ]:
        with pytest.raises(CorpusError, match=message):
            write(tmp_path / name, 1)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["out.spacy", "out"])
def test_a_full_disk(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(docs: DocBin, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(DocBin, "to_disk", full)
    with pytest.raises(CorpusError, match="cannot be written: No space left on device"):
        write(tmp_path / name, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layer", ["ents", "tag", "spans:a"])
def test_only_the_attributes_of_the_layer_are_kept(tmp_path: Path, layer: str) -> None:
    doc = Doc(NLP.vocab, words=["Rio", "!"], tags=["NNP", "."], ents=["B-LOC", "O"])
    doc.spans["a"] = [doc[0:2]]
    with docbin_writer(tmp_path / "out.spacy", layer) as add:
        add(doc)
    (copy,) = DocBin().from_disk(tmp_path / "out.spacy").get_docs(Vocab())
    assert copy.has_unknown_spaces
    assert [token.tag_ for token in copy] == (["NNP", "."] if layer == "tag" else ["", ""])
    assert [span.label_ for span in copy.ents] == (["LOC"] if layer == "ents" else [])
    assert copy.has_annotation("ENT_IOB") == (layer == "ents")
