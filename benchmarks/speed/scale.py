"""Do the time a token and the memory stay flat from 10,000 to 1,000,000 sentences?

    python benchmarks/speed/scale.py [--sizes 10000 100000 1000000] [--tag 10000 100000] [--small]

Corpora of each size are made by repeating the training sentences of the embedded sample, with one
word in twenty spelled in another way; they are written once, as folders of shards, and read as
streams. On each, `spacy transfer train` runs for a fixed number of steps; then `nlp.pipe` goes over
the whole stream with the model of the smallest corpus. With --small the network has one layer of 50
and no characters: tagging is ten times as fast, and what could grow with a corpus, which lies
around the network, shows the more. Time is given of the process, which its neighbours disturb less,
and of the clock; memory is the highest so far.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.util import registry
from spacy.vocab import Vocab

from spacy_transfer.corpus.columns import read_columns
from spacy_transfer.corpus.docbin import docbin_writer
from spacy_transfer.corpus.schemes import SchemeDetector
from spacy_transfer.corpus.shards import read_docs

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "assets" / "clinical"
CONFIG = ROOT / "configs" / "target_only.cfg"
METER = """
[initialize.before_init]
@callbacks = "scale.Meter"
path = {path}

[initialize.after_init]
@callbacks = "scale.Meter"
path = {path}

[training.before_update]
@callbacks = "scale.Meter"
path = {path}
"""
ENCODER = "components.transfer_ner.model.encoder"
SMALL = {"char_encoder": "none", "word_hidden": 50, "word_layers": 1}
BATCH = 10
WARM_UP = 1000
"""Sentences that are tagged before the clock starts."""
PERTURBED = 0.05


class Moment(NamedTuple):
    """Tokens so far, seconds of the process and of the clock, and the highest memory so far."""

    tokens: int
    process: float
    clock: float
    peak_mb: float


def now(tokens: int) -> Moment:
    """This moment, in this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    megabyte = 2**20 if sys.platform == "darwin" else 2**10
    return Moment(tokens, time.process_time(), time.perf_counter(), peak / megabyte)


@registry.callbacks("scale.Meter")  # type: ignore[untyped-decorator]
def meter(path: str) -> Callable[..., Language]:
    """Write down the moment of each call: before and after initialisation, before each update."""

    def note(nlp: Language, info: dict[str, Any] | None = None) -> Language:
        with Path(path).open("a", encoding="utf-8") as file:
            print(json.dumps(now(info["step"] if info else -1)), file=file)
        return nlp

    return note


def sample() -> list[tuple[list[str], list[str]]]:
    """Words and tags of the training sentences of all specialties."""
    return [
        (
            [token.text for token in doc],
            [f"{token.ent_iob_}-{token.ent_type_}".rstrip("-") for token in doc],
        )
        for path in sorted(SAMPLE.glob("*/train.iob.gz"))
        for doc in read_columns(path, "ents", SchemeDetector(path, None), Counter())
    ]


@lru_cache(maxsize=1_000_000)
def spelled(word: str, number: int) -> str:
    """The so-manieth other spelling of a word: new digits, or one letter exchanged."""
    rng = random.Random(f"{word}/{number}")
    if word.isdigit():
        return "".join(rng.choice("0123456789") for _ in word)
    place = rng.randrange(len(word))
    return word[:place] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[place + 1 :]


def perturbed(count: int) -> Iterator[Doc]:
    """That many sentences. Few spellings are frequent, so that the vocabulary grows ever slower."""
    vocab, rng = Vocab(), random.Random(0)
    for words, tags in islice(cycle(sample()), count):
        written = [
            spelled(word, int(rng.paretovariate(1))) if rng.random() < PERTURBED else word
            for word in words
        ]
        yield Doc(vocab, words=written, ents=tags)


def make(folder: Path, size: int) -> dict[str, int]:
    """Write a corpus of `size` sentences unless it is there; tokens and distinct words of it."""
    corpus, facts = folder / str(size), folder / f"{size}.json"
    if not facts.exists():
        tokens, words = 0, set[int]()
        with docbin_writer(corpus, "ents") as add:
            for doc in perturbed(size):
                add(doc)
                tokens += len(doc)
                words.update(token.orth for token in doc)
        facts.write_text(json.dumps({"tokens": tokens, "words": len(words)}))
    dev = folder / "dev.spacy"
    if not dev.exists():
        # The label is of no other entity: the score is always 0, and no model is ever better.
        DocBin(docs=[Doc(Vocab(), words=["the"], ents=["B-none"])]).to_disk(dev)
    known: dict[str, int] = json.loads(facts.read_text())
    return known


def train(folder: Path, size: int, steps: int, encoder: dict[str, Any]) -> list[Moment]:
    """Train by the command: before and after initialisation, after a quarter and all of `steps`."""
    output, path = folder / f"model-{size}", folder / f"moments-{size}.jsonl"
    path.unlink(missing_ok=True)
    config = folder / f"{size}.cfg"
    config.write_text(CONFIG.read_text() + METER.format(path=json.dumps(str(path))))
    quarter = steps // 4
    settings = {
        "--output": output,
        "--code": Path(__file__).resolve(),
        "--paths.target": folder / str(size),
        "--paths.dev": folder / "dev.spacy",
        "--training.batcher.batch_size": BATCH,
        "--training.eval_frequency": quarter,
        # The update after the last step that counts notes when that was over.
        "--training.max_steps": 4 * quarter + 1,
        "--training.patience": 0,
        **{f"--{ENCODER}.{name}": value for name, value in encoder.items()},
    }
    options = [str(part) for setting in settings.items() for part in setting]
    command = [sys.executable, "-m", "spacy", "transfer", "train", str(config), *options]
    subprocess.run(command, check=True, stdout=sys.stderr)
    before, after, *updates = (Moment(*json.loads(line)) for line in path.read_text().splitlines())
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [
        before,
        after,
        *(updates[line["step"]]._replace(tokens=line["words"]) for line in (log[0], log[3])),
    ]


def tag(model: Path, corpus: Path, size: int) -> list[Moment]:
    """Tag a stream after a warm-up: the moments when 0, 0.1, 0.2, ... of it are done."""
    nlp = spacy.load(model)
    deque(nlp.pipe(islice(read_docs(corpus, nlp.vocab), WARM_UP)), maxlen=0)
    moments, tokens = [now(0)], 0
    for done, doc in enumerate(nlp.pipe(read_docs(corpus, nlp.vocab)), start=1):
        tokens += len(doc)
        if done == len(moments) * size // 10:
            moments.append(now(tokens))
    return moments


def microseconds(first: Moment, last: Moment, tokens: int | None = None) -> str:
    """Time a token between two moments: of the process, and of the clock."""
    tokens = tokens or last.tokens - first.tokens
    times = last.process - first.process, last.clock - first.clock
    return " / ".join(f"{1e6 * seconds / tokens:.1f}" for seconds in times)


def row(*cells: object) -> None:
    """Print a line of a table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main() -> None:
    """Make, train, tag and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--tag", type=int, nargs="*", help="sizes to tag as well; by default, all")
    parser.add_argument("--steps", type=int, default=1000, help="of training")
    parser.add_argument("--small", action="store_true", help="a small network, no characters")
    parser.add_argument("--work", type=Path, default=ROOT / ".benchmarks" / "scale")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    facts = {size: make(arguments.work, size) for size in arguments.sizes}
    print("Microseconds a token are those of the process / of the clock.\n")
    row("sentences", "tokens", "words", "initialise", "train", "peak MB: init", "train")
    row(*7 * ["---"])
    for size, known in facts.items():
        before, after, quarter, end = train(
            arguments.work, size, arguments.steps, SMALL if arguments.small else {}
        )
        row(
            size,
            known["tokens"],
            known["words"],
            microseconds(before, after, known["tokens"]),
            microseconds(quarter, end),
            f"{after.peak_mb:.0f}",
            f"{end.peak_mb:.0f}",
        )
    print()
    row("sentences", "tag", "first half", "second half", "peak MB: loaded", "10 %", "50 %", "100 %")
    row(*8 * ["---"])
    for size in arguments.sizes if arguments.tag is None else arguments.tag:
        model = arguments.work / f"model-{arguments.sizes[0]}" / "model-last"
        with get_context("spawn").Pool(1) as pool:
            moments = pool.apply(tag, (model, arguments.work / str(size), size))
        row(
            size,
            microseconds(moments[0], moments[-1]),
            microseconds(moments[0], moments[5]),
            microseconds(moments[5], moments[10]),
            *(f"{moments[tenth].peak_mb:.0f}" for tenth in (0, 1, 5, 10)),
        )


if __name__ == "__main__":
    main()
