from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pytest
from spacy.language import Language
from spacy.util import registry

from spacy_transfer.corpus.marks import TARGET, task_of
from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.corpus.streams import TaskStreams
from spacy_transfer.training.schedules import (
    Batch,
    Schedule,
    alternate,
    joint,
    source_only,
    target_only,
    turns,
)

TARGETS, SOURCES = 7, 5
OneSource = Callable[[], TaskStreams]


@pytest.fixture
def streams(nlp: Language, corpus_files: Callable[..., Path]) -> Callable[..., TaskStreams]:
    """Streams of seven target and, for each source, five source examples."""
    target, source = corpus_files(TARGET, TARGETS), corpus_files("source", SOURCES)

    def make(*sources: str, seed: int = 0) -> TaskStreams:
        paths = {TARGET: target, **dict.fromkeys(sources, source)}
        corpora = {task: task_corpus(path) for task, path in paths.items()}
        return TaskStreams(nlp, corpora, seed=seed, shuffle_buffer=100)

    return make


def tasks(batch: Batch) -> list[str]:
    return [task_of(example.reference) for example in batch]


def texts(batches: list[Batch]) -> list[list[str]]:
    return [[example.reference.text for example in batch] for batch in batches]


def test_target_only_takes_no_source(streams: Callable[..., TaskStreams]) -> None:
    batches = list(islice(target_only(3)(streams("source")), 20))
    assert [tasks(batch) for batch in batches] == [[TARGET] * 3] * 20
    assert texts(batches) == texts(list(islice(target_only(3)(streams()), 20)))


def test_epoch_is_a_pass_over_the_target(streams: Callable[..., TaskStreams]) -> None:
    batches = list(islice(target_only(3)(streams()), 7))
    # Seven examples by threes: a batch belongs to the epoch of its first example.
    assert [batch.epoch for batch in batches] == [0, 0, 0, 1, 1, 2, 2]
    seen = [text for batch in texts(batches) for text in batch]
    assert sorted(seen[:7]) == sorted(seen[7:14]) == sorted(seen[14:21])
    assert seen[:7] != seen[7:14]
    assert [b.epoch for b in islice(joint(7, 1)(streams("source")), 3)] == [0, 1, 2]


def test_source_only_takes_no_target_and_sources_in_turns(
    streams: Callable[..., TaskStreams],
) -> None:
    batches = list(islice(source_only(3)(streams("a", "b")), 20))
    assert [tasks(batch) for batch in batches] == [["a"] * 3, ["b"] * 3] * 10
    # An epoch is a pass over the first source, of five by threes.
    assert [batch.epoch for batch in batches[:8]] == [0, 0, 0, 0, 1, 1, 1, 1]
    seen = [text for batch in texts(batches[::2]) for text in batch]
    assert sorted(seen[:SOURCES]) == sorted(seen[SOURCES : 2 * SOURCES])
    assert texts(batches[::2]) == texts(list(islice(source_only(3)(streams("a")), 10)))


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.9])
def test_alternate_draws_the_target_as_often_as_told(
    streams: Callable[..., TaskStreams], probability: float
) -> None:
    batches = list(islice(alternate(2, probability)(streams("one", "two")), 3000))
    assert all(len(batch) == 2 and len(set(tasks(batch))) == 1 for batch in batches)
    drawn = [tasks(batch)[0] for batch in batches]
    rest = (1 - probability) / 2
    for task, share in ((TARGET, probability), ("one", rest), ("two", rest)):
        # Five standard deviations.
        limit = 5 * (share * (1 - share) / 3000) ** 0.5
        assert drawn.count(task) / 3000 == pytest.approx(share, abs=limit)


def test_alternate_counts_epochs_of_the_target(streams: Callable[..., TaskStreams]) -> None:
    seen = 0
    for batch in islice(alternate(2, 0.5)(streams("source")), 200):
        if tasks(batch)[0] == TARGET:
            assert batch.epoch == seen // TARGETS
            seen += 2
        else:
            assert batch.epoch == max(0, seen - 2) // TARGETS


def test_joint_has_both_tasks_in_every_batch(streams: Callable[..., TaskStreams]) -> None:
    for batch in islice(joint(3, 2)(streams("source")), 20):
        assert tasks(batch) == [TARGET] * 3 + ["source"] * 2


def test_joint_sources_take_turns(streams: Callable[..., TaskStreams]) -> None:
    batches = islice(joint(1, 2)(streams("a", "b", "c")), 9)
    assert [tasks(batch)[1:] for batch in batches] == [["a"] * 2, ["b"] * 2, ["c"] * 2] * 3


def test_turns_are_as_frequent_as_their_weights_and_evenly_spread() -> None:
    drawn = list(islice(turns({"a": 5.0, "b": 1.0, "c": 2.0}), 800))
    for name, weight in (("a", 5), ("b", 1), ("c", 2)):
        for start in range(0, 800, 8):
            assert drawn[start : start + 8].count(name) == weight
    places = [place for place, name in enumerate(drawn) if name == "c"]
    assert {after - before for before, after in pairwise(places)} == {3, 5}


def test_weights_of_sources(streams: Callable[..., TaskStreams]) -> None:
    weights = {"one": 3.0, "two": 1.0}
    both = joint(1, 1, source_weights=weights)(streams("one", "two"))
    seen = [tasks(batch)[1] for batch in islice(both, 40)]
    assert (seen.count("one"), seen.count("two")) == (30, 10)
    alone = source_only(1, source_weights=weights)(streams("one", "two"))
    batches = list(islice(alone, 40))
    assert [tasks(batch)[0] for batch in batches] == seen
    assert batches[-1].epoch == 29 // SOURCES
    drawn = alternate(1, 0.2, source_weights=weights)(streams("one", "two"))
    names = [tasks(batch)[0] for batch in islice(drawn, 3000)]
    for task, share in ((TARGET, 0.2), ("one", 0.6), ("two", 0.2)):
        limit = 5 * (share * (1 - share) / 3000) ** 0.5
        assert names.count(task) / 3000 == pytest.approx(share, abs=limit)


@pytest.mark.parametrize(
    "weights", [{"one": 1.0}, {"one": 1.0, "two": 0.0}, {"one": 1.0, "two": 1.0, "three": 1.0}]
)
@pytest.mark.parametrize("schedule", [alternate, joint, source_only])
def test_wrong_weights(
    streams: Callable[..., TaskStreams],
    schedule: Callable[..., Schedule],
    weights: dict[str, float],
) -> None:
    with pytest.raises(ValueError, match="a number above 0 for each of the sources one, two"):
        next(schedule(source_weights=weights)(streams("one", "two")))


def test_a_source_is_gone_through_before_it_repeats(streams: Callable[..., TaskStreams]) -> None:
    batches = texts(list(islice(joint(1, 1)(streams("source")), 2 * SOURCES)))
    seen = [batch[1] for batch in batches]
    assert sorted(seen[:SOURCES]) == sorted(seen[SOURCES:])


def test_windows_sort_each_task_by_itself(streams: Callable[..., TaskStreams]) -> None:
    """Each epoch of seven target and five source sentences has batches of two on average."""
    for batch in islice(joint(2, 2, window=10)(streams("source")), 40):
        assert tasks(batch) == sorted(tasks(batch), reverse=True)
        assert set(tasks(batch)) == {TARGET, "source"}
    for schedule, others in ((target_only(2, window=10), ()), (alternate(2, window=10), ("one",))):
        drawn = islice(schedule(streams(*others)), 60)
        batches = [batch for batch in drawn if tasks(batch)[0] == TARGET]
        for epoch in range(3):
            of_epoch = [batch for batch in batches if batch.epoch == epoch]
            seen = sorted(text for batch in texts(of_epoch) for text in batch)
            assert seen == sorted(example.reference.text for example in islice(streams(), TARGETS))
            lengths = sorted(sorted(len(example) for example in batch) for batch in of_epoch)
            pairs = pairwise(length for batch in lengths for length in batch)
            # A tenth of noise on each.
            assert all(before <= 1.25 * after for before, after in pairs)


@pytest.mark.parametrize(
    "schedule",
    [
        target_only(2),
        alternate(2, seed=3),
        joint(2, 1),
        target_only(2, window=3),
        joint(2, 1, window=3),
    ],
    ids=["only", "alt", "joint", "only-window", "joint-window"],
)
def test_same_seed_same_batches(streams: Callable[..., TaskStreams], schedule: Schedule) -> None:
    first, again, other = (
        texts(list(islice(schedule(streams("one", "two", seed=seed)), 50))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_alternate_follows_its_seed(streams: Callable[..., TaskStreams]) -> None:
    def draws(seed: int) -> list[str]:
        batches = islice(alternate(1, seed=seed)(streams("source")), 50)
        return [tasks(batch)[0] for batch in batches]

    assert draws(0) == draws(0)
    assert draws(0) != draws(1)


@pytest.mark.parametrize(
    "schedule", [alternate(), joint(), source_only()], ids=["alternate", "joint", "source"]
)
def test_transfer_needs_a_source(streams: Callable[..., TaskStreams], schedule: Schedule) -> None:
    with pytest.raises(ValueError, match=r"needs a source: set \[corpora.train.sources\]"):
        next(schedule(streams()))


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("TargetOnly", {"batch_size": 0}, "batch sizes must be at least 1; found 0"),
        ("Alternate", {"batch_size": -1}, "batch sizes must be at least 1; found -1"),
        ("SourceOnly", {"batch_size": 0}, "batch sizes must be at least 1; found 0"),
        ("Joint", {"source_size": 0}, "batch sizes must be at least 1; found 0"),
        ("TargetOnly", {"window": 0}, "window must be at least 1; found 0"),
        ("Joint", {"batch_size": 3}, "unexpected argument: 'batch_size'"),
        ("Alternate", {"target_probability": 0.0}, "must be between 0 and 1; found 0.0"),
        ("Alternate", {"target_probability": 1.0}, "must be between 0 and 1; found 1.0"),
    ],
)
def test_wrong_settings(name: str, wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        registry.resolve({"batcher": {"@batchers": f"spacy_transfer.{name}.v1", **wrong}})
