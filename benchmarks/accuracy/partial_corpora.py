"""CoNLL 2003 with three tenths of its token labels, for partial_labels.yml.

    python benchmarks/accuracy/partial_corpora.py DATA OUTPUT

DATA has conll2003-en/train.ner.gz, in IOB2. Every entity as a whole, and every token outside of
entities by itself, keeps its label with probability 0.3. An entity that lost it has `-` (nobody
looked at it) on all of its tokens in partial.ner.gz, a token outside has `-` too; in outside.ner.gz
both are `O`. So no entity is cut: each has all of its tokens or none, and of its neighbours nothing
more is known than their own labels say.
"""

from __future__ import annotations

import random

from yang_corpora import Sentence, folders, read, write

KEPT = 0.3


def thinned(sentence: Sentence, lost: str, rng: random.Random) -> Sentence:
    """A sentence whose labels are `lost` where they are not kept."""
    result = []
    kept = True
    for word, label in sentence:
        if not label.startswith("I-"):
            kept = rng.random() < KEPT
        result.append((word, label if kept else lost))
    return result


def main() -> None:
    """Write both corpora."""
    data, output = folders(__doc__)
    sentences = read(data / "conll2003-en" / "train.ner.gz")
    for name, lost in (("partial", "-"), ("outside", "O")):
        rng = random.Random(13)
        corpus = [thinned(sentence, lost, rng) for sentence in sentences]
        write(corpus, output / "conll2003-en" / f"{name}.ner.gz")


if __name__ == "__main__":
    main()
