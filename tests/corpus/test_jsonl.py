from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.jsonl import read_jsonl

TEXT = "Can't see Rio Grande."  # Ca n't see Rio Grande .
PRODIGY = {
    "text": "see Rio Grande",
    "tokens": [
        {"text": "see", "start": 0, "end": 3, "id": 0, "ws": True},
        {"text": "Rio", "start": 4, "end": 7, "id": 1, "ws": True},
        {"text": "Grande", "start": 8, "end": 14, "id": 2, "ws": False},
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corpus.jsonl"


def read(path: Path, *records: Any, layer: str = "ents", **settings: Any) -> list[Doc]:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return list(read_jsonl(path, layer, settings.pop("skipped", Counter()), **settings))


def entities(doc: Doc) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in doc.ents]


@pytest.mark.parametrize(
    "spans",
    [
        {"spans": [{"start": 10, "end": 20, "label": "LOC"}]},
        {"label": [[10, 20, "LOC"]]},
        {"labels": [[10, 20, "LOC"]]},
        {"entities": [[10, 20, "LOC"]]},
        {"entities": [{"id": 7, "start_offset": 10, "end_offset": 20, "label": "LOC"}]},
    ],
)
def test_text_is_tokenised_and_keeps_its_spaces(path: Path, spans: dict[str, Any]) -> None:
    (doc,) = read(path, {"text": TEXT, **spans})
    assert [token.text for token in doc] == ["Ca", "n't", "see", "Rio", "Grande", "."]
    assert doc.text == TEXT
    assert not doc.has_unknown_spaces
    assert entities(doc) == [("Rio Grande", "LOC")]
    assert doc[0].ent_iob_ == "O"


@pytest.mark.parametrize(
    "span",
    [
        {"token_start": 1, "token_end": 2, "start": 4, "end": 14, "label": "LOC"},
        {"token_start": 1, "token_end": 2, "label": "LOC"},
        {"start": 4, "end": 14, "label": "LOC"},
    ],
)
def test_given_tokens_stay(path: Path, span: dict[str, Any]) -> None:
    (doc,) = read(path, {**PRODIGY, "spans": [span]})
    assert [token.text for token in doc] == ["see", "Rio", "Grande"]
    assert doc.has_unknown_spaces
    assert [(span.start, span.end, span.label_) for span in doc.ents] == [(1, 3, "LOC")]


def test_the_language_tells_the_tokenizer(path: Path) -> None:
    (doc,) = read(path, {"text": "去北京", "label": [[1, 3, "LOC"]]}, lang="zh")
    assert [token.text for token in doc] == ["去", "北", "京"]
    with pytest.raises(ValueError, match="language 'xyz'"):
        read(path, {"text": "a", "label": []}, lang="xyz")


def test_spans_of_a_group_may_overlap(path: Path) -> None:
    record = {"text": TEXT, "label": [[10, 20, "LOC"], [10, 13, "CITY"], [10, 20, "LOC"]]}
    (doc,) = read(path, record, layer="spans:sc")
    spans = [(span.start, span.end, span.label_) for span in doc.spans["sc"]]
    assert spans == [(3, 5, "LOC"), (3, 4, "CITY"), (3, 5, "LOC")]
    assert not doc.has_annotation("ENT_IOB")


def test_what_is_skipped(path: Path) -> None:
    skipped: Counter[str] = Counter()
    docs = read(
        path,
        {"text": "a", "spans": [], "answer": "accept"},
        {"text": "b", "spans": [], "answer": "reject"},
        {"text": "c", "spans": [], "answer": "ignore"},
        "",
        {"text": "", "spans": []},
        {"text": "d"},
        skipped=skipped,
    )
    assert [doc.text for doc in docs] == ["a", "d"]
    assert skipped == {"records not accepted": 2, "records without a token": 1}


GOOD = {"text": "Rio", "label": []}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"text": "a"', "expected a JSON object: Expecting ',' delimiter at character 13"),
        ('["a"]', 'expected a JSON object, found ["a"]'),
        ("[" * 100_000, "expected a JSON object"),
        ({"txt": "a", "label": []}, "expected a record with text or tokens, found txt, label"),
        ({"text": 3}, "expected a text in 'text', found 3"),
        ({"tokens": ["a"]}, 'expected a token object, found "a"'),
        ({"tokens": [{"text": ""}]}, "expected a text in 'text', found \"\""),
        ({"text": "a", "label": "LOC"}, "expected a list in 'label', found \"LOC\""),
        (
            {"text": "a", "label": [[0, 1]]},
            "expected a span as an object or as [start, end, label]",
        ),
        ({"text": "a", "label": [[0, 1, ""]]}, "expected a text in 'label', found \"\""),
        ({"text": "a", "label": [[0, True, "X"]]}, "expected a whole number in 'end', found true"),
        (
            {"text": "a", "spans": [{"label": "X"}]},
            "expected a whole number in 'start', found null",
        ),
        ({"text": "\ud800", "label": []}, "'utf-8' codec can't encode"),
        (
            {"text": TEXT, "label": [[11, 20, "LOC"]]},
            "span of characters 11-20 (LOC): expected it to begin and end at a token boundary; "
            "tokens there: 10-13 'Rio', 14-20 'Grande'",
        ),
        ({"text": TEXT, "label": [[10, 10, "LOC"]]}, "span of characters 10-10 (LOC)"),
        ({"text": TEXT, "label": [[10, 99, "LOC"]]}, "span of characters 10-99 (LOC)"),
        (
            {**PRODIGY, "spans": [{"token_start": 2, "token_end": 3, "label": "X"}]},
            "span of tokens 2-3 (X): expected it within the record's 3 tokens",
        ),
        (
            {"text": TEXT, "label": [[10, 20, "LOC"], [14, 20, "X"]]},
            "spans of tokens 3-4 (LOC) and 4-4 (X) overlap: expected flat spans in ents",
        ),
    ],
)
def test_the_line_that_breaks_the_format_is_named(path: Path, record: Any, message: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read(path, GOOD, record)
    assert str(caught.value).startswith(f"{path}:2: {message}")


def test_records_without_any_spans_are_another_format(path: Path) -> None:
    with pytest.raises(CorpusError, match="expected records with spans or entities or labels"):
        read(path, {"text": "a", "annotation": [[0, 1, "X"]]})
