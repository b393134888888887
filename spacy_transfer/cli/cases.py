"""`spacy transfer cases`: how are terms tagged that only the source has?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.cli._options import Code, GpuId


def cases(
    models: Annotated[
        list[str],
        typer.Argument(help="Trained pipelines, without and with transfer: folders or packages."),
    ],
    test: Annotated[Path, typer.Argument(help="A .spacy file, or a folder of them.")],
    terms: Annotated[
        Path | None,
        typer.Option(
            help="A file of terms, one a line, with synonyms after it, separated by tabs; by "
            "default those that a source's training data has and the target's lacks."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of these to show.")] = 20,
    layer: Annotated[
        str | None,
        typer.Option(
            help="What to look at: ents, tag or spans:KEY; by default what the transfer components "
            "of the pipelines tag."
        ),
    ] = None,
    gpu_id: GpuId = -1,
    code: Code = None,
) -> None:
    """Show term by term how often it is in the training data and how often it is tagged right.

    The pipelines' training corpora are read once more, from the folder they were trained in.
    """
    from spacy.cli._util import import_code

    from spacy_transfer.evaluation.cases import analyse_cases, case_table
    from spacy_transfer.models.device import use_gpu

    with clear_errors():
        import_code(code)
        use_gpu(gpu_id)
        analysis = analyse_cases(models, test, terms, layer)
    for letter, model in analysis.models.items():
        print(f"{letter}: {model}")
    for name, corpus in (*analysis.sources.items(), *analysis.targets.items()):
        print(f"{name}: {corpus.path}")
    print(f"test: {test}, {analysis.documents:,} documents, layer {analysis.layer}\n")
    print(case_table(analysis, None if terms else limit))
