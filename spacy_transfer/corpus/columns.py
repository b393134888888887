"""Column files, as in the CoNLL shared tasks: a token a line, an empty line after each sentence.

Columns are parted by tabs if the first token line holds one, else by blanks; every line has as many
as that one. What is skipped:

- lines that begin with `-DOCSTART-`; they also end a sentence;
- comments: lines between sentences that begin with `#` and a blank and, in a file parted by tabs,
  hold no tab or, in one parted by blanks, have another number of columns than the token lines. So
  `#<TAB>O` and, in a file of two columns, `# O` are tokens: `#` is common in tweets. A comment
  within a sentence is an error, since it looks like a line that lost its columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_transfer.corpus.annotate import set_spans
from spacy_transfer.corpus.docbin import SHARD
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines
from spacy_transfer.corpus.schemes import MISSING, SchemeDetector, decode

_DOCSTART = "-DOCSTART-"
_COMMENT = "# "
_BLANKS = re.compile(r"[^ \t]+")


class _Shape(NamedTuple):
    """What the first token line tells of all."""

    line: int
    width: int
    tabs: bool

    def split(self, line: str) -> list[str]:
        # str.split() would also part at a no-break space, which may stand within a token.
        return line.split("\t") if self.tabs else _BLANKS.findall(line)

    def is_comment(self, line: str) -> bool:
        return line.startswith(_COMMENT) and (
            "\t" not in line if self.tabs else len(self.split(line)) != self.width
        )


class _Sentence(NamedTuple):
    line: int  # of the first token; the others follow line by line
    tokens: list[str]
    labels: list[str]


def read_columns(
    path: Path,
    layer: str,
    detector: SchemeDetector,
    skipped: Counter[str],
    token_column: int = 0,
    label_column: int = -1,
) -> Iterator[Doc]:
    """One document a sentence, with unknown spaces: so spaCy keeps the tokens as they are.

    Columns count from 0, negative ones from the end. In the layer `ents` the label `-` marks a
    token that nobody looked at, and the entities around it are whole; in the layer `tag` every
    label is a plain tag. Raises CorpusError at the first line that breaks the format.
    """
    sentences = _sentences(path, skipped, token_column, label_column)
    vocab = Vocab()
    for count, (line, tokens, labels) in enumerate(sentences, start=1):
        if layer == "tag":
            yield Doc(vocab, words=tokens, tags=labels)
        else:
            detector.read(labels, line)
            missing = [i for i, label in enumerate(labels) if label == MISSING]
            if missing and layer != "ents":
                raise CorpusError(
                    path, line + missing[0], f"label '-' (not known) is for ents only, not {layer}"
                )
            doc = Doc(vocab, words=tokens)
            set_spans(doc, layer, decode(labels), missing)
            yield doc
        if count % SHARD == 0:
            vocab = Vocab()  # a vocabulary never forgets; memory is to stay bounded


def _sentences(
    path: Path, skipped: Counter[str], token_column: int, label_column: int
) -> Iterator[_Sentence]:
    shape = _shape(path)
    if shape is None:
        return
    if shape.width < 2:
        raise CorpusError(
            path, shape.line, "expected at least two columns, token and label, found one"
        )
    for name, column in ("token", token_column), ("label", label_column):
        if not -shape.width <= column < shape.width:
            raise CorpusError(
                path, shape.line, f"expected a {name} column {column}, found {shape.width} columns"
            )
    sentence = _Sentence(0, [], [])
    for number, line in read_lines(path):
        docstart = line.startswith(_DOCSTART)
        if docstart or not line.strip(" \t"):
            skipped["-DOCSTART- lines"] += docstart
            if sentence.tokens:
                yield sentence
                sentence = _Sentence(0, [], [])
            continue
        if not sentence.tokens:
            if shape.is_comment(line):
                skipped["comment lines"] += 1
                continue
            sentence = _Sentence(number, [], [])
        columns = shape.split(line)
        if len(columns) != shape.width:
            raise CorpusError(
                path,
                number,
                f"expected {shape.width} columns parted by {'tabs' if shape.tabs else 'blanks'} "
                f"as in line {shape.line}, found {len(columns)}: {line[:40]!r}",
            )
        token, label = columns[token_column], columns[label_column]
        if not token or not label:
            raise CorpusError(path, number, f"expected a token and a label, found {line[:40]!r}")
        sentence.tokens.append(token)
        sentence.labels.append(label)
    if sentence.tokens:
        yield sentence


def _shape(path: Path) -> _Shape | None:
    for number, line in read_lines(path):
        if line.strip(" \t") and not line.startswith((_DOCSTART, _COMMENT)):
            tabs = "\t" in line
            return _Shape(number, len(_Shape(number, 0, tabs).split(line)), tabs)
    return None
