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
    source: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="A .spacy file of the source, to see how well it is still tagged; with its name "
            "where there are several.",
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A pipeline that was trained on the source alone: what did the target cost?",
        ),
    ] = None,
    gpu_id: GpuId = -1,
    code: Code = None,
) -> None:
    """Evaluate a trained pipeline: all its scores, on a GPU without cupy too, and on a source."""
    import spacy
    import srsly
    from spacy.cli._util import import_code

    from spacy_transfer.evaluation.forgetting import evaluate_source
    from spacy_transfer.evaluation.pipelines import evaluate_on
    from spacy_transfer.models.device import use_gpu

    with clear_errors():
        if not data.exists():
            raise FileNotFoundError(f"{data}: no such file or folder")
        if before is not None and source is None:
            raise ValueError("--before is compared on a corpus of the source: add --source FILE")
        import_code(code)
        use_gpu(gpu_id)
        on_source = None if source is None else evaluate_source(model, source, before)
        scores = evaluate_on(spacy.load(model), data)
        if on_source is not None:
            scores |= on_source.scores
        if output is not None:
            srsly.write_json(output, scores)
    for name, score in scores.items():
        if isinstance(score, float):
            print(
                f"{name}: {score:,.0f} words/s" if name == "speed" else f"{name}: {100 * score:.2f}"
            )
    if on_source is not None and on_source.cost is not None:
        print(f"\n{on_source.cost}")
