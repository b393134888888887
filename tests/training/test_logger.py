from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from spacy.language import Language

from spacy_transfer.training.logger import History, console_logger


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def pipeline(nlp: Language) -> Language:
    nlp.config["training"]["score_weights"] = {"ents_f": 1.0, "ents_p": 0.0, "ents_per_type": None}
    nlp.config["training"]["max_steps"] = 7
    return nlp


def evaluation(
    step: int, score: float | None, words: int, seconds: float, history: History
) -> dict[str, Any]:
    history.append((score or 0.0, step))
    return {
        "epoch": 3,
        "step": step,
        "score": score or 0.0,
        "other_scores": {"ents_f": score, "ents_p": 0.25, "ents_per_type": {}},
        "losses": {"ner": 6.0, "ner_crf_target": 3.0},
        "checkpoints": list(history),
        "words": words,
        "seconds": seconds,
    }


def test_a_line_an_evaluation(pipeline: Language) -> None:
    out, err = StringIO(), StringIO()
    log_step, finish = console_logger()(pipeline, out, err)
    history: History = []
    infos = (evaluation(2, 0.5, 100, 4.0, history), evaluation(5, None, 400, 10.0, history))
    for info in (None, infos[0], None, None, infos[1]):
        log_step(info)
    finish()
    first, second = (line.split("  ") for line in out.getvalue().splitlines())
    assert first == [
        *("epoch 3", "step 2", "25 words/s", "ents_f 50.00", "ents_p 25.00"),
        *("ner 3.0000", "ner_crf_target 1.5000"),
    ]
    assert second == [
        *("epoch 3", "step 5", "50 words/s", "ents_f 0.00", "ents_p 25.00"),
        *("ner 2.0000", "ner_crf_target 1.0000"),
    ]
    assert err.getvalue() == ""


def test_bar_of_a_terminal_shows_the_best_score(pipeline: Language) -> None:
    out, err = StringIO(), Terminal()
    log_step, finish = console_logger()(pipeline, out, err)
    history: History = []
    log_step(evaluation(1, 0.5, 10, 1.0, history))
    log_step(evaluation(2, 0.25, 20, 2.0, history))
    finish()
    assert "2/7" in err.getvalue()
    assert "best 50.00" in err.getvalue()
    assert "best 25.00" not in err.getvalue()


def test_a_resumed_run_goes_on_where_it_was(pipeline: Language) -> None:
    out, err = StringIO(), Terminal()
    log_step, finish = console_logger()(pipeline, out, err)
    log_step(None)
    log_step(evaluation(6, 0.25, 400, 10.0, [(0.5, 4)]))
    finish()
    # Losses are those of two steps, words and seconds those of all.
    assert "ner 3.0000" in out.getvalue()
    assert "40 words/s" in out.getvalue()
    assert "6/7" in err.getvalue()
    assert "best 50.00" in err.getvalue()


def test_whole_seconds_of_the_loop_of_spacy(pipeline: Language) -> None:
    out, err = StringIO(), StringIO()
    log_step, finish = console_logger()(pipeline, out, err)
    log_step(evaluation(0, 0.5, 0, 0, []))
    finish()
    assert "  0 words/s  " in out.getvalue()
