"""`spacy transfer word2vec`: word vectors trained from unlabelled text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors


def word2vec(
    texts: Annotated[
        list[Path],
        typer.Argument(
            metavar="TEXT...",
            help="Text (.txt, a sentence or document a line), column files with the token first, "
            ".spacy files or folders of them. Labels are not read.",
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The pipeline directory to write.")],
    lang: Annotated[str, typer.Option(help="The language, whose tokenizer splits text.")] = "en",
    format: Annotated[
        str | None,
        typer.Option(help="text, columns or spacy; told by the ending of each TEXT by default."),
    ] = None,
    dimensions: Annotated[int, typer.Option(min=1, help="Width of the vectors.")] = 128,
    window: Annotated[int, typer.Option(min=1, help="Words on each side that one predicts.")] = 5,
    min_count: Annotated[int, typer.Option(min=1, help="Rarer words get no vector.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the text.")] = 5,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="The same text and seed, the same vectors.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=1, help="Threads; with more than one, no two runs are the same.")
    ] = 1,
) -> None:
    """Train skip-gram word2vec on text and write the vectors as `--paths.vectors` takes them.

    Words are in lower case with digits as 0, as the tagger looks them up.
    """
    with clear_errors():
        from spacy_transfer.corpus.word2vec import SkipGram, make_word2vec
        from spacy_transfer.models.vocabulary import Normalizer

        settings = SkipGram(dimensions, window, min_count, epochs, seed, workers)
        size = make_word2vec(texts, output, lang, Normalizer(), settings, format)
        print(
            f"{output}: {size.words} words, {dimensions} dimensions, from {size.sentences} "
            f"sentences of {size.tokens} tokens"
        )
