from __future__ import annotations

import numpy as np
import pytest

from spacy_transfer.evaluation.counts import Counts
from spacy_transfer.evaluation.intervals import Interval, mean_interval
from spacy_transfer.evaluation.significance import f1, holm, randomisation_test
from spacy_transfer.experiments.results import COUNTS, Row
from spacy_transfer.experiments.significance import (
    Differences,
    Pair,
    differences_of,
    pairs_of,
    stands_out,
)
from spacy_transfer.experiments.summary import summarize
from tests.experiments.test_summary import row

GOLD = np.random.default_rng(0).poisson(2, 300)


def counted(
    method: str, seed: int, recall: float, *sources: str, gold: Counts = GOLD, **other: object
) -> Row:
    """A row with the counts of a system that finds a share of the gold."""
    rng = np.random.default_rng([seed, *f"{method}{sources}".encode()])
    correct = rng.binomial(gold, recall)
    counts = np.stack([correct, correct + rng.poisson(0.3, gold.size), gold], axis=-1)
    test = float(f1(counts.sum(0)))
    return row(method, seed, test, **{"sources": list(sources), COUNTS: counts, **other})


def found_in(rows: list[Row]) -> tuple[list[Pair], Differences]:
    pairs = pairs_of(summarize(rows))
    return pairs, differences_of(pairs)


def by_label(differences: Differences) -> dict[tuple[str, str], tuple[Interval, float]]:
    return {(one.label, two.label): found for (one, two), found in differences.items()}


def standing_out(rows: list[Row]) -> list[list[str]]:
    """The methods that stand out, pair by pair."""
    pairs, differences = found_in(rows)
    return [[c.method for c in p.cells if stands_out(c, p, differences)] for p in pairs]


def test_without_a_name_the_reference_is_training_without_transfer() -> None:
    rows = [
        counted(method, seed, rate, *sources)
        for seed in (0, 1)
        for method, rate, sources in (
            ("none", 0.5, ()),
            ("T-B", 0.52, ("news",)),
            ("T-B", 0.7, ("mail",)),
        )
    ]
    pairs, differences = found_in(rows)
    assert [pair.sources for pair in pairs] == [("news",), ("mail",)]
    found = by_label(differences)
    assert list(found) == [("none", "T-B from news"), ("none", "T-B from mail")]
    counts = {cell.label: np.stack(list(cell.counts.values())) for p in pairs for cell in p.cells}
    plain = [randomisation_test(counts[one], counts[two]) for one, two in found]
    assert plain[1] < 0.001 < 0.05 < plain[0]
    assert [p for _, p in found.values()] == holm(plain)
    for (one, two), (points, _) in found.items():
        means = [100 * f1(counts[name].sum(1)).mean() for name in (one, two)]
        assert points.mean == pytest.approx(means[1] - means[0])
    assert standing_out(rows) == [[], ["T-B"]]


def test_a_named_reference_is_tested_with_its_own_sources() -> None:
    rows = [
        counted(method, 0, rate, *sources, reference="La-DTL")
        for method, rate, sources in (
            ("none", 0.4, ()),
            ("T-B", 0.5, ("news",)),
            ("La-DTL", 0.8, ("news",)),
            ("T-B", 0.9, ("mail",)),
            ("La-DTL", 0.7, ("mail",)),
            ("T-B", 0.5, ("web",)),
        )
    ]
    _, differences = found_in(rows)
    assert list(by_label(differences)) == [
        ("La-DTL from news", "none"),
        ("La-DTL from news", "T-B from news"),
        ("La-DTL from mail", "none"),
        ("La-DTL from mail", "T-B from mail"),
    ]
    # Better than all; better than the reference; nothing to compare with.
    assert standing_out(rows) == [["La-DTL"], ["T-B"], []]
    part = counted("La-MMD", 0, 0.79, "news", reference="La-DTL")
    assert standing_out([*rows, part]) == [[], ["T-B"], []]
    assert standing_out([*rows, {**part, "ablation": True}]) == [["La-DTL"], ["T-B"], []]


def test_methods_without_any_source_are_tested_once() -> None:
    rows = [counted("none", 0, 0.5), counted("wide", 0, 0.8)]
    assert list(by_label(found_in(rows)[1])) == [("none", "wide")]
    rows += [counted("T-B", 0, 0.6, source) for source in ("news", "mail")]
    found = by_label(found_in(rows)[1])
    assert [two for _, two in found] == ["wide", "T-B from news", "T-B from mail"]


def test_seeds_that_both_have_are_paired() -> None:
    none = [counted("none", seed, 0.5) for seed in (0, 1, 2)]
    transfer = [counted("T-B", seed, 0.55, "news") for seed in (2, 1, 7)]
    [(points, p)] = by_label(found_in(none + transfer)[1]).values()
    gains = [100 * (transfer[i]["test_score"] - none[j]["test_score"]) for i, j in ((0, 2), (1, 1))]
    assert points == pytest.approx(mean_interval(gains))
    counts = [none[1][COUNTS], none[2][COUNTS]]
    others = [transfer[1][COUNTS], transfer[0][COUNTS]]
    assert p == randomisation_test(np.stack(counts), np.stack(others))


@pytest.mark.parametrize("lacking", [0, 1])
def test_counts_that_are_not_known_give_no_p_value(lacking: int) -> None:
    rows = [counted("none", 0, 0.5), counted("none", 1, 0.5)]
    rows += [counted("T-B", seed, 0.9, "news") for seed in (0, 1)]
    del rows[lacking][COUNTS]
    assert found_in(rows)[1] == {}
    assert standing_out(rows) == [[]]


def test_other_places_have_nothing_to_do_with_it() -> None:
    rows = [counted("none", 0, 0.5, rate=0.1), counted("T-B", 0, 0.9, "news", rate=0.2)]
    rows.append(counted("T-B", 1, 0.9, "news", rate=0.1))
    assert found_in(rows)[1] == {}


@pytest.mark.parametrize("gold", [GOLD[::-1], GOLD[1:]])
def test_other_test_corpora_are_refused(gold: Counts) -> None:
    rows = [counted("none", 0, 0.5), counted("T-B", 0, 0.5, "news", gold=gold)]
    with pytest.raises(
        ValueError, match=r"none and T-B from news were scored on different .* 'aim"
    ):
        found_in(rows)
