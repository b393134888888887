"""`spacy transfer batch-size`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.cli._options import Code, GpuId


def batch_size(
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(help="Training config, as for `train`.")],
    gpu_id: GpuId = 0,
    code: Code = None,
) -> None:
    """Find the largest batch that fits into a GPU, and how fast each size is.

    Makes training steps on the longest sentences of the corpora, all tasks in equal parts, and
    keeps nothing of them. Any setting of the config can be given on the command line.
    """
    from spacy.cli._util import import_code, parse_config_overrides

    from spacy_transfer.training.batch_size import try_batch_sizes
    from spacy_transfer.training.config import load_training_config

    with clear_errors():
        overrides = parse_config_overrides(list(ctx.args))
        import_code(code)
        loaded = load_training_config(config, overrides)
        largest = 0
        for trial in try_batch_sizes(loaded, use_gpu=gpu_id):
            if trial.tokens_per_second is None:
                print(f"{trial.size} sentences: out of memory", flush=True)
                continue
            largest = max(largest, trial.size)
            print(
                f"{trial.size} sentences: {trial.tokens_per_second:,.0f} tokens/s, "
                f"{trial.peak / 2**30:.2f} GiB",
                flush=True,
            )
        print(f"the largest that fits: {largest} sentences")
