"""`spacy transfer train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.cli._options import Code, GpuId


def train(
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(help="Training config, as for `spacy train`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the results.")],
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in OUTPUT, if it was killed."),
    ] = False,
    gpu_id: GpuId = -1,
    code: Code = None,
) -> None:
    """Train a pipeline on a target corpus and its sources.

    Any setting of the config can be given on the command line, as in --paths.target FILE.spacy.
    Under torchrun, several processes or GPUs share each batch.
    """
    from spacy.cli._util import import_code, parse_config_overrides

    from spacy_transfer.nn.parallel import rank
    from spacy_transfer.training.config import load_training_config
    from spacy_transfer.training.distributed import local_gpu, process_group
    from spacy_transfer.training.logger import shown_log
    from spacy_transfer.training.loop import BEST, train

    with clear_errors(), process_group(gpu_id), shown_log():
        overrides = parse_config_overrides(list(ctx.args))
        import_code(code)
        loaded = load_training_config(config, overrides)
        try:
            progress = train(loaded, output, use_gpu=local_gpu(gpu_id), resume=resume)
        except KeyboardInterrupt:
            print(f"stopped; the pipelines so far are in {output}")
            raise SystemExit(130) from None
        if rank() == 0:
            print(
                f"best dev score {100 * progress.best_score:.2f} at step {progress.best_step}: "
                f"{output / BEST}"
            )
