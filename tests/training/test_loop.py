"""Training runs, started as a user starts them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.util import registry

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.models.tagger import shim_of
from tests.conftest import CONFIGS, SMALL_CONFIG, Run, Train, examples, with_schedule

TERMS = {"crf_target", "crf_source", "mmd_source", "crf_l2_source", "l2"}
BREAK = "spacy_transfer.tests.Break.v1"
RECORD = "spacy_transfer.tests.Record.v1"


def log(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.output / "log.jsonl").read_text().splitlines()]


def steps(run: Run) -> list[int]:
    assert run.status == 0, run.err
    return [line["step"] for line in log(run)]


def weights(run: Run, which: str = "model-last") -> bytes:
    return (run.output / which / "transfer_ner" / "model").read_bytes()


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "edited.cfg"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_best_and_last_pipeline(train: Train, nlp: Language) -> None:
    run = train(
        {
            "training.optimizer.learn_rate": 0.1,
            "training.optimizer.initial_accumulator": 0.0,
            "training.dropout": 0.0,
            "training.max_steps": 15,
            "training.eval_frequency": 3,
        }
    )
    assert steps(run) == [3, 6, 9, 12, 15]
    scores = [line["score"] for line in log(run)]
    assert max(scores) > 0.5
    dev = examples(nlp, TARGET, 10, seed=1)
    for which, score in (("model-best", max(scores)), ("model-last", scores[-1])):
        pipeline = spacy.load(run.output / which)
        assert pipeline.get_pipe("transfer_ner").tasks == (TARGET, "source")
        assert pipeline.evaluate(dev)["ents_f"] == score
    best = log(run)[scores.index(max(scores))]
    meta = spacy.load(run.output / "model-best").meta["performance"]
    assert meta["ents_f"] == best["scores"]["ents_f"] == best["score"]
    assert run.out.splitlines()[-1] == (
        f"best dev score {100 * max(scores):.2f} at step {best['step']}: "
        f"{run.output / 'model-best'}"
    )
    assert sorted(path.name for path in run.output.iterdir()) == [
        *("checkpoint.safetensors", "log.jsonl", "model-best", "model-last")
    ]


def test_every_term_is_logged_at_every_evaluation(train: Train) -> None:
    run = train()
    assert steps(run) == [2, 4]
    for line in log(run):
        losses = {name.removeprefix("transfer_ner_"): v for name, v in line["losses"].items()}
        total = losses.pop("transfer_ner")
        assert losses.keys() == TERMS
        assert sum(losses.values()) == pytest.approx(total, rel=1e-5)
        assert all(value > 0 for value in losses.values())
        assert line["scores"].keys() >= {"ents_p", "ents_r", "ents_f"}
        assert line["score"] == line["scores"]["ents_f"]
    header, _, *rows, _ = (line.split() for line in run.out.splitlines())
    assert header[:3] == ["E", "#", "LOSS"]
    assert [row[1] for row in rows] == ["2", "4"]
    for row, line in zip(rows, log(run), strict=True):
        printed = dict(zip(header, row, strict=True))
        for name, value in line["losses"].items():
            column = name.removeprefix("transfer_ner_").upper() if "ner_" in name else "LOSS"
            assert printed[column] == f"{value:#.4g}"
    assert [line["words"] for line in log(run)] == sorted(line["words"] for line in log(run))


def test_logged_losses_are_means_a_step(train: Train, tmp_path: Path) -> None:
    each = train({"training.eval_frequency": 1}, output=tmp_path / "each")
    some = train({"training.eval_frequency": 3}, output=tmp_path / "some")
    assert (steps(each), steps(some)) == ([1, 2, 3, 4], [3, 4])
    one, two, three, four = (line["losses"] for line in log(each))
    first, last = (line["losses"] for line in log(some))
    for name in one:
        assert first[name] == pytest.approx((one[name] + two[name] + three[name]) / 3)
        assert last[name] == pytest.approx(four[name])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_project_trains(train: Train, config: Path) -> None:
    # The map of the tests says nothing of verbs.
    union = {"initialize.components.transfer_tagger.union": True} if config.stem == "ta" else {}
    run = train(union, config=config)
    assert steps(run) == [2, 4], run.err
    nlp = spacy.load(run.output / "model-last")
    assert nlp.get_pipe(nlp.pipe_names[-1]).tasks == (
        (TARGET,) if config.stem == "target_only" else (TARGET, "source")
    )


def test_max_steps(train: Train) -> None:
    assert steps(train({"training.max_steps": 5})) == [2, 4, 5]


def test_max_epochs(train: Train) -> None:
    settings = {
        "training.batcher.target_size": 5,
        "training.max_steps": 0,
        "training.max_epochs": 2,
        "training.eval_frequency": 3,
    }
    # Two passes over 20 sentences by fives.
    run = train(settings)
    assert steps(run) == [3, 6, 8]
    assert [line["epoch"] for line in log(run)] == [0, 1, 2]


def test_patience_counts_from_the_first_best_score(train: Train) -> None:
    run = train(
        {
            "training.optimizer.learn_rate": 0.0,
            "training.max_steps": 100,
            "training.patience": 5,
        }
    )
    # Nothing is learned: the score of step 2 is the best, and five steps later it is so still.
    assert steps(run) == [2, 4, 6, 7]
    assert "at step 2:" in run.out
    # Its pipeline stays the best: not saved again at the later steps of the same score.
    meta = spacy.load(run.output / "model-best").meta["performance"]
    first, *_, last = (2 * line["losses"]["transfer_ner"] for line in log(run))
    assert meta["transfer_ner_loss"] == pytest.approx(first, rel=1e-6)
    assert meta["transfer_ner_loss"] != pytest.approx(last, rel=1e-6)


def test_same_seed_same_weights(train: Train, tmp_path: Path) -> None:
    runs = [train({"system.seed": n}, output=tmp_path / str(i)) for i, n in enumerate((1, 1, 2))]
    first, again, other = (weights(run) for run in runs)
    assert all(run.status == 0 for run in runs)
    assert first == again
    assert first != other

    def losses(run: Run) -> list[dict[str, float]]:
        return [line["losses"] for line in log(run)]

    assert losses(runs[0]) == losses(runs[1])


def test_dropout_is_that_of_the_config(train: Train, tmp_path: Path) -> None:
    some = train({"training.dropout": 0.5}, output=tmp_path / "some")
    none = train({"training.dropout": 0.0}, output=tmp_path / "none")
    assert steps(some) == steps(none)
    assert weights(some) != weights(none)


ADAM = """[training.optimizer]
@optimizers = "Adam.v1"
learn_rate = 0.01

"""


def test_averaged_weights_are_what_is_saved(train: Train, tmp_path: Path) -> None:
    """Evaluated too: the best pipeline is that of its score."""
    text = SMALL_CONFIG.read_text(encoding="utf-8")
    start, end = text.index("[training.optimizer]"), text.index("[training.logger]")
    config = tmp_path / "adam.cfg"
    config.write_text(text[:start] + ADAM + text[end:], encoding="utf-8")
    plain, averaged = (
        train(
            {"training.optimizer.use_averages": use, "training.dropout": 0.0},
            config=config,
            output=tmp_path / use,
        )
        for use in ("false", "true")
    )
    assert steps(plain) == steps(averaged)
    assert [line["losses"] for line in log(plain)] == [line["losses"] for line in log(averaged)]
    assert weights(plain) != weights(averaged)
    scores = [line["scores"]["ents_f"] for line in log(averaged)]
    dev = Path(spacy.load(averaged.output / "model-best").config["paths"]["dev"])
    nlp = spacy.load(averaged.output / "model-best")
    assert nlp.evaluate(list(task_corpus(dev)(nlp)))["ents_f"] == pytest.approx(max(scores))


def test_what_others_listen_to_learns_from_every_batch(train: Train, tiny_bert: Path) -> None:
    """Of the last one, too: its gradient is there only when those who listen are done."""
    config = next(path for path in CONFIGS if path.stem == "transformer")
    settings = {"training.optimizer.learn_rate.warmup_steps": 0, "training.max_steps": 1}
    run = train(settings, config=config)
    assert steps(run) == [1]
    import transformers

    before = transformers.AutoModel.from_pretrained(tiny_bert).state_dict()
    nlp = spacy.load(run.output / "model-last")
    after = nlp.get_pipe("transformer").model.transformer.state_dict()
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(before[name], after[name])


def test_learn_rate_schedule_goes_on(train: Train, tmp_path: Path) -> None:
    schedule = """
[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
initial_rate = 0.1
warmup_steps = 4
total_steps = 100

[training.logger]"""
    config = edited(tmp_path, "[training.logger]", schedule)
    text = config.read_text(encoding="utf-8").replace("learn_rate = 0.03\n", "")
    config.write_text(text, encoding="utf-8")
    runs = [
        train({"training.max_steps": n}, config=config, output=tmp_path / str(n)) for n in (1, 2)
    ]
    # The warm-up begins at step 0: the rate of the first update is a quarter of that of the last.
    first = train(
        {"training.optimizer.learn_rate": 0.1 / 4, "training.max_steps": 1},
        output=tmp_path / "first",
    )
    assert weights(runs[0]) == weights(first)
    assert weights(runs[1]) != weights(first)


def break_at(step: int, action: Callable[[Language], None], tmp_path: Path) -> Path:
    """A config that has something done to the pipeline before a certain step, from 0."""

    def before_update(nlp: Language, info: dict[str, int]) -> None:
        if info["step"] == step:
            action(nlp)

    registry.callbacks.register(BREAK, func=lambda: before_update)
    return edited(
        tmp_path,
        "[training.batcher]",
        f'[training.before_update]\n@callbacks = "{BREAK}"\n\n[training.batcher]',
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_stops_and_keeps_the_best(train: Train, tmp_path: Path, value: float) -> None:
    def spoil(nlp: Language) -> None:
        network = shim_of(nlp.get_pipe("transfer_ner").model).network
        network.head("source").emission.bias.data.fill_(value)

    run = train(config=break_at(4, spoil, tmp_path))
    assert run.status == 1
    assert run.err == "error: step 4: loss term 'crf_source' of 'transfer_ner' is nan\n"
    assert [line["step"] for line in log(run)] == [2]
    network = shim_of(spacy.load(run.output / "model-best").get_pipe("transfer_ner").model).network
    assert all(weights.isfinite().all() for weights in network.parameters())
    assert not (run.output / "model-last").exists()


def test_learning_too_fast_stops(train: Train) -> None:
    run = train({"training.optimizer.learn_rate": 1e30})
    assert run.status == 1
    assert run.err.startswith("error: step 2: loss term '")
    assert run.err.count("\n") == 1


def test_ctrl_c_saves_the_last_pipeline(train: Train, tmp_path: Path) -> None:
    def interrupt(nlp: Language) -> None:
        raise KeyboardInterrupt

    run = train(config=break_at(4, interrupt, tmp_path))
    assert run.status == 130
    assert run.out.splitlines()[-1] == f"stopped; the pipelines so far are in {run.output}"
    # What was learned in three steps is there, as if the run had been told to make three.
    spacy.load(run.output / "model-last")
    three = train({"training.max_steps": 3}, output=tmp_path / "three")
    assert weights(run) == weights(three)


def test_a_new_run_replaces_the_pipelines_of_the_old_one(train: Train, tmp_path: Path) -> None:
    first = train()
    before = weights(first, "model-best")
    (first.output / "model-best" / "stray").touch()
    assert train({"paths.targt": "x"}).status == 1
    assert train({"paths.target": tmp_path / "nowhere.spacy"}).status == 1
    assert weights(first, "model-best") == before
    second = train({"system.seed": 5})
    assert weights(second, "model-best") != before
    assert not (second.output / "model-best" / "stray").exists()
    # Nor is a pipeline of the old run taken for that of a new one that failed.
    failed = train({"training.optimizer.learn_rate": 1e30, "training.eval_frequency": 4})
    assert failed.status == 1
    assert [path.name for path in failed.output.iterdir()] == ["log.jsonl"]


def test_loggers_of_spacy_can_be_used(train: Train) -> None:
    run = train({"training.logger.@loggers": "spacy.ConsoleLogger.v1"})
    assert run.status == 0
    assert "LOSS TRANS" in run.out
    assert steps(run) == [2, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.accumulate_gradient": 2}, "accumulate_gradient must be 1: dividing a batch"),
        ({"training.eval_frequency": 0}, "training.eval_frequency must be at least 1"),
        ({"training.max_epochs": -1}, "training.max_epochs must be 0"),
        ({"paths.target": None}, "a corpus has no path: set it in [paths]"),
        ({"paths.source": "nowhere.spacy"}, "nowhere.spacy: no such file or folder"),
        ({"paths.dev": "nowhere.spacy"}, "nowhere.spacy: no such file or folder"),
        ({"paths.label_map": "nowhere.tsv"}, "nowhere.tsv"),
        ({"paths.vectors": "nowhere"}, "vectors could not be found at 'nowhere'"),
        ({"training.optimizer.lr": 1.0}, "unexpected argument: 'lr'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_used(
    train: Train, settings: dict[str, object], message: str
) -> None:
    run = train(settings)
    assert run.status == 1
    assert run.err.startswith("error: ")
    assert message in run.err
    assert not run.output.exists()


NO_BATCHER = """[training.batcher]
@batchers = "spacy_transfer.Joint.v1"
target_size = 10
source_size = 10
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (NO_BATCHER, "", "[training.batcher] must be a schedule, such as spacy_transfer.Joint.v1"),
        (
            NO_BATCHER,
            f"[training.score_weights]\nents_f = 0.0\n\n{NO_BATCHER}",
            "[training.score_weights] weighs no score that there is: expected one",
        ),
        (
            NO_BATCHER,
            f"[training.score_weights]\nent_f = 1.0\n\n{NO_BATCHER}",
            "[training.score_weights] 'ent_f' is not a score of this pipeline: expected one of",
        ),
    ],
    ids=["no schedule", "no weight", "unknown score"],
)
def test_configs_that_cannot_be_used(
    train: Train, tmp_path: Path, old: str, new: str, message: str
) -> None:
    run = train(config=edited(tmp_path, old, new))
    assert run.status == 1
    assert run.err.startswith(f"error: {message}")


def test_a_corpus_of_one_task_is_no_training_corpus(train: Train, tmp_path: Path) -> None:
    text = SMALL_CONFIG.read_text(encoding="utf-8").replace("source = null\n", "", 1)
    text = re.sub("^beta = .*$", "beta = 0", text, flags=re.MULTILINE)
    before, rest = text.split("[corpora.train]\n")
    plain = '[corpora.train]\n@readers = "spacy.Corpus.v1"\npath = ${paths.target}\n\n'
    config = tmp_path / "plain.cfg"
    config.write_text(before + plain + rest[rest.index("[corpora.dev]") :], encoding="utf-8")
    run = train(config=config)
    assert run.status == 1
    assert run.err == "error: the training corpus must be a spacy_transfer.TransferCorpus.v1\n"


def test_what_loggers_get_fits_weights_and_biases_and_mlflow(train: Train) -> None:
    seen: list[dict[str, Any]] = []

    def setup(nlp: Language, stdout: object, stderr: object) -> Any:
        def log_step(info: dict[str, Any] | None) -> None:
            if info:
                seen.append({**info, "checkpoints": list(info["checkpoints"])})

        return log_step, lambda: None

    registry.loggers.register(RECORD, func=lambda: setup)
    [ladtl] = [path for path in CONFIGS if path.stem == "ladtl"]
    settings = {"training.logger.@loggers": RECORD, "training.optimizer.learn_rate": 0.1}
    run = train({**settings, "components.transfer_ner.model.objective.gamma": 1e-4}, config=ladtl)
    assert run.status == 0, run.err
    # What their loggers of spacy-loggers look for.
    for info in seen:
        assert {"epoch", "step", "score", "other_scores", "losses", "checkpoints"} <= info.keys()
        assert info["losses"].keys() == {"transfer_ner", *(f"transfer_ner_{t}" for t in TERMS)}
        assert {type(value) for value in info["losses"].values()} == {float}
        plain = [*info["losses"], *info["other_scores"]]
        assert all(re.fullmatch(r"[\w./ -]+", name) for name in plain)  # MLflow takes no others
        assert info["checkpoints"][-1] == (info["score"], info["step"])
    # They log the model, too, where it is the best so far.
    assert seen[0]["output_path"] == str(run.output / "model-best")


def test_the_source_is_looked_at_too(train: Train, corpus_files: Callable[..., Path]) -> None:
    [ladtl] = [path for path in CONFIGS if path.stem == "ladtl"]
    run = train({"paths.source_dev": corpus_files("source", 10, seed=1)}, config=ladtl)
    assert steps(run) == [2, 4]
    assert "  SOURCE_ENTS_F   SCORE" in run.out.splitlines()[0]
    for line in log(run):
        assert line["scores"].keys() >= {"source_ents_p", "source_ents_r", "source_ents_f"}
        assert line["score"] == line["scores"]["ents_f"]


@pytest.mark.parametrize("schedule", ["Alternate", "TargetOnly"])
def test_alpha_without_a_batch_of_both(train: Train, tmp_path: Path, schedule: str) -> None:
    config = tmp_path / "config.cfg"
    text = with_schedule(SMALL_CONFIG.read_text(encoding="utf-8"), schedule)
    config.write_text(text, encoding="utf-8")
    run = train({"components.transfer_ner.model.objective.alpha": 0.02}, config=config)
    assert run.status == 1
    message = f"alpha of 'transfer_ner' is 0.02, but spacy_transfer.{schedule}.v1 never has source"
    assert message in run.err
    assert not run.output.exists()


@pytest.mark.parametrize("name", ["retraining", "source_free"])
def test_a_source_pipeline_that_is_not_given(train: Train, name: str) -> None:
    [config] = [path for path in CONFIGS if path.stem == name]
    run = train({"paths.source_pipeline": "null"}, config=config)
    assert run.status == 1
    assert "no source_pipeline to start from" in run.err
    assert run.err.count("error: ") == 1
    assert not run.output.exists()
