"""spacy-transfer against its peers: speed, memory, start-up, and where our time goes.

    python benchmarks/speed/compare.py [--train FILE --test FILE] [--ncrfpp CLONE]

Run it in an environment with spacy-transfer and its extra `fast`. flair, spaCy with its own `ner`
and pytorch-crf are installed apart from it, in `.benchmarks/`, when they are missing; NCRF++ is a
clone of https://github.com/jiesutd/NCRFpp. FILE is a column file, plain or .gz, such as CoNLL 2003;
without it the embedded sample is used.

All systems but `spacy-ner` have the dimensions of Yang et al. 2017. Each run is a process of
its own that trains or tags the same sentences; within a round the systems take turns, setting by
setting, so that what else the machine does meets all of them. At the end come the shares of our
stages (stages.py) and the CRF against pytorch-crf (crf.py). What all but the last measure goes to a
file line by line; report.py prints its tables again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from environments import FOLDER, folder_of, python_of, requirements
from report import OURS, Row, append, read, report, title

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[1] / "assets" / "clinical" / "cardiology"
SCRIPTS = {"flair": "flair_tagger.py", "ncrfpp": "ncrfpp.py", "spacy-ner": "spacy_ner.py"}


@dataclass(frozen=True)
class System:
    """A tagger and how to run it."""

    name: str
    python: str | Path
    script: str
    path: Path | None = None

    def run(self, mode: str, data: Path, threads: int, batch: int | None) -> Row:
        """Run the worker once; its figures. A failure ends the benchmark."""
        models = FOLDER / "models" / self.name
        command = [self.python, HERE / "systems" / self.script, mode, data, models]
        options = {"--started": time.time(), "--batch": batch, "--path": self.path}
        given = [(name, value) for name, value in options.items() if value is not None]
        arguments = [str(part) for part in (*command, *itertools.chain(*given))]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
        setting = {"system": self.name, "mode": mode, "threads": threads, "batch": batch}
        return {**setting, **json.loads(done.stdout.splitlines()[-1])}


def about(options: argparse.Namespace, peers: list[str]) -> Row:
    """What the results depend on."""
    ours = ("spacy-transfer", "spacy", "thinc", "torch", "numba")
    return {
        "system": "about",
        "options": {name: str(value) for name, value in vars(options).items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ours},
        "peers": {peer: requirements(peer) for peer in peers},
    }


def main() -> None:
    """Install what is missing, run all settings in turn, print the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--train", type=Path, default=SAMPLE / "train.iob.gz")
    parser.add_argument("--test", type=Path, default=SAMPLE / "test.iob.gz")
    installable = ["flair", "spacy-ner"]
    parser.add_argument("--peers", nargs="*", choices=installable, default=installable)
    parser.add_argument("--ncrfpp", type=Path, help="a clone of NCRF++, which is then compared too")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[10, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=2000, help="of each file, at most")
    parser.add_argument("--results", type=Path, help="by default, .benchmarks/speed-TIME.jsonl")
    options = parser.parse_args()
    peers = options.peers + ["ncrfpp"] * bool(options.ncrfpp)
    systems = [System(OURS, sys.executable, "ours.py")]
    for peer in peers:
        path = options.ncrfpp.resolve() if peer == "ncrfpp" else None
        systems.append(System(peer, python_of(peer), SCRIPTS[peer], path))
    results = options.results or FOLDER / f"speed-{datetime.now():%Y%m%d-%H%M%S}.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    data = FOLDER / "corpus"
    files = [options.train, options.test, data, "--sentences", options.sentences]
    if subprocess.run([sys.executable, HERE / "corpora.py", *map(str, files)]).returncode:
        raise SystemExit(1)
    append(results, about(options, peers))

    batches = {"train": options.batch, "tag": [*options.batch, None]}
    settings = [
        (mode, threads, batch)
        for threads in options.threads
        for mode, sizes in batches.items()
        for batch in sizes
    ]
    for number in range(options.rounds):
        turn = number % len(systems)
        for mode, threads, batch in settings:
            for system in systems[turn:] + systems[:turn]:
                row = {"round": number, **system.run(mode, data, threads, batch)}
                append(results, row)
                speed = f"{system.name}: {row['words_per_second']:.0f} words/s"
                progress = f"round {number + 1}: {title(mode, threads, batch)}: {speed}"
                print(progress, file=sys.stderr)

    stages = [data / "train.spacy", data / "test.spacy", "--results", results]
    stages += ["--rounds", options.rounds, "--sentences", options.sentences]
    stages += ["--threads", *options.threads, "--batch", *options.batch]
    command = [sys.executable, str(HERE / "stages.py"), *map(str, stages)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(report(read(results)), end="\n\n", flush=True)
    with_peer = {**os.environ, "PYTHONPATH": str(folder_of("pytorch-crf==0.7.2"))}
    crf = [sys.executable, str(HERE / "crf.py"), "--rounds", str(10 * options.rounds)]
    subprocess.run(crf, check=True, env=with_peer)
    print(f"\n{results}")


if __name__ == "__main__":
    main()
