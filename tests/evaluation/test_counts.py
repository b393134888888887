"""Counts of sentences add up to the scores of the components."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.pipeline.spancat import spancat_score
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.evaluation.counts import (
    count_correct,
    judged_predictions,
    judged_spans,
    pack,
    predicted,
    unpack,
)
from spacy_transfer.evaluation.significance import f1
from spacy_transfer.pipeline.transfer_ner import score_entities
from spacy_transfer.pipeline.transfer_tagger import score_tags
from tests.conftest import examples

VOCAB = spacy.blank("xx").vocab
TEXT = "abcdefghijkl"


def doc_of(rng: random.Random) -> Doc:
    """A text cut into tokens anywhere, with entities, tags and spans of three labels.

    Some of it is missing, or all of a layer.
    """
    cuts = [0, *sorted(rng.sample(range(1, len(TEXT)), rng.choice([5, 11]))), len(TEXT)]
    words = [TEXT[start:end] for start, end in itertools.pairwise(cuts)]
    doc = Doc(VOCAB, words=words, spaces=[False] * len(words))
    spans: list[Span] = []
    while not spans or spans[-1].end < len(doc):
        start = spans[-1].end if spans else 0
        end = min(len(doc), start + rng.choice([1, 1, 2]))
        spans.append(Span(doc, start, end, rng.choice("XYZ")))
    if rng.random() < 0.9:
        kept = [span for span in spans if rng.random() < 0.7]
        doc.set_ents(kept, default=rng.choice(["outside", "missing"]))
    if rng.random() < 0.9:
        doc.spans["key"] = [span for span in spans if rng.random() < 0.7]
    if rng.random() < 0.9:
        for token in doc:
            token.tag_ = rng.choice(["", "X", "Y", "Y"])
    return doc


def score_spans(examples: Iterable[Example]) -> dict[str, Any]:
    scores: dict[str, Any] = spancat_score(examples, spans_key="key")
    return scores


@pytest.mark.parametrize(
    ("layer", "score", "prefix"),
    [
        ("ents", score_entities, "ents"),
        ("spans:key", score_spans, "spans_key"),
        ("tag", score_tags, None),
    ],
)
@pytest.mark.parametrize("seed", range(20))
def test_totals_give_the_scores_of_the_scorers(
    seed: int, layer: str, score: Callable[..., dict[str, Any]], prefix: str | None
) -> None:
    rng = random.Random(seed)
    some = [Example(doc_of(rng), doc_of(rng)) for _ in range(30)]
    scores, counts = score(some), count_correct(some, layer)
    assert counts.shape == (30, 3)
    correct, found, gold = counts.sum(0)
    assert 0 < correct < min(found, gold)
    if prefix is None:
        assert f1(counts.sum(0)) == pytest.approx(scores["tag_acc"], abs=1e-12)
        assert found == gold
    else:
        assert f1(counts.sum(0)) == pytest.approx(scores[f"{prefix}_f"], abs=1e-12)
        assert correct / found == pytest.approx(scores[f"{prefix}_p"], abs=1e-12)
        assert correct / gold == pytest.approx(scores[f"{prefix}_r"], abs=1e-12)
    hits = [hit for example in some for _, hit in judged_spans(example, layer)]
    assert (sum(hits), len(hits)) == (correct, gold)
    # What is gold does not depend on who predicts: sentences of two systems are paired by it.
    others = [Example(doc_of(rng), example.reference) for example in some]
    assert (count_correct(others, layer)[:, 2] == counts[:, 2]).all()


@pytest.mark.parametrize("layer", ["ents", "spans:key"])
@pytest.mark.parametrize("seed", range(20))
def test_predictions_are_judged_as_they_are_counted(seed: int, layer: str) -> None:
    rng = random.Random(seed)
    some = [Example(doc_of(rng), doc_of(rng)) for _ in range(30)]
    for example, (correct, found, _) in zip(some, count_correct(some, layer), strict=True):
        judged = [hit for _, hit in judged_predictions(example, layer)]
        if len(example.predicted) == len(example.reference) == len(TEXT):
            assert (sum(judged), len(judged)) == (correct, found)
        # Where tokens differ, two predictions may come to lie on one annotation, or on none.
        assert sum(judged) >= correct


def test_predicted_tags_are_judged_where_the_gold_is_known() -> None:
    reference = Doc(VOCAB, words=["a", "b", "c"], tags=["X", "", "Y"])
    example = Example(Doc(VOCAB, words=["a", "b", "c"], tags=["X", "X", "X"]), reference)
    judged = [(span.text, hit) for span, hit in judged_predictions(example, "tag")]
    assert judged == [("a", True), ("c", False)]


def test_predictions_are_those_that_are_evaluated(trained: Language) -> None:
    some = examples(trained, TARGET, 30, seed=1)
    counts = count_correct(predicted(trained, some), "ents")
    assert f1(counts.sum(0)) == pytest.approx(trained.evaluate(some)["ents_f"], abs=1e-12)
    assert [row[2] for row in counts] == [len(example.reference.ents) for example in some]


def test_an_unknown_layer() -> None:
    with pytest.raises(ValueError, match="unknown layer 'entities'"):
        count_correct([], "entities")


def test_packed_and_unpacked() -> None:
    counts = np.random.default_rng(0).poisson(2, (1000, 3))
    counts[7] = 70_000, 80_000, 90_000
    assert (unpack(pack(counts)) == counts).all()
    assert len(pack(counts)) < 3 * len(counts)
    assert unpack(pack(counts[:0])).shape == (0, 3)


@pytest.mark.parametrize("text", ["no counts!", "bm8=", pack(np.ones((2, 3), np.int64))[:-8], "é"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(text)
