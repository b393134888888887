"""Parts of the pages that are made from the code and the configs at each build.

A line `<!-- NAME -->` of a page is replaced by what the function of that name in `PARTS` gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import typer

from spacy_transfer.cli import app

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    for name, part in PARTS.items():
        marker = f"<!-- {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, "\n".join(part()))
    return markdown


def commands() -> Iterator[str]:
    """Every command with its arguments and options."""
    for name, command in vars(typer.main.get_command(app))["commands"].items():
        rows, usage = [], [name]
        for param in command.params:
            text = [(param.help or "").strip(". ").replace("|", "\\|")]
            if param.param_type_name == "argument":
                shown = (param.metavar or param.name).upper().rstrip(".")
                shown += "..." if param.nargs < 0 else ""
                usage.append(shown if param.required else f"[{shown}]")
            else:
                shown = ", ".join(param.opts)
                if param.required:
                    usage.append(f"{param.opts[0]} {param.name.upper()}")
                elif param.default is not None and not param.is_flag:
                    text.append(f"Default: `{param.default}`")
            rows.append(f"| `{shown}` | {'. '.join(filter(None, text))}. |")
        yield f"## {name}\n\n{inspect.cleandoc(command.help or '')}\n"
        yield f"```text\npython -m spacy transfer {' '.join(usage)}\n```\n"
        yield from ("| Argument or option | Meaning |\n|---|---|", *rows, "")


def configs() -> Iterator[str]:
    """Every config: what it says of itself at its top, and the file."""
    for path in sorted((ROOT / "configs").glob("*.cfg")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        top = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
        yield f"## {path.name}\n"
        yield " ".join(line.lstrip("# ") for line in top) + "\n"
        yield f'??? example "configs/{path.name}"\n\n    ```ini'
        yield from (f"    {line}" for line in "\n".join(lines[len(top) :]).strip().splitlines())
        yield "    ```\n"


def registered() -> Iterator[str]:
    """What the package registers under a name, each with a link to its description."""
    yield "| In a config | Name | Description |\n|---|---|---|"
    for entry in distribution("spacy-transfer").entry_points:
        registry, where = entry.group.partition("_")[2], entry.value.replace(":", ".")
        key = "factory" if registry == "factories" else f"@{registry}"
        if registry != "cli":
            yield f"| `{key}` | `{entry.name}` | [{where.rpartition('.')[2]}][{where}] |"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands,
    "configs": configs,
    "registered": registered,
}
