"""A report of results: tables in Markdown, figures, and one HTML page that holds all of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spacy_transfer.evaluation.intervals import Interval
from spacy_transfer.evaluation.significance import ALPHA, DRAWS
from spacy_transfer.evaluation.table import markdown_table
from spacy_transfer.experiments.figures import draw, save
from spacy_transfer.experiments.hidden import describe, draw_panels, make_panels
from spacy_transfer.experiments.pivot import MARK, Pivot, pivot_tables
from spacy_transfer.experiments.results import Row
from spacy_transfer.experiments.significance import (
    Difference,
    Differences,
    differences_of,
    pairs_of,
)
from spacy_transfer.experiments.summary import Cell, summarize

PAGE, TABLES = "report.html", "tables.md"
_HEADER = ["Target", "Rate", "Method", "Sources", "Seeds", "Score", "Gain"]
_PUBLISHED = ["Published", "Published gain"]


def write_report(
    rows: Sequence[Row], output: Path, hidden: Mapping[str, str] | None = None
) -> list[Path]:
    """Write `report.html`, `tables.md` and the figures of each target; their paths.

    `hidden` names pipelines whose hidden states are drawn: see `make_panels`.
    """
    panels = make_panels(hidden or {})
    cells = summarize(rows)
    pairs = pairs_of(cells)
    differences = differences_of(pairs)
    pivots = pivot_tables(pairs, differences)
    note = _note(differences, pivots)
    output.mkdir(parents=True, exist_ok=True)
    written, sections = [], []
    for target, score in dict.fromkeys((cell.target, cell.score) for cell in cells):
        of_target = [cell for cell in cells if (cell.target, cell.score) == (target, score)]
        figures = []
        for name, figure, description in draw(of_target):
            stem = ".".join(_file_name(part) for part in (target, score, name) if part)
            paths = save(figure, output / stem)
            written += paths
            figures.append({"svg": _inline(paths[0]), "description": description})
        lines = [line[1:] for line in table(of_target, differences)]
        sections.append({"title": f"{target} ({score})", "figures": figures, "table": lines})
    states = None
    if panels:
        paths = save(draw_panels(panels), output / "hidden")
        written += paths
        states = {
            "svg": _inline(paths[0]),
            "summary": ", ".join(f"{p.name}: label-aware MMD {p.mmd:.2f}" for p in panels),
            "description": describe(panels),
        }
    environment = Environment(
        loader=PackageLoader("spacy_transfer.experiments", "."),
        autoescape=True,
        undefined=StrictUndefined,
    )
    page = environment.get_template("report.html.jinja").render(
        title=", ".join(dict.fromkeys(row["experiment"] for row in rows)),
        note=note,
        pivots=pivots,
        sections=sections,
        states=states,
        about=_about(rows),
    )
    notes = [note] if note else []
    tables = [markdown_table(table(cells, differences)), *notes, *map(_markdown_pivot, pivots)]
    for name, text in ((PAGE, page), (TABLES, "\n\n".join(tables) + "\n")):
        (output / name).write_text(text, encoding="utf-8")
        written.append(output / name)
    return written


def table(cells: Sequence[Cell], differences: Differences) -> list[list[str]]:
    """Header and rows: means in percent with 95 % intervals over seeds; gains are paired.

    A method without sources is compared with the reference from each of its sources: of these
    differences, that with the largest p-value stands there.
    """
    least_sure: dict[Cell, Difference] = {}
    for (_, cell), found in differences.items():
        least_sure[cell] = max(found, least_sure.get(cell, found), key=lambda d: d.p)
    tested = any(cell in least_sure for cell in cells)
    # From the method without transfer, the difference is the gain.
    named = any(reference.sources for reference, _ in differences)
    published = any(cell.published is not None for cell in cells)
    chosen = any(cell.choices > 1 for cell in cells)
    lines = [
        _HEADER
        + (["Difference"] if named else [])
        + (["p"] if tested else [])
        + (["Vectors"] if chosen else [])
        + (_PUBLISHED if published else [])
    ]
    for cell in cells:
        line = [
            cell.target,
            f"{cell.rate:g}",
            cell.method,
            " + ".join(cell.sources),
            str(len(cell.scores)),
            _text(cell.mean),
            _text(cell.gain, signed=True),
        ]
        sure = least_sure.get(cell)
        if named:
            line.append(_text(sure.points, signed=True) if sure else "")
        if tested:
            line.append(_p_text(sure.p) if sure else "")
        if chosen:
            line.append(cell.vectors or "")
        if published:
            line.append("" if cell.published is None else f"{cell.published:.2f}")
            line.append("" if cell.published_gain is None else f"{cell.published_gain:+.2f}")
        lines.append(line)
    return lines


def _text(value: Interval | None, signed: bool = False) -> str:
    return "" if value is None else value.text(signed)


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _markdown_pivot(pivot: Pivot) -> str:
    rows = [
        [name, *(f"**{entry.text}**" if entry.best else entry.text for entry in entries)]
        for name, entries in pivot.rows
    ]
    tables = [[pivot.header, *rows], *([pivot.overall] if pivot.overall else [])]
    return "\n\n".join([f"## {pivot.title}", *map(markdown_table, tables)])


def _note(differences: Differences, pivots: Sequence[Pivot]) -> str:
    """What p-values and marks mean."""
    if not differences:
        return ""
    name = ", ".join(dict.fromkeys(reference.method for reference, _ in differences))
    of_p = (
        f"Differences are from the method {name}, on the seeds that both have; of several, that "
        f"with the largest p stands there. p: two-sided, by a randomised paired test on test "
        f"sentences ({DRAWS:,} shuffles, all seeds of a sentence together), after Holm's "
        f"correction for all tests of this report ({len(differences)}). It speaks of these runs on "
        f"other sentences; the intervals speak of other seeds."
    )
    if len(differences) > ALPHA * (DRAWS + 1):
        of_p += f" So many tests are more than {DRAWS:,} shuffles can decide: report fewer at once."
    if not pivots:
        return of_p
    ablations = ", ".join(dict.fromkeys(cell.method for _, cell in differences if cell.ablation))
    but = f" but its parts ({ablations})" if ablations else ""
    return (
        f"{of_p} {MARK}: the method {name} is better than every other of the column{but}, or "
        f"another is better than it, p < {ALPHA:g}."
    )


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)


def _inline(path: Path) -> Markup:
    """The svg element of a file alone, without a size of its own."""
    svg = path.read_text(encoding="utf-8")
    return Markup(svg[svg.index("<svg") :])


def _about(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Where the figures are from."""
    machines = Counter(row["machine"] for row in rows if "machine" in row)
    versions: dict[str, set[Any]] = {}
    for row in rows:
        for name, version in row.get("versions", {}).items():
            versions.setdefault(name, set()).add(version)
    seconds = sum(row.get("train_seconds", 0.0) for row in {r["key"]: r for r in rows}.values())
    return [
        ("Runs", f"{len({row['key'] for row in rows})}, {seconds / 3600:.1f} hours of training"),
        ("Machines", ", ".join(machines) or "unknown"),
        *((name, ", ".join(sorted(of))) for name, of in versions.items()),
    ]
