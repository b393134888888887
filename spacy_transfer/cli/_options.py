"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GpuId = Annotated[
    int, typer.Option("--gpu-id", "-g", help="GPU, with or without cupy; -1 for the CPU.")
]
Code = Annotated[
    Path | None, typer.Option("--code", "-c", help="Python file that registers functions.")
]
