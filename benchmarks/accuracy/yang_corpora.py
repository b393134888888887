"""The corpora of Yang et al. 2017 (or what is free of them), as the grid files here want them.

    python benchmarks/accuracy/yang_corpora.py DATA OUTPUT

DATA has column files, .gz: conll2000-en/{train,test}.{chunk,pos},
conll2002-es/{train,dev,test}.ner, conll2003-en/{train,dev,test}.ner, genia/{train,dev,test}.pos,
ptb-sample/all.pos, twitter/{train,dev,test}.{ner,pos} and twitter/wnut16-test.ner.

- ptb: the tenth of the Penn Treebank that is free, split 80/10/10 by a seed.
- ptb-source: all of it and the tags of CoNLL 2000, without the sentences they share.
- chunks: CoNLL 2000, a tenth of the training sentences set apart as dev.
- The others are copied as they are.
"""

from __future__ import annotations

import argparse
import gzip
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

Sentence = list[tuple[str, str]]
BRACKETS = {"(": "-LRB-", ")": "-RRB-"}
"""Tags that CoNLL 2000 has for those of the treebank."""


def read(path: Path) -> list[Sentence]:
    """The sentences of a column file, as (word, label)."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        blocks = file.read().strip("\n").split("\n\n")
    return [[(w, y) for w, y in (line.split("\t") for line in b.split("\n"))] for b in blocks]


def write(sentences: Sequence[Sentence], path: Path) -> None:
    """Write a column file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join("".join(f"{w}\t{y}\n" for w, y in sentence) + "\n" for sentence in sentences)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{path}: {len(sentences)} sentences, {sum(map(len, sentences))} tokens")


def split(sentences: Sequence[Sentence], shares: Sequence[float]) -> list[list[Sentence]]:
    """Shuffle and cut into these shares; the last one takes the rest."""
    order = list(sentences)
    random.Random(13).shuffle(order)
    sizes = [round(share * len(order)) for share in shares[:-1]]
    parts = []
    for size in sizes:
        parts.append(order[:size])
        order = order[size:]
    return [*parts, order]


def folders(description: str | None) -> tuple[Path, Path]:
    """DATA and OUTPUT of the command line."""
    parser = argparse.ArgumentParser(description=str(description).splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    return options.data, options.output


def main() -> None:
    """Write all corpora."""
    data, output = folders(__doc__)
    sample = read(data / "ptb-sample" / "all.pos.gz")
    known = {tuple(word for word, _ in sentence) for sentence in sample}
    news = [
        [(word, BRACKETS.get(tag, tag)) for word, tag in sentence]
        for sentence in read(data / "conll2000-en" / "train.pos.gz")
        if tuple(word for word, _ in sentence) not in known
    ]
    write(sample + news, output / "ptb-source.pos.gz")
    for name, part in zip(("train", "dev", "test"), split(sample, (0.8, 0.1, 0.1)), strict=True):
        write(part, output / "ptb" / f"{name}.pos.gz")
    train, dev = split(read(data / "conll2000-en" / "train.chunk.gz"), (0.9, 0.1))
    write(train, output / "chunks" / "train.chunk.gz")
    write(dev, output / "chunks" / "dev.chunk.gz")
    write(read(data / "conll2000-en" / "test.chunk.gz"), output / "chunks" / "test.chunk.gz")
    for pattern in ("conll2002-es/*.ner.gz", "conll2003-en/*.ner.gz", "genia/*.pos.gz"):
        copy(data, pattern, output)
    for layer in ("ner", "pos"):
        copy(data, f"twitter/*.{layer}.gz", output)


def copy(data: Path, pattern: str, output: Path) -> None:
    """Copy train, dev and test, and newer tweets to test on."""
    for path in sorted(data.glob(pattern)):
        if path.name.split(".")[0] in ("train", "dev", "test", "wnut16-test"):
            target = output / path.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


if __name__ == "__main__":
    main()
