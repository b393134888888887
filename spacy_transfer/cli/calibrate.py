"""`spacy transfer calibrate`: probabilities that mean what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.cli._options import Code, GpuId


def calibrate(
    model: Annotated[str, typer.Argument(help="A trained pipeline: its folder or package.")],
    dev: Annotated[Path, typer.Argument(help="A .spacy file that it was not trained on.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the calibrated pipeline.")
    ],
    test: Annotated[
        Path | None, typer.Option(help="Another .spacy file, on which nothing is fitted.")
    ] = None,
    component: Annotated[
        str | None, typer.Option(help="Which component, of a pipeline with several.")
    ] = None,
    gpu_id: GpuId = -1,
    code: Code = None,
) -> None:
    """Fit the temperature of a component's probabilities, and say how far they are from the truth.

    What is predicted stays the same. Beside the pipeline, OUTPUT gets a reliability diagram.
    """
    with clear_errors():
        import spacy
        from spacy.cli._util import import_code

        from spacy_transfer.corpus.readers import task_corpus
        from spacy_transfer.corpus.saving import check_replaceable, save_pipeline
        from spacy_transfer.evaluation.calibration import (
            bins_of,
            calibrate,
            calibration_table,
            judge,
        )
        from spacy_transfer.evaluation.model_card import renew_card
        from spacy_transfer.models.device import use_gpu
        from spacy_transfer.pipeline.components import the_transfer_pipe

        try:
            from spacy_transfer.evaluation.reliability import reliability_diagram
            from spacy_transfer.experiments.figures import save
        except ImportError as error:
            raise ImportError(
                f"the diagram needs an extra: pip install 'spacy-transfer[report]' ({error})"
            ) from error

        check_replaceable(output)
        import_code(code)
        use_gpu(gpu_id)
        nlp = spacy.load(model)
        pipe = the_transfer_pipe(nlp, model, component)
        corpus = task_corpus(dev, pipe.task_layer)
        judged = {}
        if test is not None:
            of_test = task_corpus(test, pipe.task_layer)
            judged["test, before"] = judge(nlp, pipe, of_test)
        found = calibrate(nlp, pipe, corpus)
        judged = {"dev, before": found.before, "dev, after": found.after, **judged}
        if test is not None:
            judged["test, after"] = judge(nlp, pipe, of_test)
        renew_card(nlp)
        save_pipeline(nlp, output)
        diagram = reliability_diagram({name: bins_of(of_name) for name, of_name in judged.items()})
        paths = save(diagram, output / "reliability")
    print(f"temperature {found.temperature:.3f}: {output}\n\n{calibration_table(judged)}\n")
    for path in paths:
        print(path)
