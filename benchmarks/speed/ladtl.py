"""What La-DTL costs: a step of it against one plain step of the source and one of the target.

    python benchmarks/speed/ladtl.py SOURCE.spacy TARGET.spacy [--sentences 10 40] [--threads 1 2]

Both corpora have labels in common, or a label map tells them. With configs/ladtl.cfg and the
dimensions of Yang et al. 2017, a round runs `nlp.update` on a batch of both tasks, then on its
target and on its source sentences alone, which leaves out the MMD and adds a step of the optimizer.
A cell is the median over the rounds and, in brackets, the least and the largest. `MMD` is the share
of the La-DTL step that goes into its value and gradient.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from report import layout, spread
from spacy.training import Example
from stages import DIMENSIONS, Stopwatch

from spacy_transfer.corpus.marks import TARGET, task_of
from spacy_transfer.nn.tagger import TransferTagger
from spacy_transfer.training.config import load_training_config
from spacy_transfer.training.schedules import joint
from spacy_transfer.training.setup import set_up

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "ladtl.cfg"
HEADER = ["threads", "sentences", "tokens", "La-DTL ms", "plain ms", "La-DTL / plain", "MMD"]


def main() -> None:
    """Measure all settings and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--label-map", type=Path)
    parser.add_argument("--sentences", type=int, nargs="+", default=[10, 40], help="of each side")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    paths = {"source": arguments.source, "target": arguments.target, "dev": arguments.target}
    paths |= {"label_map": arguments.label_map} if arguments.label_map else {}
    settings = {f"paths.{k}": str(v) for k, v in paths.items()}
    config = load_training_config(CONFIG, {**settings, **DIMENSIONS})
    setup = set_up(config)
    nlp, optimizer = setup.nlp, setup.settings["optimizer"]
    stopwatch = Stopwatch()
    stopwatch.wrap(TransferTagger, "_mmd", "MMD")

    def milliseconds(examples: list[Example]) -> float:
        began = time.perf_counter()
        nlp.update(examples, sgd=optimizer)
        return 1000 * (time.perf_counter() - began)

    lines = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for sentences in arguments.sentences:
            together, apart, share, tokens = [], [], [], []
            batches = joint(sentences, sentences)(setup.streams)
            nlp.update(next(batches), sgd=optimizer)
            for _ in range(arguments.rounds):
                batch = next(batches)
                target = [example for example in batch if task_of(example.reference) == TARGET]
                source = [example for example in batch if task_of(example.reference) != TARGET]
                stopwatch.seconds.clear()
                together.append(milliseconds(batch))
                share.append(1000 * stopwatch.seconds["MMD"] / together[-1])
                apart.append(milliseconds(target) + milliseconds(source))
                tokens.append(sum(len(example) for example in batch))
            ratios = [one / other for one, other in zip(together, apart, strict=True)]
            cells = [spread(together, ".0f"), spread(apart, ".0f"), spread(ratios, ".2f")]
            sizes = [f"{sentences} + {sentences}", f"{statistics.median(tokens):.0f}"]
            lines.append([str(threads), *sizes, *cells, spread(share, ".1%")])
    print(layout(HEADER, lines))


if __name__ == "__main__":
    main()
