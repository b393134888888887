"""Converting real corpora, which are not part of the package, finds their published counts."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from spacy_transfer.corpus.convert import convert

DATA = os.environ.get("SPACY_TRANSFER_DATA")


def counts() -> list[dict[str, str]]:
    """Rows of COUNTS.tsv: file, sentences, tokens, per type or tag (`LOC=1 PER=2`, or `-`), ..."""
    if DATA is None:
        return []
    with (Path(DATA) / "COUNTS.tsv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["file"].endswith(".gz")]


@pytest.mark.skipif(DATA is None, reason="SPACY_TRANSFER_DATA names no folder with COUNTS.tsv")
@pytest.mark.parametrize("row", counts(), ids=lambda row: row["file"])
def test_counts_are_the_published_ones(row: dict[str, str], tmp_path: Path) -> None:
    layer = "tag" if row["file"].endswith(".pos.gz") else "ents"
    summary = convert(Path(DATA or "") / row["file"], tmp_path / "out.spacy", layer)
    assert summary.sentences == int(row["sentences"])
    assert summary.tokens == int(row["tokens"])
    assert not summary.unknown
    assert not +summary.skipped
    if layer == "ents":
        assert summary.scheme == "IOB2"
        expected = dict(pair.rsplit("=", 1) for pair in row["per type or tag"].split())
        assert {label: str(count) for label, count in summary.labels.items()} == expected
    else:
        assert len(summary.labels) == int(row["labels"])
