"""`spacy transfer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.cli._options import Code, GpuId


def evaluate(
    model: Annotated[str, typer.Argument(help="A trained pipeline: its folder or package.")],
    data: Annotated[Path, typer.Argument(help="A .spacy file, or a folder of them.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A JSON file for the scores.")
    ] = None,
    gpu_id: GpuId = -1,
    code: Code = None,
) -> None:
    """Evaluate a trained pipeline: `spacy evaluate`, on a GPU without cupy too."""
    from spacy.cli._util import import_code
    from spacy.cli.evaluate import evaluate

    from spacy_transfer.models.device import use_gpu

    with clear_errors():
        if not data.exists():
            raise FileNotFoundError(f"{data}: no such file or folder")
        import_code(code)
        use_gpu(gpu_id)
        scores = evaluate(model, data, output)
    for name, score in scores.items():
        if isinstance(score, float):
            print(
                f"{name}: {score:,.0f} words/s" if name == "speed" else f"{name}: {100 * score:.2f}"
            )
