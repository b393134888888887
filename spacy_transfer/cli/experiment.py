"""`spacy transfer experiment`: a grid of runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from spacy_transfer.cli._errors import clear_errors
from spacy_transfer.cli._options import GpuId


def experiment(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the runs, and of the results in NAME/."),
    ] = Path("experiments"),
    data: Annotated[
        Path | None,
        typer.Option(help="What its corpora are relative to; by default the folder of FILE."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; by default one a core.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of each run.")] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray for a Ray cluster.")] = "local",
    gpu_id: GpuId = -1,
    keep_models: Annotated[
        bool, typer.Option(help="Keep the pipelines, not scores alone.")
    ] = False,
) -> None:
    """Do the runs of an experiment file that have not been done, and write results.jsonl.

    It can be stopped and started again: what is done stays done, and a run that was cut off goes
    on from its last evaluation.
    """
    with clear_errors():
        from spacy_transfer.experiments.engines import local, ray
        from spacy_transfer.experiments.grid import read_grid, runs_of
        from spacy_transfer.experiments.runner import Experiment

        if engine not in ("local", "ray"):
            raise ValueError(f"--engine must be local or ray; found {engine!r}")
        if engine == "ray" and jobs is not None:
            raise ValueError("--jobs is for --engine local: Ray fills the CPUs that it has")
        if threads < 1 or (jobs is not None and jobs < 1):
            raise ValueError("--jobs and --threads must be at least 1")
        on_gpu = gpu_id >= 0
        if jobs is None:
            jobs = 1 if on_gpu else max(1, (os.cpu_count() or 1) // threads)
        grid = read_grid(file)
        runs = list(runs_of(grid, file.parent, data or file.parent))
        plan = Experiment(grid.name, runs, output)
        works = ray(threads, float(on_gpu)) if engine == "ray" else local(jobs, threads)
        try:
            if grid.search is not None:
                from spacy_transfer.experiments.search import search

                if keep_models:
                    raise ValueError("--keep-models is not for a search: train its best settings")
                best = search(grid.name, grid.search, runs, output, works, gpu_id=gpu_id)
                print(f"best: trial {best.number}, mean dev score {100 * best.dev_score:.2f}")
                for name, value in best.settings.items():
                    print(f"--{name} {value}")
                return
            failures = plan.run(works, gpu_id=gpu_id, keep_models=keep_models)
        except KeyboardInterrupt:
            print(f"stopped; start again to go on: results so far are in {plan.results.parent}")
            raise SystemExit(130) from None
        print(f"results: {plan.results}")
        if failures:
            raise ValueError("\n".join([f"{len(failures)} runs failed", *failures]))
