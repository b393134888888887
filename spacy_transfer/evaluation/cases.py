"""Terms one by one: how often they are in the training data, how often they are tagged right.

The case analysis of Wang et al. 2018 (A.2, Table 6).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

import spacy
from spacy.language import Language

from spacy_transfer.corpus.gold import annotated_spans
from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.corpus.task_corpus import TaskCorpus
from spacy_transfer.corpus.terms import read_terms, term_key
from spacy_transfer.evaluation.counts import judged_spans
from spacy_transfer.evaluation.pipelines import (
    annotate,
    layer_of,
    training_corpora,
)
from spacy_transfer.evaluation.table import markdown_table
from spacy_transfer.pipeline.components import transfer_pipes


@dataclass(frozen=True)
class Case:
    """How often a term is annotated, its synonyms included, and how often it is found.

    Attributes:
        term: as it is written first, in the test corpus or in the file of terms.
        sources: how often it is annotated in the training data of each source.
        targets: the same for each training corpus of the target.
        test: how often it is annotated in the test corpus.
        right: how many of these each pipeline tags with their boundaries and label.
    """

    term: str
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    test: int
    right: tuple[int, ...]


@dataclass(frozen=True)
class CaseAnalysis:
    """Terms, and what pipelines make of them.

    Attributes:
        models: the pipelines, by letters.
        layer: what they tag; of `tag`, a term is a word.
        documents: how many there are in the test corpus.
        sources: the training corpora of all sources, by name, each once.
        targets: those of the target: one, if the pipelines learned from the same labels.
        cases: the terms, in the order of the file, or the most frequent in the test first.
    """

    models: Mapping[str, str]
    layer: str
    documents: int
    sources: Mapping[str, TaskCorpus]
    targets: Mapping[str, TaskCorpus]
    cases: Sequence[Case]


def analyse_cases(
    models: Iterable[str], test: Path, terms: Path | None = None, layer: str | None = None
) -> CaseAnalysis:
    """Tag a test corpus with pipelines and look at single terms.

    Args:
        models: folders or packages. The training corpora of those with transfer components are
            read from where their configs have them.
        test: a `.spacy` file or a folder of them.
        terms: a file of terms, see `read_terms`; by default they are what a source's training
            data has and the target's lacks.
        layer: what to look at; by default what the pipelines' transfer components tag.

    Raises:
        ValueError: pipelines that do not tell the layer, do not annotate it, or whose training
            corpora are not there; a test corpus without any such term.
        CorpusError: a corpus or a file of terms that cannot be read.
    """
    given = None if terms is None else read_terms(terms)
    pipelines = {model: spacy.load(model) for model in models}
    if len(pipelines) > len(ascii_uppercase):
        raise ValueError(f"expected at most {len(ascii_uppercase)} pipelines")
    letters = dict(zip(ascii_uppercase, pipelines, strict=False))
    corpus = task_corpus(test, layer or layer_of(pipelines))
    sources, targets = _training(letters, pipelines)
    nlp = next(iter(pipelines.values()))
    in_sources, in_targets = (
        [_count(of_task, nlp) for of_task in of_role.values()] for of_role in (sources, targets)
    )

    spelling: dict[str, str] = {}
    right: list[Counter[str]] = []
    for model, pipeline in pipelines.items():
        examples = annotate(model, pipeline, corpus)
        in_test, found = Counter[str](), Counter[str]()
        for example in examples:
            for span, hit in judged_spans(example, corpus.layer):
                key = term_key(span.text)
                spelling.setdefault(key, " ".join(span.text.split()))
                in_test[key] += 1
                found[key] += hit
        right.append(found)

    if given is None:
        learned, known = sum(in_sources, Counter()), sum(in_targets, Counter())
        chosen = [key for key in in_test if learned[key] and not known[key]]
        if not sources:
            raise ValueError(
                "the pipelines do not say what source they learned from: name terms to look at "
                "with --terms"
            )
        if not chosen:
            raise ValueError(
                f"{test}: no term that a source's training data has and the target's lacks; "
                f"name terms to look at with --terms"
            )
        chosen.sort(key=lambda key: (-in_test[key], -learned[key], key))
        given = {spelling[key]: [key] for key in chosen}

    for term, keys in given.items():
        if not any(counts[key] for counts in (in_test, *in_sources, *in_targets) for key in keys):
            warnings.warn(f"{terms}: {term!r} is annotated nowhere", stacklevel=2)

    def count(counts: Counter[str], keys: list[str]) -> int:
        return sum(counts[key] for key in keys)

    cases = [
        Case(
            term,
            tuple(count(counts, keys) for counts in in_sources),
            tuple(count(counts, keys) for counts in in_targets),
            count(in_test, keys),
            tuple(count(counts, keys) for counts in right),
        )
        for term, keys in given.items()
    ]
    return CaseAnalysis(letters, corpus.layer, len(examples), sources, targets, cases)


def case_table(analysis: CaseAnalysis, limit: int | None = None) -> str:
    """The first `limit` terms as a Markdown table; its last row adds up all of them."""
    header = [
        "Term",
        *(f"in {name}" for name in (*analysis.sources, *analysis.targets)),
        "in test",
        *(f"right: {letter}" for letter in analysis.models),
    ]
    counts = [(*c.sources, *c.targets, c.test, *c.right) for c in analysis.cases]
    rows = [
        [case.term.replace("|", "\\|"), *map(str, of_term)]
        for case, of_term in zip(analysis.cases[:limit], counts, strict=False)
    ]
    total = [
        f"all {len(counts):,} terms",
        *(str(sum(column)) for column in zip(*counts, strict=True)),
    ]
    return markdown_table([header, *rows, total])


def _training(
    letters: Mapping[str, str], pipelines: Mapping[str, Language]
) -> tuple[dict[str, TaskCorpus], dict[str, TaskCorpus]]:
    """The training corpora of sources and of targets; of several with one name, say whose."""
    sources: dict[str, TaskCorpus] = {}
    targets: dict[str, TaskCorpus] = {}
    for letter, model in letters.items():
        if not transfer_pipes(pipelines[model]):
            continue
        for task, corpus in training_corpora(model, pipelines[model]).items():
            known = targets if task == TARGET else sources
            if corpus not in known.values():
                known[f"{task} of {letter}" if task in known else task] = corpus
    return sources, targets


def _count(corpus: TaskCorpus, nlp: Language) -> Counter[str]:
    spans = (annotated_spans(example.reference, corpus.layer) for example in corpus(nlp))
    return Counter(term_key(span.text) for of_doc in spans for span in of_doc)
