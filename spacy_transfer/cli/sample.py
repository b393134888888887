"""`spacy transfer sample`: keep a seeded share of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors


def sample(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A .spacy file, or a folder of them")
    ],
    output: Annotated[Path, typer.Argument(help="The .spacy file to write")],
    rate: Annotated[float, typer.Option(help="The share to keep, above 0 and up to 1")],
    seed: Annotated[int, typer.Option(help="Which sentences: the same seed, the same ones")] = 0,
    rest: Annotated[
        Path | None,
        typer.Option(help="A .spacy file for the sentences that are not kept"),
    ] = None,
) -> None:
    """Keep a seeded share of the sentences (documents) of a corpus: a labeling rate.

    Shares with the same seed are nested: what 1 % holds, 10 % holds too.
    """
    with clear_errors():
        from spacy_transfer.corpus.sampling import sample_corpus

        counts = sample_corpus(source, output, rate, seed, rest)
        print(
            f"{output}: {counts.sentences} of {counts.of_sentences} sentences, "
            f"{counts.tokens} of {counts.of_tokens} tokens"
        )
