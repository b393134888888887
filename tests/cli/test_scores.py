from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from tests.cli.running import exit_code

run = partial(exit_code, "scores")


def test_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, f in enumerate((0.5, 0.6)):
        scores = {"ents_f": f, "ents_p": f, "ents_r": f}
        (tmp_path / f"ladtl.seed-{seed}.json").write_text(json.dumps(scores))
    assert run(tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "| ladtl  | 2    | 55.00 | 55.00 | 55.00 ± 7.07 |"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad.json", "bad.json: expected a JSON object with ents_p, ents_r, ents_f"),
        ("nowhere.json", "nowhere.json"),
        ("empty", "no scores found"),
    ],
)
def test_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    (tmp_path / "bad.json").write_text('{"tag_acc": 0.9}')
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / name) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_files_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "files" in capsys.readouterr().err.lower()
