"""Do `spacy evaluate`, seqeval and the rules of conlleval agree on a pipeline's predictions?

    python benchmarks/accuracy/score_agreement.py TEST.spacy MODEL...

Exit status 1 when precision, recall or F1 differ by more than 1e-12.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spacy
from seqeval.metrics import f1_score, precision_score, recall_score
from spacy.cli.evaluate import evaluate
from spacy.tokens import Doc

from spacy_transfer.corpus.schemes import decode, encode
from spacy_transfer.corpus.shards import read_docs


def bio(doc: Doc) -> list[str]:
    """The entities of a Doc as BIO tags."""
    return encode([(e.start, e.end, e.label_) for e in doc.ents], len(doc), "BIO")


def by_conlleval(gold: list[list[str]], predicted: list[list[str]]) -> tuple[float, float, float]:
    """Precision, recall and F1 over the chunks that conlleval's rules find in both."""
    correct = found = wanted = 0
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        golds, predictions = set(decode(gold_tags)), set(decode(predicted_tags))
        correct += len(golds & predictions)
        found += len(predictions)
        wanted += len(golds)
    precision, recall = correct / max(found, 1), correct / max(wanted, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-300)


def compare(model: Path, test: Path) -> float:
    """Print the three scorers' figures for a pipeline; the largest difference between them."""
    metrics = evaluate(str(model), test, silent=True)
    nlp = spacy.load(model)
    docs = list(read_docs(test, nlp.vocab))
    gold = [bio(doc) for doc in docs]
    texts = (Doc(nlp.vocab, words=[token.text for token in doc]) for doc in docs)
    predicted = [bio(doc) for doc in nlp.pipe(texts)]
    figures = {
        "spacy evaluate": [metrics["ents_p"], metrics["ents_r"], metrics["ents_f"]],
        "seqeval": [
            scorer(gold, predicted) for scorer in (precision_score, recall_score, f1_score)
        ],
        "conlleval": list(by_conlleval(gold, predicted)),
    }
    for name, values in figures.items():
        print(f"{model}  {name:14}  P {values[0]:.15f}  R {values[1]:.15f}  F1 {values[2]:.15f}")
    columns: list[tuple[float, ...]] = list(zip(*figures.values(), strict=True))
    return max(max(values) - min(values) for values in columns)


def main() -> None:
    """Compare all models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("test", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    arguments = parser.parse_args()
    difference = max(compare(model, arguments.test) for model in arguments.models)
    print(f"largest difference: {difference:.3g}")
    raise SystemExit(difference > 1e-12)


if __name__ == "__main__":
    main()
