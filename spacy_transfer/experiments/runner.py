"""Does the runs of an experiment that have not been done, and keeps one table of all."""

from __future__ import annotations

import json
import shutil
from collections import ChainMap
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from spacy.vocab import Vocab
from tqdm import tqdm

from spacy_transfer.corpus.checksum import digest
from spacy_transfer.corpus.convert import convert
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.gold import is_annotated
from spacy_transfer.corpus.shards import read_docs
from spacy_transfer.experiments.engines import LOG, Engine
from spacy_transfer.experiments.locks import alone
from spacy_transfer.experiments.results import (
    MORE_TESTS,
    Row,
    known_rows,
    result_in,
    rows_of,
    write_rows,
)
from spacy_transfer.experiments.run import CorpusFiles, Run, config_of, key_of
from spacy_transfer.experiments.summary import require_distinct
from spacy_transfer.experiments.worker import CONFIG, RESULT, RUN
from spacy_transfer.training.loop import BEST
from spacy_transfer.training.resume import CHECKPOINT

RESULTS, EARLIER, RUNS = "results.jsonl", "earlier.jsonl", "runs"


class Experiment:
    """Runs in an output folder, which several experiments may have in common.

    Each run is in the folder `runs/KEY`, where KEY is a hash of all that determines its result:
    what has been done is not done again, runs that are the same are done once, and one that was
    killed goes on from its last evaluation. The table
    `NAME/results.jsonl` has a line for each run of this experiment that is done, in the order of
    its runs; what it has is done, so that the table of another machine can be gone on with.
    Lines that are of none of its runs (any more) go to `NAME/earlier.jsonl`, from where they come
    back with the run.
    """

    def __init__(self, name: str, runs: Sequence[Run], output: Path) -> None:
        """Name the runs; ValueError for a config or a setting that cannot be used, and for runs
        that a report could not tell apart; CorpusError for a table that cannot be read."""
        self.runs = [(key_of(run), run) for run in runs]
        require_distinct(
            row
            for key, run in self.runs
            for row in rows_of(key, run, {MORE_TESTS: {name: {} for name in run.target.more_tests}})
        )
        self.output = output.resolve()
        self.results = self.output / name / RESULTS
        self._earlier = self.results.with_name(EARLIER)
        self._known = ChainMap(known_rows(self.results), known_rows(self._earlier))

    def folder(self, key: str) -> Path:
        """The folder of a run."""
        return self.output / RUNS / key

    def waiting(self, keep_models: bool) -> tuple[dict[str, Run], dict[str, Run]]:
        """The runs that have not been done, by key, those of the first seed first; and before them,
        apart, those whose pipelines they start from. Where models are to be kept, a run is done if
        its model is there."""

        def learned(key: str) -> bool:
            folder = self.folder(key)
            return (folder / RESULT).exists() and (folder / BEST).exists()

        by_seed = sorted(self.runs, key=lambda item: item[1].seed)
        waiting = {
            key: run
            for key, run in by_seed
            if not (learned(key) if keep_models else self._result(key, run))
        }
        wanted = {key_of(run.first): run.first for run in waiting.values() if run.first is not None}
        return {key: run for key, run in wanted.items() if not learned(key)}, waiting

    def run(self, engine: Engine, *, gpu_id: int = -1, keep_models: bool = False) -> list[str]:
        """Do what is waiting; a line for each run that failed, with where its log is.

        Raises CorpusError for a corpus that cannot be read, before any run, and ValueError when
        another command is at work in the output folder.
        """
        with alone(self.output):
            return self._run(engine, gpu_id, keep_models)

    def _run(self, engine: Engine, gpu_id: int, keep_models: bool) -> list[str]:
        first, waiting = self.waiting(keep_models)
        rounds = [
            {self._prepare(key, run, gpu_id, True): run for key, run in first.items()},
            {
                self._prepare(key, run, gpu_id, keep_models): run
                for key, run in waiting.items()
                if key not in first
            },
        ]
        folders = {**rounds[0], **rounds[1]}
        failures = []
        self._keep_earlier()
        self.write_results()
        distinct = len({key for key, _ in self.runs} | first.keys())
        with tqdm(total=distinct, initial=distinct - len(folders), unit="run") as bar:
            for folder in chain.from_iterable(
                engine(list(of_round)) for of_round in rounds if of_round
            ):
                run = folders[folder]
                if (folder / RESULT).exists():
                    score = json.loads((folder / RESULT).read_text())["test_score"]
                    bar.write(f"{run}: {100 * (score or 0):.2f}")
                else:
                    failures.append(f"{run}: {_last_line(folder / LOG)} ({folder / LOG})")
                    bar.write(f"failed: {failures[-1]}")
                bar.update()
                self.write_results()
        return failures

    def _keep_earlier(self) -> None:
        """Put the rows of the table aside that `write_results` would drop."""
        table, earlier = self._known.maps
        keys = {key for key, _ in self.runs}
        leaving = {at: row for at, row in table.items() if at[0] not in keys}
        if leaving:
            write_rows({**earlier, **leaving}.values(), self._earlier)
            tqdm.write(
                f"{len(leaving)} results in {self.results} are of no run of this experiment, whose "
                f"settings, corpora or versions may have changed: moved to {self._earlier.name}"
            )

    def write_results(self) -> None:
        """Write the table of all runs that are done."""
        rows: list[Row] = []
        for key, run in self.runs:
            if (result := self._result(key, run)) is not None:
                rows += rows_of(key, run, result)
        write_rows(rows, self.results)

    def _result(self, key: str, run: Run) -> Mapping[str, Any] | None:
        """What a run measured, here or by the table that was found; None before it has."""
        path = self.folder(key) / RESULT
        if path.exists():
            measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return measured
        return result_in(self._known, key, run)

    def _prepare(self, key: str, run: Run, gpu_id: int, keep_models: bool) -> Path:
        """Make a run's folder, with all that its worker reads, and what it can go on from."""
        folder = self.folder(key)
        if not (folder / CHECKPOINT).exists():
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        assert run.target.test is not None
        settings = {
            "run": str(run),
            "score": run.score,
            "layer": run.target.layer,
            "test": self._place(run.target.test, run.target),
            "more_tests": {
                name: self._place(path, run.target) for name, path in run.target.more_tests.items()
            },
            "gpu_id": gpu_id,
            "keep_models": keep_models,
        }
        config_of(run, self._place, self._pipeline).to_disk(folder / CONFIG, interpolate=False)
        (folder / RUN).write_text(json.dumps(settings, indent=2), encoding="utf-8")
        return folder

    def _pipeline(self, run: Run) -> str:
        return str(self.folder(key_of(run)) / BEST)

    def _place(self, path: Path, files: CorpusFiles) -> str:
        """Where a corpus is in spaCy's format, into which it is brought once."""
        if path.is_dir() or path.suffix == ".spacy":
            _require_annotated(path, files.layer)
            return str(path.resolve())
        name = [path.name.split(".")[0], digest(path)[:12], files.layer.replace(":", "-")]
        folder = f"corpora-{version('spacy-transfer')}"
        output = self.output / folder / f"{'-'.join([*name, files.lang])}.spacy"
        if not output.exists():
            convert(path, output, files.layer, lang=files.lang)
        return str(output)


def kept_model(results: Path, key: str) -> Path:
    """Where the model of a run is, if it was kept, by the table that the run is in."""
    return results.resolve().parent.parent / RUNS / key / BEST


@cache
def _require_annotated(path: Path, layer: str) -> None:
    if not any(is_annotated(doc, layer) for doc in read_docs(path, Vocab())):
        raise CorpusError(path, None, f"none of its documents is annotated in layer {layer!r}")


def _last_line(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return (text.strip().splitlines() or ["it ended without a word"])[-1]
