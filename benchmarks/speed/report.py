"""Tables of the results of `compare.py` and `stages.py`.

    python benchmarks/speed/report.py RESULTS.jsonl

A cell is the median over the rounds and, in brackets, the least and the largest. A ratio is taken
within a round, between runs that followed each other.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
OURS = "spacy-transfer"
STAGES = ("lookup", "characters", "words", "CRF", "optimizer", "spaCy")


def append(path: Path, row: Row) -> None:
    """Add a row to a file of results."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[Row]:
    """All rows of a file of results."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def spread(values: Iterable[float], form: str) -> str:
    """Median, least and largest; nothing for no values."""
    ordered = sorted(values)
    if not ordered:
        return ""
    median, least, most = (
        format(value, form) for value in (statistics.median(ordered), ordered[0], ordered[-1])
    )
    return f"{median} ({least}-{most})"


def layout(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    table = [header, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    rows = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in table]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def groups(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by the values of some keys, in order of appearance."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def title(mode: str, threads: int, batch: int | None) -> str:
    """A setting in words."""
    size = f"batch {batch}" if batch else "default batch"
    return f"{mode}, {size}, {threads} thread{'s' * (threads > 1)}"


def speed_table(rows: list[Row]) -> str:
    """Speed by setting and system, with the ratio of ours to each."""
    lines = []
    for setting, of_setting in groups(rows, "mode", "threads", "batch").items():
        systems = {name: of_system for (name,), of_system in groups(of_setting, "system").items()}
        ours = {row["round"]: row["words_per_second"] for row in systems.get(OURS, [])}
        for name, of_system in systems.items():
            ratios = [
                ours[row["round"]] / row["words_per_second"]
                for row in of_system
                if name != OURS and row["round"] in ours
            ]
            cells = (
                spread((row[key] for row in of_system), ",.0f")
                for key in ("words_per_second", "sentences_per_second")
            )
            lines.append([title(*setting), name, *cells, spread(ratios, ".2f")])
    return layout(["setting", "system", "words/s", "sentences/s", f"{OURS} / it"], lines)


def resource_table(rows: list[Row]) -> str:
    """Peak memory and start-up of each system, over all settings."""
    lines = [
        [
            mode,
            name,
            spread((row["peak_mb"] for row in of_system), ",.0f"),
            spread((row["start_up"] for row in of_system), ".1f"),
        ]
        for (mode, name), of_system in groups(rows, "mode", "system").items()
    ]
    return layout(["mode", "system", "peak memory, MB", "start-up, s"], lines)


def stage_table(rows: list[Row]) -> str:
    """The share of each stage by setting, and of the sgemm limit, in percent."""

    def percent(shares: Iterable[float]) -> str:
        return spread((100 * share for share in shares), ".1f")

    lines = []
    for setting, of_setting in groups(rows, "mode", "threads", "batch").items():
        stages = (percent(row["shares"].get(stage, 0.0) for row in of_setting) for stage in STAGES)
        limit = percent(row["share_of_limit"] for row in of_setting)
        gflops = spread((row["gflops_limit"] for row in of_setting), ".0f")
        lines.append([title(*setting), *stages, limit, gflops])
    header = ["%", *STAGES, "of sgemm limit", "limit, GFLOP/s"]
    return layout(header, lines)


def report(rows: list[Row]) -> str:
    """All tables for which there are results."""
    stages = [row for row in rows if row["system"] == "stages"]
    runs = [row for row in rows if row["system"] not in ("stages", "about")]
    tables = [json.dumps(row) for row in rows if row["system"] == "about"]
    if runs:
        tables += [speed_table(runs), resource_table(runs)]
    if stages:
        tables.append(stage_table(stages))
    return "\n\n".join(tables)


if __name__ == "__main__":
    print(report(read(Path(sys.argv[1]))))
