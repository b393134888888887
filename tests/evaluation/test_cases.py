"""Counts of terms against a small example that was counted by hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from spacy.tokens import Doc, DocBin, Span

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.evaluation.cases import CaseAnalysis, analyse_cases, case_table
from tests.conftest import add_small_ner, add_small_pipe, blank, examples, sentences

SOURCE = ["[heart disease] was seen", "no [Heart Disease]", "[hay fever] and [gout]", "gout left"]
LABELLED = ["[gout] and fever", "heart disease was seen", "[ a|b ]"]
TEST = ["[heart disease] and [gout]", "[HEART disease]", "[hay fever] was seen", "[asthma]"]

Make = Callable[..., Path]


def write(path: Path, texts: list[str], layer: str = "ents") -> Path:
    """A corpus of texts in which the entities stand in brackets."""
    docs = DocBin()
    for text in texts:
        words: list[str] = []
        places = []
        for part in re.findall(r"\[.+?\]|\S+", text):
            of_part = part.strip("[]").split()
            if part.startswith("["):
                places.append((len(words), len(words) + len(of_part)))
            words += of_part
        doc = Doc(blank().vocab, words=words)
        doc.has_unknown_spaces = True
        spans = [Span(doc, start, end, "disease") for start, end in places]
        if layer == "ents":
            doc.set_ents(spans)
        else:
            doc.spans[layer.partition(":")[2]] = spans
        docs.add(doc)
    docs.to_disk(path)
    return path


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that saves a pipeline with known predictions, and corpora in its config.

    Rules come after the component, which knows other labels than those of the corpora.
    """

    def run(name: str, patterns: list[tuple[str, str]], source: list[str] | None = None) -> Path:
        nlp = add_small_ner(blank())
        nlp.initialize(lambda: examples(nlp, TARGET, 3))
        nlp.add_pipe("entity_ruler", config={"overwrite_ents": True})
        nlp.get_pipe("entity_ruler").add_patterns(
            [{"label": label, "pattern": pattern} for pattern, label in [*patterns, ("none", "x")]]
        )
        train = {
            "@readers": "spacy_transfer.TransferCorpus.v1",
            "target": corpus(write(tmp_path / "target.spacy", LABELLED)),
            "sources": {},
        }
        if source is not None:
            train["sources"] = {"ward": corpus(write(tmp_path / f"{name}.spacy", source))}
        nlp.config["corpora"]["train"] = train
        nlp.to_disk(tmp_path / name)
        return tmp_path / name

    return run


def corpus(path: Path, **settings: object) -> dict[str, object]:
    return {"@readers": "spacy_transfer.TaskCorpus.v1", "path": str(path), **settings}


def analyse(test: Path, *models: Path, terms: Path | None = None) -> CaseAnalysis:
    return analyse_cases(map(str, models), test, terms)


def rows(analysis: CaseAnalysis) -> dict[str, tuple[object, ...]]:
    return {c.term: (c.sources, c.targets, c.test, c.right) for c in analysis.cases}


@pytest.fixture
def test_corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "test.spacy", TEST)


def test_terms_that_only_the_source_has(make: Make, test_corpus: Path) -> None:
    # One has the right words with another label; the other not all words of a term.
    alone = make("alone", [("gout", "disease"), ("heart disease", "finding")])
    transfer = make("transfer", [("heart disease", "disease"), ("fever", "disease")], SOURCE)
    analysis = analyse(test_corpus, alone, transfer)
    assert list(rows(analysis).items()) == [
        ("heart disease", ((2,), (0,), 2, (0, 1))),
        ("hay fever", ((1,), (0,), 1, (0, 0))),
    ]
    assert (analysis.layer, analysis.documents) == ("ents", 4)
    assert analysis.models == {"A": str(alone), "B": str(transfer)}
    # The two were trained on the same labels of the target.
    assert (list(analysis.sources), list(analysis.targets)) == (["ward"], [TARGET])
    assert case_table(analysis, limit=1).splitlines() == [
        "| Term          | in ward | in target | in test | right: A | right: B |",
        "|---------------|---------|-----------|---------|----------|----------|",
        "| heart disease | 2       | 0         | 2       | 0        | 1        |",
        "| all 2 terms   | 3       | 0         | 3       | 0        | 1        |",
    ]


def test_terms_of_a_file_with_synonyms(make: Make, test_corpus: Path, tmp_path: Path) -> None:
    terms = tmp_path / "terms.tsv"
    terms.write_text("GOUT\nheart disease\thay fever\nA|b\n")
    alone = make("alone", [("gout", "disease")])
    transfer = make("transfer", [("heart disease", "disease")], SOURCE)
    analysis = analyse(test_corpus, alone, transfer, terms=terms)
    assert rows(analysis) == {
        "GOUT": ((1,), (1,), 1, (1, 0)),
        "heart disease": ((3,), (0,), 3, (0, 1)),
        "A|b": ((0,), (1,), 0, (0, 0)),
    }
    assert "\n| A\\|b " in case_table(analysis)


def test_a_source_for_each_pipeline(make: Make, test_corpus: Path) -> None:
    """As in Table 6: the same target from several departments."""
    first = make("first", [], ["[heart disease]"])
    second = make("second", [], ["[hay fever]", "[heart disease]", "[heart disease]"])
    analysis = analyse(test_corpus, first, second)
    assert list(analysis.sources) == ["ward", "ward of B"]
    assert {c.term: c.sources for c in analysis.cases} == {
        "heart disease": (1, 2),
        "hay fever": (0, 1),
    }


def test_of_tags_words_are_terms(corpus_files: Callable[..., Path], tmp_path: Path) -> None:
    nlp = add_small_pipe("transfer_tagger", blank())
    nlp.initialize(lambda: examples(nlp, TARGET, 9, layer="tag"))
    files = {task: corpus_files(task, 9) for task in (TARGET, "source")}
    nlp.config["corpora"]["train"] = {
        "@readers": "spacy_transfer.TransferCorpus.v1",
        TARGET: corpus(files[TARGET], layer="tag"),
        "sources": {"news": corpus(files["source"], layer="tag")},
    }
    nlp.to_disk(tmp_path / "tagger")
    target, source, test = (
        Counter(token.text.lower() for doc in sentences(nlp, task, 9, seed) for token in doc)
        for task, seed in ((TARGET, 0), ("source", 0), ("source", 1))
    )
    analysis = analyse(corpus_files("source", 9, seed=1), tmp_path / "tagger")
    assert analysis.layer == "tag"
    expected = {
        word: (source[word], test[word]) for word in test if source[word] > target[word] == 0
    }
    assert expected
    assert {c.term.lower(): (*c.sources, c.test) for c in analysis.cases} == expected
    places = [c.test for c in analysis.cases]
    assert places == sorted(places, reverse=True)


def test_no_such_term(make: Make, tmp_path: Path) -> None:
    model, test = make("transfer", [], SOURCE), write(tmp_path / "test.spacy", ["[gout]"])
    with pytest.raises(ValueError, match=r"test.spacy: no term that a source's training data has"):
        analyse(test, model)
    with pytest.raises(ValueError, match="do not say what source they learned from: name terms"):
        analyse(test, make("alone", []))


def test_a_term_that_is_nowhere(make: Make, test_corpus: Path, tmp_path: Path) -> None:
    terms = tmp_path / "terms.tsv"
    terms.write_text("gout\nzzz\n")
    with pytest.warns(UserWarning, match=r"terms.tsv: 'zzz' is annotated nowhere") as found:
        analyse(test_corpus, make("transfer", [], SOURCE), terms=terms)
    assert len(found) == 1


def test_training_corpora_that_are_not_there(make: Make, test_corpus: Path, tmp_path: Path) -> None:
    model = make("transfer", [], SOURCE)
    (tmp_path / "transfer.spacy").unlink()
    with pytest.raises(ValueError, match=r"transfer: its training corpora .*no such file") as error:
        analyse(test_corpus, model)
    assert str(tmp_path / "transfer.spacy") in str(error.value)


def test_a_pipeline_without_corpora_in_its_config(test_corpus: Path, tmp_path: Path) -> None:
    nlp = add_small_ner(blank())
    nlp.initialize(lambda: examples(nlp, TARGET, 3))
    nlp.to_disk(tmp_path / "model")
    with pytest.raises(ValueError, match=r"model: expected a pipeline that `spacy transfer train`"):
        analyse(test_corpus, tmp_path / "model")
