from __future__ import annotations

from pathlib import Path

from weasel.cli.document import project_document

ROOT = Path(__file__).parents[1]


def test_the_documentation_of_the_project_is_up_to_date(tmp_path: Path) -> None:
    project_document(ROOT, tmp_path / "PROJECT.md", no_emoji=True)
    expected = (tmp_path / "PROJECT.md").read_text(encoding="utf-8")
    assert (ROOT / "PROJECT.md").read_text(encoding="utf-8") == expected, (
        "project.yml has changed: spacy project document --no-emoji --output PROJECT.md"
    )
