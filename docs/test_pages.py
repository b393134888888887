"""The pages say what happens: their commands and scripts are run, from top to bottom, and so is
what the README shows in Python.

A block of `output` shows lines of what the block before it prints. Numbers may be others, and lines
may be left out, or end in `...`. Blocks of other languages are not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for part in ("guides", "howto") for page in (ROOT / "docs" / part).glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d[\d,.]*")


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown page."""
    for match in _BLOCK.finditer(page):
        yield Block(page[: match.start()].count("\n") + 1, match[1], match[2])


def run(name: str, page: str, folder: Path) -> None:
    """Run the blocks of a page in a folder, in their order, and hold outputs against the page."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONIOENCODING": "utf-8",
    }
    interpreters = {
        "bash": ["bash", "-euo", "pipefail", "-c"],
        "python": [sys.executable, "-c"],
    }
    output = ""
    for block in blocks(page):
        if block.language in interpreters:
            done = subprocess.run(
                [*interpreters[block.language], block.text],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
            )
            output = done.stdout
            assert not done.returncode, f"{name}:{block.line} fails:\n{output}"
        elif block.language == "output":
            missing = not_shown(block.text, output)
            assert missing is None, f"{name}:{block.line} shows {missing!r}; printed was\n{output}"


def not_shown(expected: str, output: str) -> str | None:
    """The first line that an output does not have, after those before it; None if it has all."""
    lines = (_masked(line) for line in output.splitlines())
    for line in expected.splitlines():
        wanted, cut, _ = _masked(line).partition("...")
        if not any(found.startswith(wanted) if cut else found == wanted for found in lines):
            return line
    return None


def _masked(line: str) -> str:
    return " ".join(re.sub(r"-{3,}", "---", _NUMBER.sub("0", line)).split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what a clone has."""
    for needed in ("assets", "configs"):
        (tmp_path / needed).symlink_to(ROOT / needed)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="the pages are for a POSIX shell")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_pages_do_what_they_show(page: Path, folder: Path) -> None:
    run(page.name, page.read_text(encoding="utf-8"), folder)


# A pipeline where the README's main command leaves it.
SET_UP = r"""
```bash
python -m spacy transfer convert assets/clinical/neurology/dev.iob.gz dev.spacy --layer ents
python -m spacy transfer train configs/ladtl.cfg \
  --output training/cardiology-respiratory/ladtl-0.1.seed-0 \
  --paths.source dev.spacy --paths.target dev.spacy --paths.dev dev.spacy \
  --training.max_steps 40 --training.eval_frequency 40
```
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the README is for a POSIX shell")
def test_the_readme_does_what_it_shows_in_python(folder: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    _, shown, _ = re.split(r"^## In Python$|(?<=\n)## Your own", readme, flags=re.MULTILINE)
    assert {block.language for block in blocks(shown)} == {"python"}
    run("set-up", SET_UP, folder)
    run("README.md, In Python", shown, folder)
