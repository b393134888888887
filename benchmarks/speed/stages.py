"""Where the time of training and tagging goes, stage by stage, and how near it is to the limit.

    python benchmarks/speed/stages.py TRAIN.spacy TEST.spacy [--threads 1 2] [--batch 10 32]

`nlp.update` and `nlp.pipe` run as they are, with a stopwatch that always counts for one stage: the
innermost function of those in `watch` that is being run. In the backward pass it goes over to a
stage when the gradient of that stage's output is complete.

- lookup: Docs to indices, word embeddings, from distinct words to tokens;
- characters, words: the two levels of the encoder;
- CRF: emissions, loss or decoding;
- optimizer: clipping and AdaGrad;
- spaCy: all else.

The limit is torch's product of two 2048 x 2048 matrices (sgemm), timed before each measurement with
as many threads. The share of it counts the matrix products of the recurrent layers as they are
run (distinct words, no padding), three times in training: forward, and the gradients of inputs
and of weights.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from report import Row, append, stage_table
from spacy.tokens import Doc

from spacy_transfer.corpus.shards import read_docs
from spacy_transfer.models.shim import TransferShim
from spacy_transfer.models.vocabulary import Vocabulary
from spacy_transfer.nn.encoders import CharacterEncoder, WordEmbedding, WordEncoder
from spacy_transfer.nn.recurrent import BiRecurrent
from spacy_transfer.nn.tagger import TransferTagger
from spacy_transfer.training.config import load_training_config
from spacy_transfer.training.schedules import target_only
from spacy_transfer.training.setup import set_up

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "target_only.cfg"
ENCODER = "components.transfer_ner.model.encoder"
SIZES = json.loads(Path(__file__).with_name("dimensions.json").read_text(encoding="utf-8"))
DIMENSIONS = {f"{ENCODER}.{name}": size for name, size in SIZES.items()}
"""Those of Yang et al. 2017."""
WARM_UP = 10
"""Batches, or sentences to tag, before the clock starts."""


class Stopwatch:
    """Seconds and floating-point operations by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.operations = 0
        self._stages: list[str] = []
        self._since = 0.0

    def _count(self) -> None:
        now = time.perf_counter()
        if self._stages:
            stage = self._stages[-1]
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count for a stage, then go on with the one before."""
        self._count()
        self._stages.append(name)
        yield
        self._count()
        self._stages.pop()

    def go_over(self, name: str) -> Callable[[torch.Tensor], None]:
        """A hook of a tensor: from the moment its gradient is complete, count for a stage."""

        def hook(_: torch.Tensor) -> None:
            self._count()
            self._stages[-1] = name

        return hook

    def wrap(self, owner: Any, function: str, name: str, *, backward: str | None = None) -> None:
        """Let a function count for a stage, and for `backward` what led to its output."""
        original = getattr(owner, function)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                output = original(*args, **kwargs)
            if backward and output.requires_grad:
                output.register_hook(self.go_over(backward))
            return output

        setattr(owner, function, timed)


def watch(stopwatch: Stopwatch) -> None:
    """Put the stopwatch into all stages."""
    encode, layer = WordEncoder.forward, BiRecurrent.forward

    def encode_words(self: WordEncoder, tokens: Any) -> torch.Tensor:
        if tokens.data.requires_grad:
            tokens.data.register_hook(stopwatch.go_over("lookup"))
        return encode(self, tokens)

    def run_layer(self: BiRecurrent, inputs: torch.Tensor, batch_sizes: torch.Tensor) -> Any:
        weights = sum(weight.numel() for weight in self.parameters() if weight.dim() == 2)
        stopwatch.operations += 2 * weights * len(inputs) * (3 if self.training else 1)
        return layer(self, inputs, batch_sizes)

    WordEncoder.forward, BiRecurrent.forward = encode_words, run_layer  # type: ignore[method-assign]
    stopwatch.wrap(Vocabulary, "batch", "lookup")
    stopwatch.wrap(TransferTagger, "forward", "CRF")
    stopwatch.wrap(TransferTagger, "hidden", "lookup")
    stopwatch.wrap(WordEmbedding, "forward", "lookup", backward="lookup")
    stopwatch.wrap(CharacterEncoder, "forward", "characters", backward="characters")
    stopwatch.wrap(WordEncoder, "forward", "words", backward="words")
    stopwatch.wrap(torch.autograd, "backward", "CRF")
    stopwatch.wrap(TransferShim, "finish_update", "optimizer")


def sgemm_limit() -> float:
    """Floating-point operations a second of a large matrix product."""
    size = 2048
    matrix, seconds = torch.rand(size, size), []
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(matrix, matrix)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds)


class Bench:
    """A pipeline and its corpora."""

    def __init__(self, train: Path, test: Path, sentences: int) -> None:
        paths = {"paths.target": str(train), "paths.dev": str(test)}
        config = load_training_config(CONFIG, {**paths, **DIMENSIONS})
        self.setup = set_up(config)
        docs = itertools.islice(read_docs(test, self.setup.nlp.vocab), sentences)
        self.test = [[token.text for token in doc] for doc in docs]
        self.sentences = sentences
        self.stopwatch = Stopwatch()
        watch(self.stopwatch)

    def train(self, batch: int) -> None:
        """Time updates."""
        nlp, optimizer = self.setup.nlp, self.setup.settings["optimizer"]
        batches = target_only(batch)(self.setup.streams)
        steps = max(1, self.sentences // batch)
        for number, examples in enumerate(itertools.islice(batches, WARM_UP + steps)):
            if number == WARM_UP:
                self._reset()
            with self.stopwatch.stage("spaCy"):
                nlp.update(examples, drop=0.0, sgd=optimizer)

    def tag(self, batch: int | None) -> None:
        """Time tagging; None is the pipeline's own batch size."""
        nlp = self.setup.nlp
        for sentences in self.test[:WARM_UP], self.test:
            docs = [Doc(nlp.vocab, words=words) for words in sentences]
            self._reset()
            with self.stopwatch.stage("spaCy"):
                deque(nlp.pipe(docs, batch_size=batch), maxlen=0)

    def _reset(self) -> None:
        self.stopwatch.seconds.clear()
        self.stopwatch.operations = 0

    def measure(self, mode: str, threads: int, batch: int | None) -> Row:
        """One measurement as a row of results."""
        torch.set_num_threads(threads)
        limit = sgemm_limit()
        if mode == "train":
            assert batch
            self.train(batch)
        else:
            self.tag(batch)
        seconds = sum(self.stopwatch.seconds.values())
        return {
            "system": "stages",
            "mode": mode,
            "threads": threads,
            "batch": batch,
            "shares": {name: s / seconds for name, s in self.stopwatch.seconds.items()},
            "gflops_limit": limit / 1e9,
            "share_of_limit": self.stopwatch.operations / seconds / limit,
        }


def main() -> None:
    """Measure all settings in turn, `--rounds` times, and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[10, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--results", type=Path, help="file to add the results to")
    arguments = parser.parse_args()
    bench = Bench(arguments.train, arguments.test, arguments.sentences)
    settings = [
        *itertools.product(["train"], arguments.threads, arguments.batch),
        *itertools.product(["tag"], arguments.threads, [*arguments.batch, None]),
    ]
    rows = []
    for number, setting in itertools.product(range(arguments.rounds), settings):
        rows.append({**bench.measure(*setting), "round": number})
        if arguments.results:
            append(arguments.results, rows[-1])
    print(stage_table(rows))


if __name__ == "__main__":
    main()
