"""`spacy transfer compare`: is one pipeline better than another?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.cli._options import Code, GpuId


def compare(
    model_a: Annotated[str, typer.Argument(help="A trained pipeline: its folder or package.")],
    model_b: Annotated[str, typer.Argument(help="The pipeline to compare it with.")],
    test: Annotated[Path, typer.Argument(help="A .spacy file, or a folder of them.")],
    layer: Annotated[
        str | None,
        typer.Option(
            help="What to compare: ents, tag or spans:KEY; by default what the transfer components "
            "of both pipelines tag."
        ),
    ] = None,
    shuffles: Annotated[
        int, typer.Option(min=1, help="Shuffles of the test, and resamples of the intervals.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of shuffles and resamples.")] = 0,
    gpu_id: GpuId = -1,
    code: Code = None,
) -> None:
    """Compare two trained pipelines on a test corpus: is the difference more than chance?

    A randomised paired test on its documents, and bootstrap intervals over them: let each be a
    sentence, as `spacy transfer convert` writes them, for a test that tells most.
    """
    from spacy.cli._util import import_code

    from spacy_transfer.evaluation.comparison import compare, comparison_report
    from spacy_transfer.models.device import use_gpu

    with clear_errors():
        import_code(code)
        use_gpu(gpu_id)
        comparison = compare((model_a, model_b), test, layer, draws=shuffles, seed=seed)
    print(comparison_report((model_a, model_b), test, comparison, draws=shuffles, seed=seed))
