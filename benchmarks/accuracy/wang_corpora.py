"""The corpora of Wang et al. 2018 (or what is free of them), as the grid files here want them.

    python benchmarks/accuracy/wang_corpora.py DATA OUTPUT

DATA has column files, .gz: biomed/*/{train,dev,test}.ner, sighan-zh/{train,test}.ner, and
weibo-zh/{train,dev,test}.ladtl.ner.

- cancer, pathways, infections, organisms: four neighbouring biomedical domains in the place of the
  paper's four hospital departments, with equal names for labels that mean the same.
- cancer-pathways and the other pairs, by the alphabet: both with the labels that both have, so
  that, as in the paper, they have one set of labels.
- sighan, weibo: copied as they are; the test part of sighan, which is only a source, is its dev.
- biomed.gz: the training sentences of all corpora in biomed/, each once; chinese.gz: those of
  sighan and weibo. `spacy transfer word2vec` trains vectors on them and does not read their labels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from itertools import combinations
from pathlib import Path

from yang_corpora import Sentence, folders, read, write

DOMAINS = {
    "cancer": "BioNLP13CG",
    "pathways": "BioNLP13PC",
    "infections": "BioNLP11ID",
    "organisms": "CRAFT",
}
LABELS = {
    "Gene_or_gene_product": "PROTEIN",
    "Protein": "PROTEIN",
    "GGP": "PROTEIN",
    "Simple_chemical": "CHEMICAL",
    "Chemical": "CHEMICAL",
    "CHEBI": "CHEMICAL",
    "Organism": "SPECIES",
    "Taxon": "SPECIES",
    "Cell": "CELL",
    "CL": "CELL",
}
"""Common names; labels that are not here keep theirs."""
PARTS = ("train", "dev", "test")


def renamed(tag: str) -> str:
    """A tag with the common name of its label."""
    prefix, dash, label = tag.partition("-")
    return prefix + dash + LABELS.get(label, label)


def labels_of(sentences: Iterable[Sentence]) -> Counter[str]:
    """How many spans have each label."""
    tags = (tag for sentence in sentences for _, tag in sentence)
    return Counter(tag[2:] for tag in tags if tag.startswith("B-"))


def with_labels(sentences: Iterable[Sentence], kept: Container[str]) -> list[Sentence]:
    """The sentences with the spans of these labels alone."""
    return [[(w, tag if tag[2:] in kept else "O") for w, tag in s] for s in sentences]


def distinct(paths: Iterable[Path]) -> list[Sentence]:
    """The sentences of column files, each once."""
    return list({tuple(w for w, _ in s): s for path in paths for s in read(path)}.values())


def main() -> None:
    """Write all corpora."""
    data, output = folders(__doc__)
    domains: dict[str, dict[str, list[Sentence]]] = defaultdict(dict)
    for name, folder in DOMAINS.items():
        for part in PARTS:
            sentences: list[Sentence] = [
                [(word, renamed(tag)) for word, tag in sentence]
                for sentence in read(data / "biomed" / folder / f"{part}.ner.gz")
            ]
            write(sentences, output / name / f"{part}.ner.gz")
            counts = labels_of(sentences)
            print("   ", ", ".join(f"{label} {n}" for label, n in counts.most_common()))
            domains[name][part] = sentences
    for pair in combinations(sorted(domains), 2):
        shared = set.intersection(*(set(labels_of(domains[name]["train"])) for name in pair))
        for name in pair:
            for part, sentences in domains[name].items():
                path = output / "-".join(pair) / name / f"{part}.ner.gz"
                write(with_labels(sentences, shared), path)
    write(distinct(sorted(data.glob("biomed/*/train.ner.gz"))), output / "biomed.gz")

    sighan = data / "sighan-zh" / "train.ner.gz"
    weibo = {part: data / "weibo-zh" / f"{part}.ladtl.ner.gz" for part in PARTS}
    write(read(sighan), output / "sighan" / "train.ner.gz")
    write(read(data / "sighan-zh" / "test.ner.gz"), output / "sighan" / "dev.ner.gz")
    for part, path in weibo.items():
        write(read(path), output / "weibo" / f"{part}.ner.gz")
    write(distinct([sighan, weibo["train"]]), output / "chinese.gz")


if __name__ == "__main__":
    main()
