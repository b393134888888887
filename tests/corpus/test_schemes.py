from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.schemes import (
    FileScheme,
    SchemeDetector,
    Span,
    TagScheme,
    allowed,
    decode,
    encode,
    tags_of,
)

LABELS = ["X", "geo-loc"]
SCHEMES: tuple[TagScheme, ...] = get_args(TagScheme)
FILE_SCHEMES: tuple[FileScheme, ...] = get_args(FileScheme)
ALL_TAGS = ["O", *(f"{prefix}-{label}" for prefix in "BIESLU" for label in ("X", "Y"))]


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Flat spans and the length of their sentence."""
    spans, length = [], 0
    for gap, width, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(LABELS)))
    ):
        spans.append((length + gap, length + gap + width, label))
        length += gap + width
    return spans, length + draw(st.integers(0, 2))


def file_tags(spans: list[Span], length: int, scheme: FileScheme) -> list[str]:
    """The spans in any of the schemes of files, written out by their definitions."""
    tags = ["O"] * length
    for start, end, label in spans:
        after_same = start > 0 and tags[start - 1].partition("-")[2] == label
        first, last, single = {
            "IOB1": ("B" if after_same else "I", "I", "B" if after_same else "I"),
            "IOB2": ("B", "I", "B"),
            "BIOES": ("B", "E", "S"),
            "BILUO": ("B", "L", "U"),
        }[scheme]
        middle = [f"I-{label}"] * (end - start - 2)
        tags[start:end] = (
            [f"{single}-{label}"]
            if end - start == 1
            else [f"{first}-{label}", *middle, f"{last}-{label}"]
        )
    return tags


def test_tags_are_in_label_order() -> None:
    assert tags_of(["X", "Y"], "BIO") == ["O", "B-X", "I-X", "B-Y", "I-Y"]
    assert tags_of(["X"], "BIOES") == ["O", "B-X", "I-X", "E-X", "S-X"]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentence=sentences())
def test_decode_inverts_encode(scheme: TagScheme, sentence: tuple[list[Span], int]) -> None:
    spans, length = sentence
    tags = encode(spans, length, scheme)
    assert len(tags) == length
    assert set(tags) <= set(tags_of(LABELS, scheme))
    assert decode(tags) == spans


@pytest.mark.parametrize("scheme", FILE_SCHEMES)
@given(sentence=sentences())
def test_every_file_scheme_is_read_and_detected(
    scheme: FileScheme, sentence: tuple[list[Span], int]
) -> None:
    spans, length = sentence
    tags = file_tags(spans, length, scheme)
    detector = SchemeDetector("file", None)
    detector.read(tags, 1)
    assert decode(tags) == spans
    assert detector.scheme == (scheme if spans else None)
    SchemeDetector("file", scheme).read(tags, 1)


@pytest.mark.parametrize(
    "spans", [[(0, 2, "X"), (1, 3, "Y")], [(0, 0, "X")], [(2, 4, "X")], [(-1, 1, "X")]]
)
def test_encode_refuses_what_tags_cannot_hold(spans: list[Span]) -> None:
    with pytest.raises(ValueError, match="span"):
        encode(spans, 3, "BIO")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_allowed_is_what_encode_makes(scheme: TagScheme, length: int) -> None:
    """A sequence is permitted exactly when it decodes to spans that encode to it again."""
    tags = tags_of(LABELS, scheme)
    start, transitions, end = allowed(tags, scheme)
    for ids in product(range(len(tags)), repeat=length):
        permitted = (
            start[ids[0]] and end[ids[-1]] and all(transitions[pair] for pair in pairwise(ids))
        )
        sequence = [tags[i] for i in ids]
        assert permitted == (encode(decode(sequence), length, scheme) == sequence), sequence


def test_plain_tags_may_follow_each_other_freely() -> None:
    masks = allowed(["NN", "B-X", "VB"], None)
    assert [mask.shape for mask in masks] == [(3,), (3, 3), (3,)]
    assert all(mask.all() for mask in masks)


def test_allowed_refuses_tags_of_another_scheme() -> None:
    with pytest.raises(ValueError, match="'S-X' is not in the scheme BIO"):
        allowed(["O", "S-X"], "BIO")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_decode_follows_conlleval_on_any_sequence(length: int) -> None:
    for tags in product(ALL_TAGS, repeat=length):
        # seqeval knows E- and S- only
        known = [tag.replace("L-", "E-").replace("U-", "S-") for tag in tags]
        expected = [(start, last + 1, label) for label, start, last in get_entities(known)]
        assert decode(tags) == expected, tags


def test_decode_names_a_tag_of_no_scheme() -> None:
    for tag in ("NN", "B", "B-", "b-X", "B_X", "", "X-Y"):
        with pytest.raises(ValueError, match="no tag scheme"):
            decode(["O", tag])


def test_unknown_tokens_are_outside() -> None:
    assert decode(["B-X", "-", "I-X"]) == [(0, 1, "X"), (2, 3, "X")]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O I-X B-X", "IOB1"),
        ("O B-X I-X", "IOB2"),
        ("O S-X", "BIOES"),
        ("O B-X E-X", "BIOES"),
        ("U-X", "BILUO"),
        ("B-X I-X L-X", "BILUO"),
        ("B-X -", "IOB2"),
        ("O O", None),
    ],
)
def test_the_scheme_is_detected(tags: str, scheme: FileScheme | None) -> None:
    detector = SchemeDetector("file")
    detector.read(tags.split(), 1)
    assert detector.scheme == scheme


@pytest.mark.parametrize(
    ("sentences", "line", "message"),
    [
        (["O E-X"], 2, "'E-X' after 'O' is allowed in none of the tag schemes"),
        (["O B-X O", "I-X O"], 4, "'I-X' after 'O' does not follow IOB2"),
        (["I-X O", "O B-X"], 4, "'B-X' after 'O' does not follow IOB1"),
        (["B-X I-X", "O S-X"], 4, "'S-X' after 'O' does not follow IOB2"),
        (["S-X", "B-X"], 2, "'B-X' at the end of a sentence does not follow BIOES"),
        (["S-X", "U-X"], 2, "up to line 1: expected one tag scheme in the whole file"),
        (["B-X E-X", "B-X O"], 4, "'O' after 'B-X' does not follow BIOES"),
        (["B-X E-X", "B-X E-Y"], 4, "'E-Y' after 'B-X' does not follow BIOES"),
        (["O O", "O NN O"], 4, "tag 'NN' belongs to no tag scheme"),
        (["O O", "O - I-X"], 5, "'I-X' after '-', a token that nobody looked at: "),
        (["B-X I-X O", "B-X - I-X"], 6, "mark all of its tokens '-'"),
        (["O S-X", "- E-X"], 4, "'E-X' after '-', a token that nobody looked at: "),
        (["U-X", "- L-X"], 3, "'L-X' after '-', a token that nobody looked at: "),
    ],
)
def test_the_first_tag_that_fits_no_scheme_is_named(
    sentences: list[str], line: int, message: str
) -> None:
    def read() -> None:
        detector, first = SchemeDetector(Path("some.tsv")), 1
        for tags in sentences:
            detector.read(tags.split(), first)
            first += len(tags.split())

    with pytest.raises(CorpusError, match=f"^some.tsv:{line}: ") as caught:
        read()
    assert message in str(caught.value)


@pytest.mark.parametrize("scheme", FILE_SCHEMES)
def test_a_span_that_may_have_begun_before_cannot_be_read(scheme: FileScheme) -> None:
    with pytest.raises(CorpusError, match=r"^file:3: 'I-X' after '-', .*cannot be read"):
        SchemeDetector("file", scheme).read(["O", "-", "I-X"], 1)


@pytest.mark.parametrize(
    ("tags", "scheme"), [("B-X - B-X", "IOB2"), ("S-X - B-X E-X -", "BIOES"), ("- O I-X -", "IOB1")]
)
def test_spans_beside_unknown_tokens_are_whole(tags: str, scheme: FileScheme) -> None:
    detector = SchemeDetector("file")
    detector.read(tags.split(), 1)
    assert detector.scheme == scheme


def test_a_given_scheme_is_held_to() -> None:
    with pytest.raises(CorpusError, match="file:2: 'I-X' after 'O' is not allowed in IOB2"):
        SchemeDetector("file", "IOB2").read(["O", "I-X"], 1)
    with pytest.raises(CorpusError, match="file:1: 'S-X' after 'O' is not allowed in IOB1"):
        SchemeDetector("file", "IOB1").read(["S-X"], 1)


def test_iob1_when_given_also_reads_iob2() -> None:
    detector = SchemeDetector("file", "IOB1")
    detector.read(["B-X", "I-X", "O", "I-X", "B-X"], 1)
    assert detector.scheme == "IOB1"
