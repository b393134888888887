"""`spacy transfer convert`: labelled corpora in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Columns, JSON lines, .spacy or a folder of it.")
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="A .spacy file; without that ending, a folder of shards."
        ),
    ],
    layer: Annotated[str, typer.Option(help="What is labelled: ents, tag or spans:KEY.")],
    format: Annotated[
        str | None,
        typer.Option(help="columns, jsonl or spacy; told by the ending of INPUT by default."),
    ] = None,
    token_column: Annotated[
        int, typer.Option(help="Column of the token, from 0; from -1 counted from the end.")
    ] = 0,
    label_column: Annotated[int, typer.Option(help="Column of the label.")] = -1,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="IOB1, IOB2, BIOES or BILUO; detected by default. "
            "IOB1 also reads a mixture of IOB1 and IOB2."
        ),
    ] = None,
    lang: Annotated[
        str, typer.Option(help="Language whose tokenizer splits JSON lines without tokens.")
    ] = "en",
    checksum: Annotated[
        str | None, typer.Option(help="What INPUT must have: sha256:HEX or md5:HEX.")
    ] = None,
    assets: Annotated[
        Path | None,
        typer.Option(help="A project.yml; if INPUT is one of its assets, its checksum must match."),
    ] = None,
) -> None:
    """Convert a labelled corpus to spaCy's format, keeping its tokens.

    Column files hold a token a line and an empty line after each sentence, parted by tabs or
    blanks, plain or .gz. Skipped are -DOCSTART- lines, and comments: lines between sentences that
    begin with "# " and do not have the columns of a token line.
    """
    from spacy_transfer.corpus import convert as corpus
    from spacy_transfer.corpus.checksum import asset_checksum

    with clear_errors():
        if assets and not checksum:
            checksum = asset_checksum(assets, source)
        summary = corpus.convert(
            source,
            output,
            layer,
            format=format,
            token_column=token_column,
            label_column=label_column,
            scheme=scheme,
            lang=lang,
            checksum=checksum,
        )
    print(f"{output}: {summary}")
