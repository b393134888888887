from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from spacy.cli.evaluate import evaluate
from spacy.language import Language

from spacy_transfer.corpus.marks import TARGET
from tests.cli.running import exit_code

run = partial(exit_code, "evaluate")


def test_the_scores_are_those_of_spacy(
    trained: Language,
    corpus_files: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, data, output = tmp_path / "model", corpus_files(TARGET, 8, seed=1), tmp_path / "s.json"
    trained.to_disk(model)
    assert run(model, data, "--output", output) == 0
    scores, expected = json.loads(output.read_text()), evaluate(str(model), data)
    assert scores["ents_f"] > 0
    for of_run in (scores, expected):
        of_run.pop("speed")
    assert scores == expected
    assert f"ents_f: {100 * scores['ents_f']:.2f}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "nowhere.spacy"], "nowhere.spacy: no such file or folder"),
        (["nowhere", __file__], "nowhere"),
        (["nowhere", __file__, "--gpu-id", "63"], "no GPU 63: torch "),
    ],
)
def test_one_clear_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
