"""Sources whose order is known by construction."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.label_map import read_label_map
from spacy_transfer.evaluation.ranking import (
    SIGNALS,
    mean_ranks,
    rank_sources,
    ranking_notes,
    ranking_table,
    source_names,
)

TARGET = [("Ann", "person"), ("Bo", "person"), ("Rome", "place"), ("Oslo", "place")]
NEAR = [("Ann", "PER"), ("Bo", "PER"), ("Rome", "LOC"), ("Paris", "LOC")]
MIDDLE = [("Ann", "PER"), ("Rome", "O"), ("Bonn", "LOC"), ("Hamm", "LOC")]
FAR = [("IL-2", "GENE"), ("p53", "GENE")]
FRAMES = {"PER": "{} has left", "person": "{} has left", "GENE": "the {} binding site"}
MAP = {"person": "PER", "place": "LOC"}


def write(folder: Path, names: list[tuple[str, str]]) -> Path:
    """A column file of a sentence for each name."""
    folder.mkdir()
    lines = []
    for name, label in names:
        for word in FRAMES.get(label, "we are in {}").split():
            tag = "O" if word != "{}" or label == "O" else f"B-{label}"
            lines.append(f"{word.format(name)}\t{tag}")
        lines.append("")
    path = folder / "train.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write(tmp_path / "target", TARGET)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    corpora = {"far": FAR, "near": NEAR, "middle": MIDDLE}
    return [write(tmp_path / name, names) for name, names in corpora.items()]


def test_the_nearest_comes_first(target: Path, sources: list[Path]) -> None:
    ranking = rank_sources(target, sources)
    assert [candidate.name for candidate in ranking.candidates] == ["near", "middle", "far"]
    near, middle, far = (candidate.signals for candidate in ranking.candidates)
    for signal in SIGNALS[:4]:
        sign = 1 if signal.high else -1
        values = [sign * (of[signal.name] or 0.0) for of in (near, middle, far)]
        assert values == sorted(values, reverse=True), signal
    assert [near[name] for name in ("labels", "known", "agreement", "annotated")] == [1, 0.75, 1, 1]
    # Rome is in the text of the second without a label.
    assert [middle[name] for name in ("known", "agreement", "annotated")] == [0.25, 1, 0.5]
    assert (far["labels"], far["agreement"], far["annotated"]) == (0, None, None)
    assert {of["MMD"] for of in (near, middle, far)} == {None}
    assert ranking.scores == [7 / 6, 11 / 6, 3.0]


def test_mean_ranks() -> None:
    none = dict.fromkeys(signal.name for signal in SIGNALS)
    measured = [
        {**none, "words": 0.5, "n-grams": 0.1, "agreement": None},
        {**none, "words": 0.5, "n-grams": 0.3, "agreement": 0.0},
        {**none, "words": 0.9, "n-grams": 0.2, "agreement": None},
    ]
    # words: 2.5, 2.5, 1; n-grams, where low is good: 1, 3, 2; agreement: 2.5, 1, 2.5
    assert mean_ranks(measured) == pytest.approx([6 / 3, 6.5 / 3, 5.5 / 3])


def test_table_and_notes(target: Path, sources: list[Path]) -> None:
    ranking = rank_sources(target, sources)
    header, _, first, *_ = ranking_table(ranking).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, first)]
    assert cells[0][:4] == ["Source", "mean rank", "words +", "n-grams -"]
    assert cells[1][:2] == ["near", "1.17"]
    assert cells[1][-3:] == ["-", "4", "4"]
    assert ranking_notes(ranking) == [
        "near: person = PER?, place = LOC?",
        "middle: person = PER?, place = LOC?",
        "far: no label matches one of the target",
        "? is a guess from strings and contexts: agreement flatters it",
        "near: has 3 of the target's sentences, which flatters it",
        "middle: has 2 of the target's sentences, which flatters it",
        "agreement: far last, as it needs matched labels and strings in common",
        "annotated: far last, as it needs matched labels and strings in common",
        "MMD: does not count, it needs matched labels and word vectors for them: --vectors",
    ]


def test_maps_are_suggested_once_and_then_used(
    target: Path, sources: list[Path], tmp_path: Path
) -> None:
    maps = tmp_path / "maps"
    ranking = rank_sources(target, sources, maps=maps)
    assert sorted(ranking.maps) == [maps / "middle.tsv", maps / "near.tsv"]
    assert read_label_map(maps / "near.tsv") == read_label_map(maps / "middle.tsv") == MAP

    edited = "person\tLOC\n"
    (maps / "near.tsv").write_text(edited, encoding="utf-8")
    again = rank_sources(target, sources, maps=maps)
    assert again.maps == []
    assert (maps / "near.tsv").read_text(encoding="utf-8") == edited
    near = next(candidate for candidate in again.candidates if candidate.name == "near")
    assert (near.pairs, near.signals["agreement"], near.signals["labels"]) == (
        {"person": "LOC"},
        0.0,
        0.5,
    )
    assert "near: person = LOC; without a match: place" in ranking_notes(again)

    (maps / "near.tsv").write_text("person\tPERSON\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"near.tsv:1: 'PERSON' is not a label of the source"):
        rank_sources(target, sources, maps=maps)


def test_no_map_is_written_when_a_source_cannot_be_read(
    target: Path, sources: list[Path], tmp_path: Path
) -> None:
    sources[2].write_text("a\tO\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="expected sentences with ents, found nothing annotated"):
        rank_sources(target, sources, maps=tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_one_source(target: Path, sources: list[Path]) -> None:
    ranking = rank_sources(target, sources[1:2])
    assert ranking.scores == [1.0]
    assert ranking_notes(ranking)[-1] == "one source has no rank: look at its signals"


def test_names_are_what_paths_do_not_share() -> None:
    def names(target: str, *sources: str) -> list[str]:
        return source_names(Path(target), [Path(source) for source in sources])

    assert names("t/train.iob.gz", "a/train.iob.gz", "b/train.tsv") == ["a", "b"]
    assert names("c/tweets.conll", "d/e/news.spacy") == ["news"]
    assert names("x/t/dev.tsv", "x/a/dev.tsv", "x/b/dev.v2.tsv", "y/b.tsv") == [
        "a-dev",
        "b-dev",
        "y-b",
    ]
    assert names("t.tsv", "a.tsv", "a.conll") == ["a.tsv", "a.conll"]
    assert names("d/t/train.tsv", "d/train.tsv") == ["d"]


def test_sources_that_cannot_be(target: Path, sources: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one source or more, found none"):
        rank_sources(target, [])
    with pytest.raises(ValueError, match=r"train.tsv: is the target itself"):
        rank_sources(target, [*sources, tmp_path / "far" / ".." / "target" / "train.tsv"])
    with pytest.raises(ValueError, match=r"train.tsv: expected each source once"):
        rank_sources(target, [*sources, sources[0]])
    shutil.copytree(tmp_path / "far", tmp_path / "copy")  # another file is another source
    assert len(rank_sources(target, [*sources, tmp_path / "copy" / "train.tsv"]).scores) == 4
    with pytest.raises(ValueError, match="expected a pipeline with word vectors; none is there"):
        rank_sources(target, sources, vectors=tmp_path)
