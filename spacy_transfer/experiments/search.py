"""A search for the settings with the best dev score, by Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from spacy_transfer.experiments.engines import Engine
from spacy_transfer.experiments.grid import Between, Search
from spacy_transfer.experiments.results import read_rows, write_rows
from spacy_transfer.experiments.run import Run
from spacy_transfer.experiments.runner import Experiment

TRIALS = "search.jsonl"


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and the mean of the best dev scores of all runs with them."""

    number: int
    settings: dict[str, Any]
    dev_score: float


def search(
    name: str, what: Search, runs: Sequence[Run], output: Path, engine: Engine, *, gpu_id: int = -1
) -> Trial:
    """Do all runs with settings that a tree-structured Parzen estimator proposes, trial by trial.

    What it proposes depends on its seed and on the scores so far alone: as runs that are done are
    not done again, a search that was stopped goes on where it was. The table `NAME/search.jsonl`
    has a line for each trial, `NAME/trial-N/results.jsonl` its runs. Returns the best trial.

    ValueError for a setting that cannot be used, or when a run fails.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError("a search needs Optuna: pip install 'spacy-transfer[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=what.seed)
    )
    distributions: dict[str, Any] = {
        setting: optuna.distributions.FloatDistribution(values.low, values.high, log=values.log)
        if isinstance(values, Between)
        else optuna.distributions.CategoricalDistribution(values)
        for setting, values in what.settings.items()
    }
    trials: list[Trial] = []
    for number in range(what.trials):
        asked = study.ask(distributions)
        experiment = Experiment(
            f"{name}/trial-{number}",
            [replace(run, settings={**run.settings, **asked.params}) for run in runs],
            output,
        )
        failures = experiment.run(engine, gpu_id=gpu_id)
        if failures:
            raise ValueError("\n".join([f"trial {number}, {asked.params}:", *failures]))
        # A run has a row for each of its test corpora.
        scores = {row["key"]: row["dev_score"] for row in read_rows([experiment.results])}
        score = fmean(scores.values())
        study.tell(asked, score)
        trials.append(Trial(number, asked.params, score))
        write_rows(map(asdict, trials), output / name / TRIALS)
    return max(trials, key=lambda trial: trial.dev_score)
