from __future__ import annotations

import json
from pathlib import Path

import pytest

from spacy_transfer.evaluation.table import read_scores, score_table


def write(path: Path, f: float | None, p: float = 0.5, r: float = 0.25) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"ents_f": f, "ents_p": p, "ents_r": r, "speed": 1.0}))
    return path


def test_one_row_a_method_the_best_last(tmp_path: Path) -> None:
    write(tmp_path / "ladtl.json", 0.7)
    write(tmp_path / "target-only.json", 0.123456, p=1.0, r=0.0)
    assert score_table(read_scores([tmp_path])) == (
        "| Method      | Runs | P      | R     | F1    |\n"
        "|-------------|------|--------|-------|-------|\n"
        "| target-only | 1    | 100.00 | 0.00  | 12.35 |\n"
        "| ladtl       | 1    | 50.00  | 25.00 | 70.00 |"
    )


def test_seeds_are_averaged(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"joint-0.1.seed-{seed}.json", f, p=f)
        for seed, f in enumerate((0.3, 0.4, 0.8))
    ]
    lines = score_table(read_scores(files)).splitlines()
    # The standard deviation of a sample: (0.2^2 + 0.1^2 + 0.3^2) / 2 = 0.07.
    assert lines[2:] == ["| joint-0.1 | 3    | 50.00 | 25.00 | 50.00 ± 26.46 |"]


def test_files_and_folders_together(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "one.json", 0.1)
    write(tmp_path / "b" / "two.json", 0.2)
    (tmp_path / "b" / "notes.txt").write_text("not a score")
    assert list(read_scores([one, tmp_path / "b"])) == ["one", "two"]


def test_nothing_to_score_counts_as_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "none.json", None)
    assert read_scores([path]) == {"none": [{"ents_f": 0.0, "ents_p": 0.5, "ents_r": 0.25}]}


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"3", b'{"ents_f": 1}', b'{"ents_f": "x"}', b"\xff\xfe", b""]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    good, bad = write(tmp_path / "good.json", 0.5), tmp_path / "bad.json"
    bad.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.json: expected a JSON object with ents_p, ents_r"):
        read_scores([good, bad])


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no scores found: expected outputs of `spacy evaluate"):
        read_scores([tmp_path])
