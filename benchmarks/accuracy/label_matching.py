"""Are the labels that `spacy transfer rank-sources --maps` suggests the right ones?

    python benchmarks/accuracy/label_matching.py DATA CORPORA

DATA is that of wang_corpora.py, whose biomedical corpora are compared under their own label names;
CORPORA what yang_corpora.py wrote. The names of source labels are hidden: strings and contexts
alone decide. The known maps are twitter-conll2003.tsv, twitter-ptb.tsv and equal names of tags,
and the names that wang_corpora.py gives to what means the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

from wang_corpora import DOMAINS, renamed
from yang_corpora import folders

from spacy_transfer.corpus.label_map import read_label_map
from spacy_transfer.corpus.labelled import LabelledText, Sentence, read_labelled_text
from spacy_transfer.corpus.matching import match_labels
from spacy_transfer.evaluation.table import markdown_table

ROOT = Path(__file__).parents[2]
HIDDEN = "source "
GENIA = 380
"""Sentences of Genia: 0.025 of them, as a target with few labels."""


def hidden(text: LabelledText) -> LabelledText:
    """A corpus whose labels have other names than they had."""
    return LabelledText(
        text.name,
        [
            Sentence(words, [(start, end, HIDDEN + label) for start, end, label in spans], unknown)
            for words, spans, unknown in text.sentences
        ],
    )


def compare(
    target: LabelledText, source: LabelledText, known: Mapping[str, str]
) -> tuple[int, int, int]:
    """Right, suggested and known pairs; what is wrong or missing is printed."""
    expected = {t: s for t, s in known.items() if t in target.labels and s in source.labels}
    matches = match_labels(target, hidden(source))
    found = {m.target: m.source.removeprefix(HIDDEN) for m in matches if m.suggested}
    for match in matches:
        label, wanted = match.target, expected.get(match.target)
        if found.get(label) != wanted:
            print(
                f"{target.name} from {source.name}: {label} = {found.get(label)}, expected "
                f"{wanted}; the best has score {match.score:.2f}"
            )
    right = sum(expected.get(label) == other for label, other in found.items())
    return right, len(found), len(expected)


def main() -> None:
    """Compare all pairs of corpora whose map is known."""
    data, corpora = folders(__doc__)
    results: dict[str, list[tuple[int, int, int]]] = {}

    def read(path: Path, layer: str, name: str, limit: int = 0) -> LabelledText:
        return read_labelled_text(path, layer, limit=limit, name=name)

    twitter = read(corpora / "twitter" / "train.ner.gz", "ents", "twitter")
    conll = read(corpora / "conll2003-en" / "train.ner.gz", "ents", "conll2003")
    label_map = read_label_map(ROOT / "assets" / "label_maps" / "twitter-conll2003.tsv")
    results["CoNLL 2003 to Twitter"] = [compare(twitter, conll, label_map)]

    ptb = read(corpora / "ptb-source.pos.gz", "tag", "ptb")
    tweets = read(corpora / "twitter" / "train.pos.gz", "tag", "twitter")
    same = {tag: tag for tag in ptb.labels}
    brackets = read_label_map(Path(__file__).parent / "label_maps" / "twitter-ptb.tsv")
    results["PTB to Twitter, tags"] = [compare(tweets, ptb, {**same, **brackets})]
    genia = read(corpora / "genia" / "train.pos.gz", "tag", "genia", GENIA)
    results["PTB to Genia, tags"] = [compare(genia, ptb, same)]

    biomed = {
        name: read(data / "biomed" / folder / "train.ner.gz", "ents", name)
        for name, folder in DOMAINS.items()
    }
    results["12 pairs of biomedical domains"] = [
        compare(
            biomed[target],
            biomed[source],
            {
                ours: theirs
                for ours in biomed[target].labels
                for theirs in biomed[source].labels
                if renamed(f"B-{ours}") == renamed(f"B-{theirs}")
            },
        )
        for target, source in permutations(biomed, 2)
    ]
    rows = [["Corpora", "suggested", "known", "right", "precision", "recall"]]
    for name, counts in results.items():
        right, suggested, known = (sum(column) for column in zip(*counts, strict=True))
        shares = (f"{right / suggested:.2f}", f"{right / known:.2f}")
        rows.append([name, str(suggested), str(known), str(right), *shares])
    print(f"\n{markdown_table(rows)}")


if __name__ == "__main__":
    main()
