from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus, Example
from spacy.vocab import Vocab

from spacy_transfer.corpus import docbin
from spacy_transfer.corpus.convert import convert
from spacy_transfer.corpus.errors import CorpusError

IOB2 = "He\tO\ncan't\tB-X\ngo\tI-X\n\n,\tB-Y\nnow\tB-Y\n"
WORDS = [["He", "can't", "go"], [",", "now"]]
SPANS = [[(1, 3, "X")], [(0, 1, "Y"), (1, 2, "Y")]]
SCHEMES = {
    "IOB1": IOB2.replace("B-X", "I-X").replace(",\tB-Y", ",\tI-Y"),
    "IOB2": IOB2,
    "BIOES": IOB2.replace("I-X", "E-X").replace("B-Y", "S-Y"),
    "BILUO": IOB2.replace("I-X", "L-X").replace("B-Y", "U-Y"),
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.spacy"


def put(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8", newline="\n")
    return path


def load(path: Path) -> list[Doc]:
    return list(DocBin().from_disk(path).get_docs(Vocab()))


def found(docs: list[Doc], layer: str) -> list[list[tuple[int, int, str]]]:
    groups = (
        doc.ents if layer == "ents" else doc.spans[layer.removeprefix("spans:")] for doc in docs
    )
    return [[(span.start, span.end, span.label_) for span in group] for group in groups]


@pytest.mark.parametrize("layer", ["ents", "spans:sc"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("given", [True, False])
def test_every_scheme_gives_the_same_spans(
    tmp_path: Path, output: Path, layer: str, scheme: str, given: bool
) -> None:
    source = put(tmp_path / "in.conll", SCHEMES[scheme])
    summary = convert(source, output, layer, scheme=scheme if given else None)
    docs = load(output)
    assert [[token.text for token in doc] for doc in docs] == WORDS
    assert found(docs, layer) == SPANS
    assert str(summary) == f"2 sentences, 5 tokens, 3 spans (X 1, Y 2), scheme {scheme}"


def test_spacy_keeps_the_tokens(tmp_path: Path, output: Path) -> None:
    """spaCy's own reader would tokenise "can't" again if the spaces were known."""
    convert(put(tmp_path / "in.tsv.gz", IOB2), output, "ents")
    examples: list[Example] = list(Corpus(output)(spacy.blank("en")))
    assert [[token.text for token in example.predicted] for example in examples] == WORDS
    assert [example.get_aligned_ner() for example in examples] == [
        ["O", "B-X", "L-X"],
        ["U-Y", "U-Y"],
    ]


def test_tags(tmp_path: Path, output: Path) -> None:
    source = put(tmp_path / "in.pos", "-DOCSTART- X\n\na DT\nb NN\n\nc NN\n")
    summary = convert(source, output, "tag")
    assert [[token.tag_ for token in doc] for doc in load(output)] == [["DT", "NN"], ["NN"]]
    assert str(summary) == "2 sentences, 3 tokens, 2 tags (DT 1, NN 2), skipped 1 -DOCSTART- lines"


def test_unknown_labels_are_told(tmp_path: Path, output: Path) -> None:
    summary = convert(put(tmp_path / "in.tsv", "a\tO\nb\t-\n"), output, "ents")
    assert str(summary) == "1 sentences, 2 tokens, 0 spans, 1 tokens without annotation"
    assert [token.ent_iob_ for token in load(output)[0]] == ["O", ""]


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_json_lines(tmp_path: Path, output: Path, name: str) -> None:
    source = put(tmp_path / name, json.dumps({"text": "in Rio", "label": [[3, 6, "LOC"]]}))
    summary = convert(source, output, "ents")
    assert found(load(output), "ents") == [[(1, 2, "LOC")]]
    assert str(summary) == "1 sentences, 2 tokens, 1 spans (LOC 1)"
    with pytest.raises(CorpusError, match="JSON lines hold spans"):
        convert(source, output, "tag")


def test_docbin(tmp_path: Path, output: Path) -> None:
    nlp = spacy.blank("en")
    labelled, bare = nlp("in Rio"), nlp("in Lima")
    labelled.spans["sc"] = [labelled[0:2].char_span(3, 6, "LOC"), labelled[0:2]]
    labelled.spans["other"] = []
    labelled[0].tag_ = "IN"
    DocBin(docs=[labelled, bare]).to_disk(tmp_path / "in.spacy")

    summary = convert(tmp_path / "in.spacy", output, "spans:sc")
    (doc,) = load(output)
    assert doc.text == "in Rio"
    assert list(doc.spans) == ["sc"]
    assert [(span.start, span.end, span.label_) for span in doc.spans["sc"]] == [
        (1, 2, "LOC"),
        (0, 2, ""),
    ]
    assert not doc.has_annotation("TAG")
    assert summary.skipped == {"documents without spans:sc": 1}

    summary = convert(tmp_path / "in.spacy", output, "tag")
    assert summary.labels == {"IN": 1}
    assert summary.unknown == 1
    with pytest.raises(CorpusError, match="expected sentences with ents, found none"):
        convert(tmp_path / "in.spacy", output, "ents")


def test_the_format_can_be_named(tmp_path: Path, output: Path) -> None:
    source = put(tmp_path / "in.txt", json.dumps({"text": "in Rio", "label": []}))
    assert convert(source, output, "ents", format="jsonl").tokens == 2
    with pytest.raises(ValueError, match="unknown format 'csv': expected columns, jsonl, spacy"):
        convert(source, output, "ents", format="csv")


def test_a_folder_of_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docbin, "SHARD", 2)
    source = put(tmp_path / "in.tsv", "".join(f"w{n}\tB-X\n\n" for n in range(5)))
    convert(source, tmp_path / "out", "ents")
    shards = sorted((tmp_path / "out").iterdir())
    assert [shard.name for shard in shards] == ["0000.spacy", "0001.spacy", "0002.spacy"]
    texts = [token.text for shard in shards for doc in load(shard) for token in doc]
    assert texts == [f"w{n}" for n in range(5)]


def test_settings_that_make_no_sense(tmp_path: Path, output: Path) -> None:
    source = put(tmp_path / "in.tsv", "a\tB\n")
    with pytest.raises(ValueError, match="unknown layer"):
        convert(source, output, "ner")
    with pytest.raises(ValueError, match="unknown scheme 'BIO': expected IOB1, IOB2"):
        convert(source, output, "ents", scheme="BIO")
    with pytest.raises(ValueError, match="'tag' has plain tags"):
        convert(source, output, "tag", scheme="IOB2")
    with pytest.raises(ValueError, match="unknown checksum 'crc:1': expected sha256:HEX or md5"):
        convert(source, output, "tag", checksum="crc:1")
