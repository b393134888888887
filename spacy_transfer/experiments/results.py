"""The results table: a JSON object a line, one for each run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines, write_whole
from spacy_transfer.evaluation.counts import pack, unpack
from spacy_transfer.experiments.run import Run

Row = dict[str, Any]
"""What a run was (experiment, target, sources, method, rate, seed, ...) and what it measured."""

COUNTS = "test_counts"
"""What the run got right in each test sentence: packed in a file, an array in a row that is read.
Results of versions that did not keep it lack it."""
HISTORY = "history"
"""Step, seconds of training and dev score of each evaluation, which old results lack as well."""

_NEEDED = {"experiment", "target", "sources", "method", "rate", "seed", "vectors", "published"}
_NEEDED |= {"score", "key", "dev_score", "test_score"}


MORE_TESTS = "more_tests"
"""In the result of a run: what it measured on further test corpora, by their names."""


def rows_of(key: str, run: Run, result: Mapping[str, Any]) -> Iterator[Row]:
    """The row of a run that is done, and one more for each further test corpus, as a target of the
    same name."""
    measured = {name: value for name, value in result.items() if name != MORE_TESTS}
    row = {**_described(key, run), **measured}
    yield row
    for name, of_test in result.get(MORE_TESTS, {}).items():
        yield {**row, "target": name, "published": None, **of_test}


def result_in(rows: Mapping[tuple[str, str], Row], key: str, run: Run) -> Mapping[str, Any] | None:
    """What a run measured, as `rows_of` takes it, from rows by their key and target; None where one
    of its rows is missing."""
    names = [run.target.name, *run.target.more_tests]
    if any((key, name) not in rows for name in names):
        return None
    described = _described(key, run)
    measured = {
        name: {field: value for field, value in rows[key, name].items() if field not in described}
        for name in names
    }
    return {**measured.pop(run.target.name), MORE_TESTS: measured}


def _described(key: str, run: Run) -> Row:
    """What a run is."""
    return {
        "experiment": run.experiment,
        "target": run.target.name,
        "sources": [source.name for source in run.sources],
        "method": run.method,
        "rate": run.rate,
        "seed": run.seed,
        "vectors": run.vectors and Path(run.vectors).name,
        "published": run.published,
        "reference": run.reference,
        "ablation": run.ablation,
        "swept": run.swept and asdict(run.swept),
        "score": run.score,
        "key": key,
    }


def known_rows(table: Path) -> dict[tuple[str, str], Row]:
    """The rows of a table by their key and target, as they are in the file; none where it is empty
    or there is none. CorpusError as by `read_rows`."""
    if not table.exists() or not table.stat().st_size:
        return {}
    rows = read_rows([table])
    for row in rows:
        if COUNTS in row:
            row[COUNTS] = pack(row[COUNTS])
    return {(row["key"], row["target"]): row for row in rows}


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Write a table, or leave the one that was there as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """Read tables that `write_rows` wrote; CorpusError naming file and line for anything else."""
    rows = []
    for path in paths:
        for number, line in read_lines(path):
            try:
                row = json.loads(line)
                if COUNTS in row:
                    row[COUNTS] = unpack(row[COUNTS])
            except (TypeError, ValueError):
                row = None
            if not isinstance(row, dict) or not row.keys() >= _NEEDED:
                raise CorpusError(path, number, "expected a result of `spacy transfer experiment`")
            rows.append(row)
    if not rows:
        raise CorpusError(paths[0], None, "expected results of `spacy transfer experiment`")
    return rows
