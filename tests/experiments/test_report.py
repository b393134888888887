from __future__ import annotations

import html.parser
import json
import re
from functools import partial
from pathlib import Path

import pytest

from spacy_transfer.evaluation.counts import pack
from spacy_transfer.experiments.report import table
from spacy_transfer.experiments.results import COUNTS, write_rows
from tests.cli.running import exit_code
from tests.experiments.test_significance import counted, found_in
from tests.experiments.test_summary import row

report = partial(exit_code, "report")
ABOUT = {
    "train_seconds": 1800.0,
    "machine": "Linux x86_64, 2 cores",
    "versions": {"torch": "2.13.0"},
}


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """Two methods from two sources, with what they got right in each sentence."""
    rows = []
    for seed in (0, 1):
        rows.append(counted("none", seed, 0.4))
        for source, rate in (("news", 0.8), ("<mail>", 0.61)):
            rows.append(counted("T-B", seed, 0.6, source))
            rows.append(counted("La-DTL", seed, rate, source))
    path = tmp_path / "results.jsonl"
    write_rows(
        (
            {**r, "key": str(n), "reference": "La-DTL", COUNTS: pack(r[COUNTS])}
            for n, r in enumerate(rows)
        ),
        path,
    )
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A target with curves over two rates, and one with a single rate."""
    rows = []
    for target, rates in (("<aim>", (0.1, 1.0)), ("tags", (0.5,))):
        for rate in rates:
            for seed in (0, 1):
                extra = {**ABOUT, "target": target, "rate": rate, "published": 12.5}
                rows.append(row("none", seed, 0.3 + seed / 50, **extra))
                extra["sources"] = ["news", "mail"]
                rows.append(row("T-B", seed, 0.4 + seed / 50 + rate / 9, **extra))
    path = tmp_path / "results.jsonl"
    write_rows(({**r, "key": str(n)} for n, r in enumerate(rows)), path)
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Five seeds whose history is known, and a setting that is swept."""
    rows = []
    for seed in range(5):
        history = [[5, 1.0, 0.1], [10, 2.0, 0.2 + seed / 50]]
        rows.append(row("none", seed, 0.3, history=history))
        swept = {"method": "wide", "setting": "training.dropout", "value": seed / 10}
        rows.append(row(f"wide, dropout {seed / 10}", 0, 0.3, swept=swept))
    path = tmp_path / "results.jsonl"
    write_rows(({**r, "key": str(n)} for n, r in enumerate(rows)), path)
    return path


class Page(html.parser.HTMLParser):
    """What a page opens, and what it takes from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.outside.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_one_page_holds_all(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(results) == 0
    folder = results.parent / "report"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        Path(line).name for line in capsys.readouterr().out.splitlines()
    )
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.outside == []
    assert page.tags.count("svg") == page.tags.count("table") == 2
    assert "<aim> (ents_f)" in page.text
    for words in ("T-B from news + mail", "labeling rate", "12, 6.0 hours of training"):
        assert words in page.text
    # Figures have text as text, legible at any size.
    svg = next(folder.glob("*aim*.svg")).read_text(encoding="utf-8")
    assert ">labeling rate</text>" in re.sub(r"\s+", " ", svg).replace("> ", ">")
    assert (folder / "tags.ents_f.png").read_bytes()[:4] == b"\x89PNG"


def cells(line: str) -> list[str]:
    """What stands in a row of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_is_of_the_numbers(results: Path) -> None:
    assert report(results, "--output", results.parent / "r") == 0
    lines = (results.parent / "r" / "tables.md").read_text(encoding="utf-8").splitlines()
    header = ["Target", "Rate", "Method", "Sources", "Seeds", "Score", "Gain"]
    assert cells(lines[0]) == [*header, "Published", "Published gain"]
    assert len(lines) == 2 + 6
    # Scores 51.11 and 53.11 percent, 21.11 above the same seeds without transfer, both.
    run = ["<aim>", "1", "T-B", "news + mail", "2"]
    assert cells(lines[5]) == [*run, "52.11 ± 12.71", "+21.11 ± 0.00", "12.50", "+0.00"]


def test_p_values_and_a_table_of_methods_by_pairs(tested: Path) -> None:
    assert report(tested) == 0
    folder = tested.parent / "report"
    lines = (folder / "tables.md").read_text(encoding="utf-8").splitlines()
    header = ["Target", "Rate", "Method", "Sources", "Seeds", "Score", "Gain", "Difference", "p"]
    assert cells(lines[0]) == header
    p_values = [cells(line)[-1] for line in lines[2:7]]
    assert p_values == ["< 0.001", "< 0.001", "", p_values[3], ""]
    assert float(p_values[3]) > 0.05
    assert [cells(line)[-2] == "" for line in lines[2:7]] == [False, False, True, False, True]
    assert cells(lines[2])[-2].startswith("-")
    assert lines[8].startswith("Differences are from the method La-DTL, ")
    assert "Holm's correction for all tests of this report (4). " in lines[8]
    assert " †: the method La-DTL is better than every other of the column, or" in lines[8]
    assert lines[10:12] == ["## ents_f, labeling rate 0.1", ""]
    assert cells(lines[12]) == ["Method", "news → aim", "<mail> → aim", "Average"]
    assert [cells(line)[0] for line in lines[14:17]] == ["none", "T-B", "La-DTL"]
    assert cells(lines[18])[:2] == ["Method", "From La-DTL"]
    assert [cells(line)[0] for line in lines[20:]] == ["none", "T-B"]
    best = cells(lines[16])[1]
    assert re.fullmatch(r"\*\*\d\d\.\d\d†\*\*", best)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert f"<td><strong>{best.strip('*')}</strong></td>" in html
    page = Page(html)
    assert page.tags.count("table") == 3
    assert "<mail> → aim" in page.text
    assert "From La-DTL" in page.text
    assert lines[8] in page.text


@pytest.mark.parametrize("order", [("news", "mail"), ("mail", "news")])
def test_of_two_comparisons_the_larger_p_value_stands(order: tuple[str, str]) -> None:
    """The method without sources is tested against the reference from each of them."""
    recall = {"news": 0.8, "mail": 0.41}
    rows = [counted("none", seed, 0.4, reference="La-DTL") for seed in (0, 1)]
    for source in order:
        rows += [
            counted("La-DTL", seed, recall[source], source, reference="La-DTL") for seed in (0, 1)
        ]
    pairs, differences = found_in(rows)
    [none] = {cell for pair in pairs for cell in pair.others}
    p_values = [differences[pair.reference, none].p for pair in pairs if pair.reference]
    assert min(p_values) < 0.01 < 0.05 < max(p_values)
    [header, line] = table([none], differences)
    assert dict(zip(header, line, strict=True))["p"] == f"{max(p_values):.3f}"


def test_results_without_counts_have_no_p_values(results: Path) -> None:
    assert report(results) == 0
    for name in ("tables.md", "report.html"):
        text = (results.parent / "report" / name).read_text(encoding="utf-8")
        assert "Holm" not in text
        assert not re.search(r"\| p +\|", text)
        assert ">p</th>" not in text


def test_learning_curves_and_sweeps(study: Path) -> None:
    assert report(study) == 0
    folder = study.parent / "report"
    stems = ["aim.ents_f", "aim.ents_f.time-0.1", "aim.ents_f.training.dropout"]
    figures = [f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")]
    assert sorted(path.name for path in folder.iterdir()) == [*figures, "report.html", "tables.md"]
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert (page.tags.count("svg"), page.tags.count("table")) == (3, 1)
    for words in ("seconds of training, labeling rate 0.1", "F1 on dev (%)", "wide, dropout 0.4"):
        assert words in page.text


@pytest.mark.parametrize("name", ["results", "study"])
def test_figures_are_the_same_every_time(name: str, request: pytest.FixtureRequest) -> None:
    results: Path = request.getfixturevalue(name)
    for name in ("one", "two"):
        assert report(results, "--output", results.parent / name) == 0
    for path in (results.parent / "one").iterdir():
        assert path.read_bytes() == (results.parent / "two" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": expected results of"),
        ("{}\n", ":1: expected a result of"),
        (json.dumps({**row("none", 0, 0.1), "key": 1}).replace("vectors", "x"), ":1: expected a"),
        ("no json\n", ":1: expected a result of"),
        (json.dumps({**row("none", 0, 0.1), COUNTS: "no counts"}), ":1: expected a result of"),
        (json.dumps({**row("none", 0, 0.1), COUNTS: 7}), ":1: expected a result of"),
    ],
)
def test_bad_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    assert report(path) == 1
    assert f"{path}{message}" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
