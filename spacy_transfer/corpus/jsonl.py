"""JSON lines with spans, as Prodigy and doccano write them.

A record has `text`, or Prodigy's `tokens` (objects with `text`, and `start` and `end` in
characters), or both. Its spans are under the first of these keys that it has:

- `spans` (Prodigy): objects with `label` and `token_start` and `token_end` (the last token), or
  `start` and `end` in characters;
- `entities`, `labels` or `label` (doccano): `[start, end, label]` in characters, or objects with
  `start_offset`, `end_offset` and `label`.

Records whose `answer` is not `accept`, and records without a token, are skipped.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_transfer.corpus.annotate import set_spans
from spacy_transfer.corpus.docbin import SHARD
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines
from spacy_transfer.corpus.schemes import Span

_KEYS = ("spans", "entities", "labels", "label")
_Record = dict[str, Any]


class _Tokens(NamedTuple):
    doc: Doc
    given: bool
    starts: dict[int, int]  # first character -> token; empty where the record does not tell
    ends: dict[int, int]  # character after the last -> token


def read_jsonl(path: Path, layer: str, skipped: Counter[str], lang: str = "en") -> Iterator[Doc]:
    """One document a record.

    Given tokens stay, with unknown spaces; a text without them is tokenised by `spacy.blank(lang)`
    and keeps its spaces. Raises CorpusError at the first line that is no such record, and where a
    span does not begin and end at a token boundary or, in `ents`, overlaps another.
    """
    try:
        nlp = spacy.blank(lang)
    except ImportError as error:
        raise ValueError(f"language {lang!r}: {error}".partition("\n")[0]) from None
    count, annotated = 0, False
    for line, text in read_lines(path):
        if not text.strip():
            continue
        try:
            record = _object(json.loads(text), "a JSON object")
            if record.get("answer", "accept") != "accept":
                skipped["records not accepted"] += 1
                continue
            tokens = _tokens(record, nlp)
            spans = _spans(record, tokens)
            if layer == "ents":
                _check_flat(spans)
            set_spans(tokens.doc, layer, spans)
        except RecursionError:
            raise CorpusError(path, line, "expected a JSON object, found too deep a one") from None
        except ValueError as error:
            raise CorpusError(path, line, _reason(error)) from None
        annotated = annotated or any(key in record for key in _KEYS)
        if not len(tokens.doc):
            skipped["records without a token"] += 1
            continue
        yield tokens.doc
        count += 1
        if count % SHARD == 0:
            nlp = spacy.blank(lang)  # a vocabulary never forgets; memory is to stay bounded
    if count and not annotated:
        raise CorpusError(path, None, f"expected records with {' or '.join(_KEYS)}; none has it")


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"expected a JSON object: {error.msg} at character {error.colno}"
    return str(error).partition("\n")[0]


def _tokens(record: _Record, nlp: Language) -> _Tokens:
    if "tokens" in record:
        tokens = [_object(token, "a token object") for token in _list(record, "tokens")]
        words = [_string(token, "text") for token in tokens]
        # Tokens without offsets are enough for spans given by tokens.
        known = all("start" in token and "end" in token for token in tokens)
        starts = {_int(token, "start"): i for i, token in enumerate(tokens) if known}
        ends = {_int(token, "end"): i for i, token in enumerate(tokens) if known}
        return _Tokens(Doc(nlp.vocab, words=words), True, starts, ends)
    if "text" not in record:
        raise ValueError(
            f"expected a record with text or tokens, found {', '.join(record) or 'no key'}"
        )
    doc = nlp.make_doc(_string(record, "text", empty=True))
    starts = {token.idx: token.i for token in doc}
    return _Tokens(doc, False, starts, {token.idx + len(token): token.i for token in doc})


def _spans(record: _Record, tokens: _Tokens) -> list[Span]:
    key = next((key for key in _KEYS if key in record), None)
    return [_span(item, tokens) for item in _list(record, key)] if key else []


def _span(item: Any, tokens: _Tokens) -> Span:
    if isinstance(item, list) and len(item) == 3:
        item = dict(zip(("start", "end", "label"), item, strict=True))
    span = _object(item, "a span as an object or as [start, end, label]")
    label = _string(span, "label")
    if tokens.given and "token_start" in span:
        start, end = _int(span, "token_start"), _int(span, "token_end") + 1
        if not 0 <= start < end <= len(tokens.doc):
            raise ValueError(
                f"span of tokens {start}-{end - 1} ({label}): expected it within the record's "
                f"{len(tokens.doc)} tokens"
            )
        return start, end, label
    suffix = "_offset" if "start_offset" in span else ""
    first, last = _int(span, f"start{suffix}"), _int(span, f"end{suffix}")
    start, end = tokens.starts.get(first, -1), tokens.ends.get(last, -1) + 1
    if not 0 <= start < end:
        there = [
            f"{left}-{right} {tokens.doc[i].text!r}"
            for (left, i), right in zip(tokens.starts.items(), tokens.ends, strict=False)
            if left < last and first < right
        ]
        raise ValueError(
            f"span of characters {first}-{last} ({label}): expected it to begin and end at a token "
            f"boundary; tokens there: {', '.join(there) or 'none'}"
        )
    return start, end, label


def _check_flat(spans: list[Span]) -> None:
    ordered = sorted(spans)
    for left, right in itertools.pairwise(ordered):
        if right[0] < left[1]:
            raise ValueError(
                f"spans of tokens {left[0]}-{left[1] - 1} ({left[2]}) and "
                f"{right[0]}-{right[1] - 1} ({right[2]}) overlap: expected flat spans in ents; "
                "the layer spans:KEY takes them"
            )


def _object(value: Any, what: str) -> _Record:
    if not isinstance(value, dict):
        raise ValueError(f"expected {what}, found {_shown(value)}")
    return value


def _list(record: _Record, key: str) -> list[Any]:
    value = record[key]
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"expected a list in {key!r}, found {_shown(value)}")
    return value


def _string(record: _Record, key: str, empty: bool = False) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not (value or empty):
        raise ValueError(f"expected a text in {key!r}, found {_shown(value)}")
    return value


def _int(record: _Record, key: str) -> int:
    value = record.get(key)
    if type(value) is not int:
        raise ValueError(f"expected a whole number in {key!r}, found {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return json.dumps(value)[:40]
