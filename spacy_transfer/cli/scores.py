"""`spacy transfer scores`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors


def scores(
    files: Annotated[
        list[Path], typer.Argument(help="Outputs of `spacy evaluate --output`, or their folders.")
    ],
) -> None:
    """Print a table of evaluated pipelines: precision, recall and F1, averaged over seeds."""
    from spacy_transfer.evaluation.table import read_scores, score_table

    with clear_errors():
        print(score_table(read_scores(files)))
