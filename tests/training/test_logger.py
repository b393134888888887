from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from spacy.language import Language
from spacy.training.loggers import console_logger as of_spacy

from spacy_transfer.training.logger import console_logger


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def pipeline(nlp: Language) -> Language:
    nlp.config["training"]["score_weights"] = {"ents_f": 1.0, "ents_p": 0.0, "ents_per_type": None}
    nlp.config["training"]["max_steps"] = 7
    nlp.add_pipe("ner")
    return nlp


def evaluation(step: int, score: float | None, words: int, seconds: float) -> dict[str, Any]:
    return {
        "epoch": 3,
        "step": step,
        "score": score or 0.0,
        "other_scores": {"ents_f": score, "ents_p": 0.25, "ents_per_type": {}},
        "losses": {"ner": 6.0, "ner_crf_target": 3.0},
        "checkpoints": [(0.5, 2), (score or 0.0, step)],
        "words": words,
        "seconds": seconds,
    }


def table(out: StringIO) -> list[list[str]]:
    return [line.split() for line in out.getvalue().splitlines()]


def test_a_row_an_evaluation(pipeline: Language) -> None:
    out, err = StringIO(), StringIO()
    log_step, finish = console_logger()(pipeline, out, err)
    for info in (None, evaluation(2, 0.5, 100, 4.0), None, None, evaluation(5, None, 400, 10.0)):
        log_step(info)
    finish()
    header, rule, first, second = table(out)
    assert header == ["E", "#", "LOSS", "CRF_TARGET", "ENTS_F", "ENTS_P", "ENTS_R", "SCORE", "W/S"]
    assert set("".join(rule)) == {"-"}
    assert first == ["3", "2", "3.000", "1.500", "50.00", "25.00", "0.00", "0.50", "25"]
    assert second == ["3", "5", "2.000", "1.000", "0.00", "25.00", "0.00", "0.00", "50"]
    assert len({len(line) for line in out.getvalue().splitlines()}) == 1
    assert err.getvalue() == ""


def test_the_layout_is_that_of_spacy(pipeline: Language) -> None:
    ours, theirs = StringIO(), StringIO()
    for out, logger in ((ours, console_logger()), (theirs, of_spacy())):
        log_step, finish = logger(pipeline, out, StringIO())
        log_step(evaluation(1, 0.5, 100, 4.0))
        finish()
    columns, _, row = table(ours)
    # "LOSS NER" is our "LOSS", and two columns are ours alone.
    expected = [name for name in table(theirs)[0] if name != "NER"]
    assert [name for name in columns if name not in ("CRF_TARGET", "W/S")] == expected
    assert [row[0], row[1], row[2][:4], *row[4:8]] == table(theirs)[2]


def test_terms_that_come_later_get_columns(pipeline: Language) -> None:
    out = StringIO()
    log_step, _ = console_logger()(pipeline, out, StringIO())
    first, second, third = (evaluation(step, 0.5, step, step) for step in (1, 2, 3))
    second["losses"]["ner_crf_source"] = 4.0
    for info in (first, second, third):
        log_step(info)
    lines = table(out)
    assert len(lines) == 7
    assert lines[3][:5] == ["E", "#", "LOSS", "CRF_TARGET", "CRF_SOURCE"]
    assert lines[5][:5] == ["3", "2", "6.000", "3.000", "4.000"]
    assert lines[6] == ["3", "3", "6.000", "3.000", *lines[5][5:]]  # a blank cell


def test_several_components_are_told_apart(pipeline: Language) -> None:
    pipeline.add_pipe("tagger")
    out = StringIO()
    log_step, _ = console_logger()(pipeline, out, StringIO())
    info = evaluation(1, 0.5, 1, 1.0)
    info["losses"]["tagger"] = 1.0
    log_step(info)
    header = out.getvalue().splitlines()[0].split("  ")
    assert [cell.strip() for cell in header if "LOSS" in cell] == ["LOSS NER", "LOSS TAGGER"]


def test_bar_of_a_terminal_shows_the_best_score(pipeline: Language) -> None:
    out, err = StringIO(), Terminal()
    log_step, finish = console_logger()(pipeline, out, err)
    log_step(evaluation(1, 0.5, 10, 1.0))
    log_step(evaluation(2, 0.25, 20, 2.0))
    finish()
    assert "2/7" in err.getvalue()
    assert "best 50.00" in err.getvalue()
    assert "best 25.00" not in err.getvalue()


def test_a_resumed_run_goes_on_where_it_was(pipeline: Language) -> None:
    out, err = StringIO(), Terminal()
    log_step, finish = console_logger()(pipeline, out, err)
    log_step(None)
    log_step(evaluation(6, 0.25, 400, 10.0))
    finish()
    # Losses are those of two steps, words and seconds those of all.
    row = table(out)[2]
    assert row[:3] == ["3", "6", "3.000"]
    assert row[-1] == "40"
    assert "6/7" in err.getvalue()
    assert "best 50.00" in err.getvalue()


def test_whole_seconds_of_the_loop_of_spacy(pipeline: Language) -> None:
    out = StringIO()
    log_step, _ = console_logger()(pipeline, out, StringIO())
    log_step(evaluation(0, 0.5, 0, 0))
    assert table(out)[2][-1] == "0"
