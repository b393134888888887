"""`spacy transfer rank-sources`: which corpus to transfer from?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors


def rank_sources(
    target: Annotated[
        Path, typer.Argument(help="The target's training corpus: columns, JSON lines or .spacy.")
    ],
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Labelled corpora to choose from.")
    ],
    layer: Annotated[
        str, typer.Option(help="Where their labels are: ents, tag or spans:KEY.")
    ] = "ents",
    maps: Annotated[
        Path | None,
        typer.Option(
            help="Folder of label maps, NAME.tsv for each source: those that are there are used, "
            "the others are suggested and written, for you to edit."
        ),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="A pipeline with word vectors, for the MMD.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="Sentences of each corpus, drawn by the seed; 0 for all.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    lang: Annotated[
        str, typer.Option(help="Language whose tokenizer splits JSON lines without tokens.")
    ] = "en",
) -> None:
    """Rank source corpora for a target by what they have in common, before any training."""
    from spacy_transfer.evaluation import ranking

    with clear_errors():
        found = ranking.rank_sources(
            target,
            sources,
            layer=layer,
            limit=limit,
            seed=seed,
            lang=lang,
            vectors=vectors,
            maps=maps,
        )
    of_target = found.target
    print(
        f"target: {target}, {len(of_target.sentences):,} sentences, "
        f"{of_target.labels.total():,} spans, layer {layer}\n\n{ranking.ranking_table(found)}\n"
    )
    for signal in ranking.SIGNALS:
        print(f"{signal.title}: {signal.meaning}")
    print("+ high is good, - low is good; the mean rank is over all signals.\n")
    for line in ranking.ranking_notes(found):
        print(line)
    for path in found.maps:
        print(f"suggested labels, to be edited: {path}")
