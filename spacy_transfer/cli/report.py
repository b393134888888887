"""`spacy transfer report`: tables and figures of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors


def report(
    results: Annotated[
        list[Path], typer.Argument(help="results.jsonl of one or more experiments.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the report; by default beside the results."),
    ] = None,
    hidden: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL",
            help="Draw the hidden states of a trained pipeline, whose training corpora are read "
            "from the folder it was trained in, or of all runs of another results.jsonl whose "
            "models were kept; may be given several times.",
        ),
    ] = None,
) -> None:
    """Turn the results of experiments into tables, figures and one HTML page."""
    with clear_errors():
        from spacy_transfer.experiments.results import read_rows

        try:
            from spacy_transfer.experiments.hidden import named_models
            from spacy_transfer.experiments.report import write_report

            rows, models = read_rows(results), named_models(hidden or [])
            written = write_report(rows, output or results[0].parent / "report", models)
        except ImportError as error:
            raise ImportError(
                f"reports need an extra: pip install 'spacy-transfer[report]' ({error})"
            ) from error

        for path in written:
            print(path)
