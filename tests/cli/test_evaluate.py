from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from spacy.cli.evaluate import evaluate
from spacy.language import Language
from spacy.tokens import DocBin
from srsly import json_dumps

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.optimizer import adagrad
from tests.cli.running import exit_code
from tests.conftest import add_small_ner, add_small_pipe, blank, examples, renamed

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
    assert json.loads(json_dumps(expected)).items() <= scores.items()
    assert f"ents_f: {100 * scores['ents_f']:.2f}" in capsys.readouterr().out.splitlines()


def test_scores_that_spacy_evaluate_does_not_know(
    corpus_files: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = add_small_pipe("transfer_tagger", add_small_pipe("transfer_chunker", blank()))
    for name, layer in (("transfer_chunker", "spans:chunks"), ("transfer_tagger", "tag")):
        of_target = examples(nlp, TARGET, 20, layer=layer)
        nlp.get_pipe(name).initialize(lambda of_target=of_target: of_target, nlp=nlp)
        optimizer = adagrad(0.1)
        for _ in range(20):
            nlp.get_pipe(name).update(of_target, sgd=optimizer)
    nlp.to_disk(tmp_path / "model")
    output = tmp_path / "scores.json"
    assert run(tmp_path / "model", corpus_files(TARGET, 20), "--output", output) == 0
    scores, printed = json.loads(output.read_text()), capsys.readouterr().out.splitlines()
    assert scores["spans_chunks_f"] == scores["spans_chunks_per_type"]["NP"]["f"] == 1.0
    assert {"spans_chunks_f: 100.00", "tag_acc: 100.00"} <= set(printed)


def test_no_documents(
    trained: Language, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.to_disk(tmp_path / "model")
    empty = tmp_path / "empty.spacy"
    DocBin().to_disk(empty)
    assert run(tmp_path / "model", empty) == 1
    assert "empty.spacy: expected documents to evaluate on, found none" in capsys.readouterr().err


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


def test_the_source_and_what_the_target_has_cost_it(
    trained: Language,
    corpus_files: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, before, output = tmp_path / "model", tmp_path / "before", tmp_path / "scores.json"
    trained.to_disk(model)
    source = corpus_files("source", 20, seed=1)
    alone = add_small_ner(blank())
    of_source = renamed(examples(alone, "source", 20), TARGET)
    alone.initialize(lambda: of_source)
    optimizer = adagrad(0.1)
    for _ in range(20):
        alone.update(of_source, sgd=optimizer)
    alone.to_disk(before)

    files = (model, corpus_files(TARGET, 8, seed=1), "--output", output)
    assert run(*files, "--source", source, "--before", before) == 0
    scores, printed = json.loads(output.read_text()), capsys.readouterr().out
    trained.get_pipe("transfer_ner").task = "source"
    trained.to_disk(tmp_path / "as-source")
    expected = evaluate(str(tmp_path / "as-source"), source)["ents_f"]
    assert 0.5 < expected == scores["source_ents_f"]
    assert scores["ents_f"] > 0.5
    assert f"source_ents_f: {100 * expected:.2f}" in printed.splitlines()
    assert f"\nA: {before}\nB: {model}\n{source}: 20 documents, layer ents\n" in printed
    first = 100 * evaluate(str(before), source)["ents_f"]
    rows = [[cell.strip() for cell in line.split("|")] for line in printed.splitlines()]
    values = {
        cells[1]: float(cells[2]) for cells in rows if cells[1:2] in (["A"], ["B"], ["B - A"])
    }
    assert values["A"] == pytest.approx(first, abs=0.005)
    assert values["B"] == pytest.approx(100 * expected, abs=0.005)
    assert values["B - A"] == pytest.approx(100 * expected - first, abs=0.01)

    assert run(*files, "--source", f"source={source}") == 0
    assert json.loads(output.read_text())["source_ents_f"] == expected
    assert "B - A" not in capsys.readouterr().out


def test_sources_that_are_not_there(
    trained: Language,
    corpus_files: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, data, output = tmp_path / "model", corpus_files(TARGET, 8), tmp_path / "scores.json"
    trained.to_disk(tmp_path / "both")
    trained.get_pipe("transfer_ner").drop_task("source")
    trained.to_disk(model)
    assert run(tmp_path / "both", data, "--source", f"foo={data}") == 1
    message = f"error: {tmp_path / 'both'}: no source 'foo'; its sources are source\n"
    assert capsys.readouterr().err == message
    for options, message in (
        (["--source", data], f"{model}: it has no source that --source could be a corpus of"),
        (["--before", model], "--before is compared on a corpus of the source: add --source FILE"),
    ):
        assert run(model, data, "--output", output, *options) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
        assert not output.exists()
