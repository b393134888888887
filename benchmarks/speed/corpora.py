"""Write the first sentences of a corpus in the formats of all systems.

    python benchmarks/speed/corpora.py TRAIN TEST OUTPUT [--sentences 2000]

TRAIN and TEST are column files, plain or .gz. OUTPUT gets, for train, dev and test, `.txt` (a token
and its BIOES tag a line) and `.spacy`. Dev is one word, so that no system spends time on it. In
`dev.spacy` its entity has a label that no other has: the score, without which `spacy transfer
train` does not start, is always 0.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from spacy.tokens import Doc, DocBin

from spacy_transfer.corpus.columns import read_columns
from spacy_transfer.corpus.convert import convert
from spacy_transfer.corpus.schemes import SchemeDetector, encode


def read(path: Path, sentences: int) -> list[Doc]:
    """The first sentences of a column file."""
    docs = read_columns(path, "ents", SchemeDetector(path, None), Counter())
    return list(islice(docs, sentences))


def write_text(docs: Iterable[Doc], path: Path) -> None:
    """Write documents as a column file."""
    with path.open("w", encoding="utf-8") as file:
        for doc in docs:
            spans = [(span.start, span.end, span.label_) for span in doc.ents]
            tags = encode(spans, len(doc), "BIOES")
            lines = (f"{token.text} {tag}\n" for token, tag in zip(doc, tags, strict=True))
            file.writelines([*lines, "\n"])


def write_corpus(train: Path, test: Path, output: Path, sentences: int) -> None:
    """Write all three parts."""
    output.mkdir(parents=True, exist_ok=True)
    of_train, of_test = read(train, sentences), read(test, sentences)
    word = next(token for doc in of_train for token in doc if not token.ent_type_)
    dev = Doc(word.vocab, words=[word.text], ents=["O"])
    for name, docs in ("train", of_train), ("dev", [dev]), ("test", of_test):
        write_text(docs, output / f"{name}.txt")
        print(f"{name}: {len(docs)} sentences, {sum(map(len, docs))} words")
    for name in "train", "test":
        convert(output / f"{name}.txt", output / f"{name}.spacy", "ents", scheme="BIOES")
    scored = Doc(word.vocab, words=[word.text], ents=["B-none"])
    DocBin(docs=[scored]).to_disk(output / "dev.spacy")


def main() -> None:
    """Write the corpus that the command line names."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sentences", type=int, default=2000)
    write_corpus(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
