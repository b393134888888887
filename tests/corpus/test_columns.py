from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from spacy.tokens import Doc

from spacy_transfer.corpus.columns import read_columns
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.schemes import SchemeDetector


def read(
    path: Path,
    text: str | bytes,
    layer: str = "ents",
    columns: tuple[int, int] = (0, -1),
    skipped: Counter[str] | None = None,
) -> list[Doc]:
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    skipped = Counter() if skipped is None else skipped
    return list(read_columns(path, layer, SchemeDetector(path), skipped, *columns))


def words(docs: Sequence[Doc]) -> list[list[str]]:
    return [[token.text for token in doc] for doc in docs]


def entities(docs: Sequence[Doc]) -> list[list[tuple[int, int, str]]]:
    return [[(span.start, span.end, span.label_) for span in doc.ents] for doc in docs]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corpus.tsv"


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_one_document_a_sentence(tmp_path: Path, name: str) -> None:
    docs = read(tmp_path / name, "Ann\tB-PER\nLee\tI-PER\nran\tO\n\nIn\tO\nRio\tB-geo-loc\n")
    assert words(docs) == [["Ann", "Lee", "ran"], ["In", "Rio"]]
    assert entities(docs) == [[(0, 2, "PER")], [(1, 2, "geo-loc")]]
    assert all(doc.has_unknown_spaces for doc in docs)


@pytest.mark.parametrize(
    "text",
    [
        "a\tO\nb\tO\n\nc\tO",  # no newline at the end
        "a\tO\r\nb\tO\r\n\r\nc\tO\r\n",
        "\ufeffa\tO\nb\tO\n\n\n \t\nc\tO\n\n\n",
        "a O\nb\tO\n\nc   O \n",
        "-DOCSTART- -X- O\n\na O\nb O\n\nc O\n",
        "a O\nb O\n-DOCSTART- O\nc O\n",
    ],
)
def test_line_ends_and_empty_lines(path: Path, text: str) -> None:
    assert words(read(path, text)) == [["a", "b"], ["c"]]


def test_any_columns(path: Path) -> None:
    text = "1 Ann NNP B-PER x\n2 ran VBD O y\n"
    docs = read(path, text, columns=(1, -2))
    assert words(docs) == [["Ann", "ran"]]
    assert entities(docs) == [[(0, 1, "PER")]]
    (doc,) = read(path, text, layer="tag", columns=(-4, 2))
    assert [(token.text, token.tag_) for token in doc] == [("Ann", "NNP"), ("ran", "VBD")]
    assert not doc.has_annotation("ENT_IOB")


def test_a_no_break_space_parts_no_columns(path: Path) -> None:
    assert words(read(path, "5\u00a0mg O\n\u3000 O\n")) == [["5\u00a0mg", "\u3000"]]
    assert words(read(path, "New York\tB-LOC\n")) == [["New York"]]


def test_comments_of_a_file_parted_by_tabs(path: Path) -> None:
    skipped: Counter[str] = Counter()
    text = "# id = 1\n# text = a # b\na\tO\n#\tO\n\n# id = 2\n#\tO\n#tag\tO\n# x\tO\n"
    docs = read(path, text, skipped=skipped)
    assert words(docs) == [["a", "#"], ["#", "#tag", "# x"]]
    assert skipped["comment lines"] == 3


def test_comments_of_a_file_parted_by_blanks(path: Path) -> None:
    skipped: Counter[str] = Counter()
    text = "# sent_id = 1\na O\n# O\n\n# sent_id = 2\n# O\n#tag O\n"
    docs = read(path, text, skipped=skipped)
    assert words(docs) == [["a", "#"], ["#", "#tag"]]
    assert skipped["comment lines"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "a\tO\n\n#tag\n",  # lost its label: no blank after the #
        "a\tO\n\n#\n",
        "a\tO\n# text\nb\tO\n",  # within a sentence
        "a O\n\n#tag\n",
    ],
)
def test_a_truncated_line_is_no_comment(path: Path, text: str) -> None:
    with pytest.raises(CorpusError, match="expected 2 columns"):
        read(path, text)


def test_labels_that_are_not_known(path: Path) -> None:
    (doc,) = read(path, "a\tB-X\nb\t-\nc\tB-X\nd\tO\n")
    assert [token.ent_iob_ for token in doc] == ["B", "", "B", "O"]
    (doc,) = read(path, "a\tB-X\n-\t-\n", layer="tag")
    assert doc[1].tag_ == "-"
    with pytest.raises(CorpusError, match=r"corpus.tsv:2: label '-' .* not spans:sc"):
        read(path, "a\tB-X\nb\t-\n", layer="spans:sc")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            "a\tb\tO\n\nc\td\tO\ne\tO\n",
            4,
            "expected 3 columns parted by tabs as in line 1, found 2",
        ),
        ("# x\na b O\nc d O O\n", 3, "expected 3 columns parted by blanks as in line 2, found 4"),
        ("a\tO\nb O\n", 2, "expected 2 columns parted by tabs as in line 1, found 1: 'b O'"),
        ("a\tO\nb\t\n", 2, "expected a token and a label"),
        ("a\tO\n\tO\n", 2, "expected a token and a label"),
        ("-DOCSTART-\n\na\nb\n", 3, "expected at least two columns"),
        ("a\tO\n\nb\tNN\n", 3, "tag 'NN' belongs to no tag scheme"),
        ("a\tO\n\nb\tB-X\nc\tI-Y\n", 4, "'I-Y' after 'B-X' does not follow IOB2"),
        (b"a\tO\n\ncaf\xe9\tO\n", 3, "expected UTF-8 text, found byte 0xe9 at byte 4 of the line"),
        (b"a\tO\n\n" + "b\tO\n".encode("utf-16"), 3, "expected UTF-8 text"),
    ],
)
def test_the_line_that_breaks_the_format_is_named(
    path: Path, text: str | bytes, line: int, message: str
) -> None:
    with pytest.raises(CorpusError) as caught:
        read(path, text)
    assert str(caught.value).startswith(f"{path}:{line}: {message}")


@pytest.mark.parametrize("columns", [(0, 2), (-3, -1)])
def test_a_column_that_is_not_there(path: Path, columns: tuple[int, int]) -> None:
    with pytest.raises(CorpusError, match=r"corpus.tsv:1: expected a .* column .* found 2 columns"):
        read(path, "a\tO\n", columns=columns)


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    numbers = random.Random(0)
    # Lines that do not compress, so that half the file holds some of them.
    text = "".join(f"{numbers.random()}\tO\n\n" for _ in range(2000))
    whole = gzip.compress(text.encode())

    def message(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(CorpusError) as caught:
            list(read_columns(path, "ents", SchemeDetector(path), Counter()))
        return str(caught.value).removeprefix(str(path))

    place, _, reason = message(whole[: len(whole) // 2]).partition(": ")
    assert 1 < int(place[1:]) < 4000
    assert reason.startswith("expected a whole gzip file")
    assert "expected a whole gzip file" in message(whole[:-6] + b"\0" * 6)
    assert message(text.encode()).startswith(": expected a gzip file")
