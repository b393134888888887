"""Any labelled corpus to spaCy's binary format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_transfer.corpus.checksum import verify
from spacy_transfer.corpus.columns import read_columns
from spacy_transfer.corpus.docbin import docbin_writer
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gold import check_layer, is_annotated
from spacy_transfer.corpus.jsonl import read_jsonl
from spacy_transfer.corpus.schemes import FileScheme, SchemeDetector
from spacy_transfer.corpus.shards import read_docs

Format = Literal["columns", "jsonl", "spacy"]


@dataclass
class Summary:
    """What was converted. `labels` counts spans, or tokens in the layer `tag`, by label."""

    layer: str
    sentences: int = 0
    tokens: int = 0
    unknown: int = 0  # tokens without annotation
    labels: Counter[str] = field(default_factory=Counter)
    scheme: FileScheme | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    def count(self, doc: Doc) -> None:
        """Take in a converted document."""
        self.sentences += 1
        self.tokens += len(doc)
        if self.layer == "tag":
            tags = Counter(token.tag_ for token in doc)
            self.unknown += tags.pop("", 0)
            self.labels.update(tags)
            return
        if self.layer == "ents":
            self.unknown += sum(token.ent_iob == 0 for token in doc)
        spans = doc.ents if self.layer == "ents" else doc.spans[self.layer.partition(":")[2]]
        self.labels.update(span.label_ for span in spans)

    def __str__(self) -> str:
        parts = [f"{self.sentences} sentences", f"{self.tokens} tokens"]
        labels = ", ".join(f"{label} {count}" for label, count in sorted(self.labels.items()))
        total = len(self.labels) if self.layer == "tag" else self.labels.total()
        parts.append(f"{total} {'tags' if self.layer == 'tag' else 'spans'}")
        if labels:
            parts[-1] += f" ({labels})"
        if self.scheme:
            parts.append(f"scheme {self.scheme}")
        if self.unknown:
            parts.append(f"{self.unknown} tokens without annotation")
        parts += [f"skipped {count} {what}" for what, count in self.skipped.items() if count]
        return ", ".join(parts)


def convert(
    source: Path,
    output: Path,
    layer: str,
    *,
    format: str | None = None,
    token_column: int = 0,
    label_column: int = -1,
    scheme: str | None = None,
    lang: str = "en",
    checksum: str | None = None,
) -> Summary:
    """Convert `source` to the `.spacy` file, or the folder of shards, `output`.

    `format` is told by the ending of `source` where it is None: `.jsonl`, `.spacy` (or a folder of
    them), any other means columns; a `.gz` after it counts for the first and the last. `scheme`
    holds a column file to a FileScheme, else it is detected. `checksum` is `sha256:HEX` or
    `md5:HEX` of `source`.

    Memory is bounded when `output` is a folder. Raises CorpusError for bad input, ValueError for
    bad settings; then `output` is as it was before.
    """
    if scheme is not None:
        _check_known("scheme", scheme, FileScheme)
        if layer == "tag":
            raise ValueError(f"scheme {scheme}: the layer 'tag' has plain tags, expected none")
    summary = Summary(layer)
    detector = SchemeDetector(source, cast("FileScheme | None", scheme))
    format = format or _format_of(source)
    docs = read_labelled(
        source,
        layer,
        detector,
        summary.skipped,
        format=format,
        token_column=token_column,
        label_column=label_column,
        lang=lang,
    )
    try:
        if checksum:
            verify(source, checksum)
        with docbin_writer(output, layer) as add:
            for doc in docs:
                add(doc)
                summary.count(doc)
            if not summary.sentences:
                raise CorpusError(source, None, f"expected sentences with {layer}, found none")
    except OSError as error:
        raise CorpusError(source, None, f"cannot be read: {error.strerror}") from error
    if format == "columns" and layer != "tag":
        summary.scheme = detector.scheme
    return summary


def read_labelled(
    source: Path,
    layer: str,
    detector: SchemeDetector,
    skipped: Counter[str],
    *,
    format: str | None = None,
    token_column: int = 0,
    label_column: int = -1,
    lang: str = "en",
) -> Iterator[Doc]:
    """The documents of a labelled corpus in any format that `convert` takes, told as it tells it.

    A folder means `.spacy` files. Documents without annotation of `layer` are counted in `skipped`
    and left out. Raises ValueError and CorpusError at once for settings that cannot be, while
    reading for bad input.
    """
    check_layer(layer)
    if format is not None:
        _check_known("format", format, Format)
    format = format or _format_of(source)
    if format == "columns":
        return read_columns(source, layer, detector, skipped, token_column, label_column)
    if format == "spacy":
        return _read_spacy(source, layer, skipped)
    if layer == "tag":
        raise CorpusError(source, None, "JSON lines hold spans: expected 'ents' or 'spans:KEY'")
    return read_jsonl(source, layer, skipped, lang)


def _check_known(name: str, value: str, known: object) -> None:
    if value not in get_args(known):
        raise ValueError(f"unknown {name} {value!r}: expected {', '.join(get_args(known))}")


def _format_of(source: Path) -> Format:
    name = source.name.removesuffix(".gz")
    if name.endswith(".conllu"):
        raise CorpusError(
            source,
            None,
            "CoNLL-U has tokens of several words: expected the .spacy file that `spacy convert` "
            "makes of it",
        )
    if source.suffix == ".spacy" or source.is_dir():
        return "spacy"
    return "jsonl" if name.endswith(".jsonl") else "columns"


def _read_spacy(source: Path, layer: str, skipped: Counter[str]) -> Iterator[Doc]:
    """The documents that are annotated in `layer`, without what other layers hold."""
    for doc in read_docs(source, Vocab()):
        if not is_annotated(doc, layer):
            skipped[f"documents without {layer}"] += 1
            continue
        for key in list(doc.spans):
            if layer != f"spans:{key}":
                del doc.spans[key]
        doc.cats = {}
        yield doc
