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
) -> None:
    """Turn the results of experiments into tables, figures and one HTML page."""
    with clear_errors():
        from spacy_transfer.experiments.results import read_rows

        try:
            from spacy_transfer.experiments.report import write_report
        except ImportError as error:
            raise ImportError(
                f"reports need an extra: pip install 'spacy-transfer[report]' ({error})"
            ) from error

        for path in write_report(read_rows(results), output or results[0].parent / "report"):
            print(path)
