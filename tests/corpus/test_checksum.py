from __future__ import annotations

from pathlib import Path

from spacy_transfer.corpus.checksum import contents


def test_files_by_their_contents_and_all_else_as_it_is(tmp_path: Path) -> None:
    for folder, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file.txt").write_text(text)
    of_folder = {name: contents(str(tmp_path / name)) for name in "abc"}
    assert of_folder["a"] == of_folder["b"] != of_folder["c"]
    of_file = {name: contents(str(tmp_path / name / "file.txt")) for name in "abc"}
    assert of_file["a"] == of_file["b"] != of_file["c"]
    prose = "Notes of one ward. They are longer than the name of a file may be: " + 50 * "a word, "
    values = {"name": "gru", "there/is/none": ["there/is/none"], "rate": 0.5, "about": prose}
    assert contents(values) == {
        "name": "gru",
        "there/is/none": [["there/is/none"]],
        "rate": 0.5,
        "about": [prose],
    }
