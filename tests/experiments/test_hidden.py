"""Which tokens are drawn, where they come to lie, and how they look."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.experiments import hidden
from spacy_transfer.experiments.hidden import Panel, draw_panels, make_panels, named_models
from spacy_transfer.experiments.results import write_rows
from spacy_transfer.nn.mmd import AUTHOR_WIDTHS
from tests.cli.running import exit_code
from tests.conftest import sentences
from tests.experiments.test_summary import row
from tests.pipeline.test_tok2vec import both_tasks, initialize, pipeline

report = partial(exit_code, "report")
NAMES = {"person": "person / PER", "place": "place / LOC", "PER": "person / PER"}
NAMES |= {"LOC": "place / LOC", "": "O"}


def save(nlp: Language, path: Path, files: dict[str, Path]) -> Path:
    """Save a pipeline whose config names these corpora."""
    corpora: dict[str, object] = {
        task: {"@readers": "spacy_transfer.TaskCorpus.v1", "path": str(file)}
        for task, file in files.items()
    }
    target = corpora.pop(TARGET)
    nlp.config["corpora"]["train"] = {
        "@readers": "spacy_transfer.TransferCorpus.v1",
        "target": target,
        "sources": corpora,
    }
    nlp.to_disk(path)
    return path


@pytest.fixture
def model(trained: Language, corpus_files: Callable[..., Path], tmp_path: Path) -> Path:
    files = {TARGET: corpus_files(TARGET, 12), "source": corpus_files("source", 30)}
    return save(trained, tmp_path / "model", files)


def test_labels_that_match_over_several_sources_have_one_name() -> None:
    class Pipe:
        tasks = (TARGET, "s1", "s2")

        def matched_labels(self, source: str) -> list[tuple[str, str]]:
            return [("LOC", "GPE"), ("FAC", "GPE")] if source == "s1" else [("LOC", "LOC")]

    names = hidden._common_names(Pipe())  # type: ignore[arg-type]
    name = "FAC / LOC / GPE"
    assert names == {
        TARGET: {"O": "O", "LOC": name, "FAC": name},
        "s1": {"O": "O", "GPE": name},
        "s2": {"O": "O", "LOC": name},
    }


@pytest.mark.parametrize("kind", ["cnn-listener", "bert"])
def test_states_that_stand_on_another_component(
    kind: str,
    tiny_bert: Path,
    label_map_file: Path,
    corpus_files: Callable[..., Path],
    tmp_path: Path,
) -> None:
    nlp = pipeline(kind, tiny_bert)
    initialize(nlp, both_tasks(nlp), label_map_file)
    files = {TARGET: corpus_files(TARGET, 12), "source": corpus_files("source", 12)}
    [panel] = make_panels({"m": str(save(nlp, tmp_path / "model", files))})
    assert set(panel.labels) == {"O", "person / PER", "place / LOC"}
    assert panel.mmd > 0


def places(panel: Panel, task: str, label: str) -> list[int]:
    pairs = zip(panel.tasks, panel.labels, strict=True)
    return [i for i, pair in enumerate(pairs) if pair == (task, label)]


def test_points_are_those_of_drawn_tokens(
    model: Path, trained: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[hidden.States] = []
    plane = hidden._plane
    monkeypatch.setattr(hidden, "TOKENS", 20)
    monkeypatch.setattr(hidden, "_plane", lambda h, seed: seen.append(h) or plane(h, seed))
    [panel] = make_panels({"a": str(model)})
    assert panel.points.shape == (len(panel.tokens), 2)
    pipe = trained.get_pipe("transfer_ner")
    for task, count in ((TARGET, 12), ("source", 30)):
        docs = sentences(trained, task, count)
        words = Counter((NAMES[token.ent_type_], token.text) for doc in docs for token in doc)
        states: dict[tuple[str, str], list[hidden.States]] = {}
        for doc, of_doc in zip(docs, pipe.hidden(docs, task), strict=True):
            for token, state in zip(doc, of_doc, strict=True):
                states.setdefault((NAMES[token.ent_type_], token.text), []).append(state)
        for label in set(NAMES.values()):
            drawn = places(panel, task, label)
            total = sum(n for (of_label, _), n in words.items() if of_label == label)
            assert len(drawn) == min(20, total) > 0
            # No token is drawn twice, and each lies where the pipeline puts it.
            assert not Counter((label, panel.tokens[i]) for i in drawn) - words
            for i in drawn:
                near = np.stack(states[label, panel.tokens[i]]) - seen[0][i]
                assert np.abs(near).max(1).min() < 1e-5


def test_the_number_is_the_mmd_of_these_tokens(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[hidden.States] = []
    monkeypatch.setattr(hidden, "_plane", lambda h, seed: seen.append(h) or h[:, :2])
    [panel] = make_panels({"a": str(model)})
    states = seen[0].astype(np.float64)
    expected = 0.0
    for label in set(panel.labels):
        source, target = (states[places(panel, task, label)] for task in ("source", TARGET))
        for left, right, sign in ((source, source, 1), (target, target, 1), (source, target, -2)):
            distances = ((left[:, None] - right[None]) ** 2).sum(-1)
            kernel = sum(np.exp(-distances / (2 * width)) for width in AUTHOR_WIDTHS)
            expected += sign * kernel.mean()
    assert panel.mmd == pytest.approx(expected, rel=1e-3)
    # Names of people and places differ between the corpora; chance alone makes less of it.
    assert 0 < panel.chance < panel.mmd


def test_tokens_that_are_not_annotated_are_not_drawn(nlp: Language) -> None:
    doc = Doc(nlp.vocab, words=["Ann", "met", "Bo"])
    doc.set_ents([Span(doc, 0, 1, "person")], missing=[doc[2:3]], default="outside")
    some = [Example(doc.copy(), doc)]
    names = {"person": "person", "O": "O"}
    drawn, seen = hidden._draw_tokens(some, "ents", names, random.Random(0))
    assert seen == {"person": 1, "O": 1}
    assert {label: [of[i].text for of, i in tokens] for label, tokens in drawn.items()} == {
        "person": ["Ann"],
        "O": ["met"],
    }


def test_same_seed_same_figure(model: Path) -> None:
    first, again = make_panels({"a": str(model), "b": str(model)})
    [other] = make_panels({"a": str(model)}, seed=1)
    assert (first.tokens, first.mmd, first.chance) == (again.tokens, again.mmd, again.chance)
    assert np.array_equal(first.points, again.points)
    assert first.tokens != other.tokens


def test_matched_labels_share_a_colour() -> None:
    labels = ["person / PER", "O", "person / PER", "O", "place / LOC"]
    tasks = ["source", "source", TARGET, TARGET, TARGET]
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    panel = Panel("joint", ["x"] * 5, tasks, labels, points, 1.25, 0.5)
    figure = draw_panels([panel, panel, panel])
    *panels, empty = figure.axes
    assert not empty.axison
    for axes in panels:
        assert axes.get_title() == "joint"
        assert axes.get_xlabel() == "label-aware MMD 1.25\n(by chance 0.50)"
        lines = {line.get_label(): line for line in axes.lines if len(line.get_xdata())}
        assert {name: line.get_xydata().tolist() for name, line in lines.items()} == {
            "source person / PER": [[0, 1]],
            "source O": [[2, 3]],
            "target person / PER": [[4, 5]],
            "target O": [[6, 7]],
            "target place / LOC": [[8, 9]],
        }
        colours = {name: line.get_markeredgecolor() for name, line in lines.items()}
        assert colours["source person / PER"] == colours["target person / PER"]
        assert len(set(colours.values())) == 3
        for name, line in lines.items():
            filled = line.get_markerfacecolor() != "none"
            assert filled == name.startswith("source")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["source", "target", "person / PER", "O", "place / LOC"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_rows([row("none", 0, 0.3)], tmp_path / "results.jsonl")
    return tmp_path / "results.jsonl"


def test_the_page_shows_them(
    results: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(results, "--hidden", f"La-DTL={model}") == 0
    folder = results.parent / "report"
    printed = capsys.readouterr().out.splitlines()
    assert {str(folder / "hidden.svg"), str(folder / "hidden.png")} < set(printed)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert re.search(r"<h2>Hidden states</h2>\s*<figure role=\"img\" aria-label=\"La-DTL: ", page)
    assert "Filled marks are tokens of a source" in page


def test_one_clear_error_and_no_report(
    results: Path, model: Path, trained: Language, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = save(trained, model.with_name("alone"), {TARGET: model.with_name("target-0.spacy")})
    for option, message in (
        ("model", "--hidden model: expected NAME=MODEL or results.jsonl, each name once"),
        ("a=nowhere", "nowhere"),
        (f"a={alone}", f"{alone}: expected one transfer component that was trained on a target"),
    ):
        assert report(results, "--hidden", option) == 1
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert message in err
    assert not (results.parent / "report").exists()


def test_names_of_models() -> None:
    assert named_models(["a=x", "b=y=z"]) == {"a": "x", "b": "y=z"}
    for bad in (["a"], ["a="], ["=x"], ["a=x", "a=y"]):
        with pytest.raises(ValueError, match=r"expected NAME=MODEL or results.jsonl, each name"):
            named_models(bad)


def test_models_of_an_experiment(tmp_path: Path) -> None:
    table = tmp_path / "small" / "results.jsonl"
    write_rows([row("none", 0, 0.3, key="k1"), row("La-DTL", 0, 0.3, key="k2")], table)
    model = tmp_path / "runs" / "k1" / "model-best"
    model.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"k2.model-best: no such pipeline: .* with --keep-models"):
        named_models([str(table)])
    model.parent.with_name("k2").joinpath("model-best").mkdir(parents=True)
    both = {"none": str(model), "La-DTL": str(model.parent.with_name("k2") / "model-best")}
    assert named_models(["a=x", str(table)]) == {"a": "x", **both}
    with pytest.raises(ValueError, match="each name once"):
        named_models(["none=x", str(table)])
    write_rows([row("none", seed, 0.3, key=f"k{seed}") for seed in (1, 2)], table)
    with pytest.raises(ValueError, match="expected one run a method; found more of none"):
        named_models([str(table)])
