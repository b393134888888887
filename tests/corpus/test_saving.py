from __future__ import annotations

import sys
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from spacy_transfer.corpus import saving
from spacy_transfer.corpus.saving import recover, save_pipeline
from spacy_transfer.models.tagger import shim_of

TEXT = "Ann Lee lives in New York now"


def labels(nlp: Language) -> list[str]:
    return [entity.label_ for entity in nlp(TEXT).ents]


def test_saves_and_replaces(trained: Language, tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_pipeline(trained, path)
    assert labels(spacy.load(path)) == ["person", "place"]
    stray = path / "of-the-old-one"
    stray.touch()
    trained.get_pipe("transfer_ner").drop_task("source")
    save_pipeline(trained, path)
    assert spacy.load(path).get_pipe("transfer_ner").tasks == ("target",)
    assert not stray.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_while_writing_leaves_the_old_one(
    trained: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "model"
    save_pipeline(trained, path)

    def fail() -> bytes:
        assert (tmp_path / ".model.new" / "config.cfg").exists()
        raise error

    monkeypatch.setattr(shim_of(trained.get_pipe("transfer_ner").model), "to_bytes", fail)
    with pytest.raises(type(error)):
        save_pipeline(trained, path)
    assert labels(spacy.load(path)) == ["person", "place"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_run_left_does_no_harm(trained: Language, tmp_path: Path) -> None:
    path = tmp_path / "model"
    for leftover in (".model.new", ".model.old"):
        (tmp_path / leftover / "transfer_ner").mkdir(parents=True)
        (tmp_path / leftover / "transfer_ner" / "model").write_text("half a mod")
    save_pipeline(trained, path)
    assert labels(spacy.load(path)) == ["person", "place"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_one_or_the_other_is_there_at_every_moment(
    trained: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    save_pipeline(trained, path)
    seen = []

    def rename(self: Path, target: Path) -> Path:
        seen.append((self, target))
        return target

    if sys.platform in ("linux", "darwin"):  # folders swap names there, without a rename
        monkeypatch.setattr(Path, "replace", rename)
        trained.get_pipe("transfer_ner").drop_task("source")
        save_pipeline(trained, path)
        assert seen == []
        assert spacy.load(path).get_pipe("transfer_ner").tasks == ("target",)


def test_killed_between_two_renames(
    trained: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    save_pipeline(trained, path)
    monkeypatch.setattr(saving, "_exchange", lambda one, other: False)
    save_pipeline(trained, path)  # by two renames
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name == ".model.new":
            raise SystemExit
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(SystemExit):
            save_pipeline(trained, path)
    assert not path.exists()
    recover(path)
    assert labels(spacy.load(path)) == ["person", "place"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
