"""Tags of a task as ids of a head, by itself and shared with other tasks."""

from __future__ import annotations

import pytest

from spacy_transfer.corpus.schemes import tags_of
from spacy_transfer.pipeline.tasks import Task, TaskTags, equal_tags, head_labels, matched_tags

TARGET = Task("target", "ents", ("person", "place", "thing"))
SOURCE = Task("source", "ents", ("LOC", "PER", "ORG"))
LABEL_MAP = {"person": "PER", "place": "LOC"}


def alone(task: Task) -> TaskTags:
    return TaskTags(task, task.labels, {}, "BIOES")


def shared() -> tuple[TaskTags, TaskTags]:
    labels = head_labels([TARGET, SOURCE], LABEL_MAP)
    assert labels == ["LOC", "PER", "ORG", "thing"]
    return TaskTags(TARGET, labels, LABEL_MAP, "BIOES"), TaskTags(SOURCE, labels, {}, "BIOES")


def test_a_head_of_its_own() -> None:
    tags = alone(TARGET)
    names = tags_of(TARGET.labels, "BIOES")
    assert len(tags) == 13
    assert tags.encode(names).tolist() == list(range(13))
    assert [tags.names[number] for number in range(13)] == names
    assert all(mask.shape[0] == 13 for mask in tags.constraints())


def test_a_shared_head_speaks_of_matched_labels_alike() -> None:
    target, source = shared()
    assert len(target) == len(source) == 17
    assert target.encode(["O", "B-person", "S-place"]).tolist() == (
        source.encode(["O", "B-PER", "S-LOC"]).tolist()
    )
    numbers = target.encode(["E-person", "I-thing"]).tolist()
    assert [target.names[number] for number in numbers] == ["E-person", "I-thing"]
    assert source.names[numbers[0]] == "E-PER"


def test_a_shared_head_predicts_the_labels_of_its_task_alone() -> None:
    target, source = shared()
    for tags, foreign in ((target, "ORG"), (source, "thing")):
        start, transitions, end = tags.constraints()
        own = sorted(tags.names)
        assert len(own) == 13
        others = [number for number in range(17) if number not in own]
        assert not any(foreign == name.partition("-")[2] for name in tags.names.values())
        assert not start[others].any()
        assert not end[others].any()
        assert not transitions[others].any()
        assert not transitions[:, others].any()
        # Between its own tags the scheme alone decides.
        by_itself = alone(Task("task", "ents", tags.task.labels)).constraints()
        order = tags.encode(tags_of(tags.task.labels, "BIOES"))
        assert start[order].tolist() == by_itself.start.tolist()
        assert end[order].tolist() == by_itself.end.tolist()
        assert transitions[order][:, order].tolist() == by_itself.transitions.tolist()


@pytest.mark.parametrize("first", ["city", "country"])
def test_target_labels_that_share_a_source_label(first: str) -> None:
    """Both are learned as the one label, which is read back as the first in the map."""
    target = Task("target", "ents", ("city", "country"))
    renamed = dict.fromkeys([first, *target.labels], "LOC")
    tags = TaskTags(target, head_labels([target, SOURCE], renamed), renamed, "BIO")
    assert tags.encode(["B-city"]).tolist() == tags.encode(["B-country"]).tolist()
    assert tags.names[int(tags.encode(["B-country"])[0])] == f"B-{first}"


def test_target_labels_that_are_nothing_in_the_source() -> None:
    renamed = {**LABEL_MAP, "thing": "O"}
    labels = head_labels([TARGET, SOURCE], renamed)
    assert labels == ["LOC", "PER", "ORG"]
    tags = TaskTags(TARGET, labels, renamed, "BIOES")
    assert tags.encode(["B-thing", "E-thing", "O", "S-place"]).tolist()[:3] == [0, 0, 0]
    assert tags.names[0] == "O"
    assert len(tags.names) == 9


def test_an_added_label_takes_the_source_label_of_its_name_or_one_of_its_own() -> None:
    target = Task("target", "ents", ("place", "ORG", "lamp"))
    labels = head_labels([target, SOURCE], {"place": "LOC"})
    assert labels == ["LOC", "PER", "ORG", "lamp"]
    of_target = TaskTags(target, labels, {"place": "LOC"}, "BIO")
    of_source = TaskTags(SOURCE, labels, {}, "BIO")
    assert of_target.ids["B-ORG"] == of_source.ids["B-ORG"]
    assert of_target.ids["B-lamp"] not in of_source.names


def test_what_a_shared_head_says_of_both_tasks_is_equal() -> None:
    target, source = shared()
    pairs = equal_tags(source, target)
    assert all(one == other for one, other in pairs)
    assert {source.names[number] for number, _ in pairs} == set(tags_of(("LOC", "PER"), "BIOES"))


def test_matched_tags_follow_the_prefix() -> None:
    source, target = alone(SOURCE), alone(TARGET)
    found = {(source.names[s], target.names[t]) for s, t in matched_tags(source, target, LABEL_MAP)}
    assert found == {("O", "O")} | {
        (f"{prefix}-{of_source}", f"{prefix}-{of_target}")
        for prefix in "BIES"
        for of_target, of_source in LABEL_MAP.items()
    }
    assert matched_tags(source, target, None) == [(0, 0)]


def test_plain_tags_match_plain_tags() -> None:
    one, two = (Task(name, "tag", ("DET", "NOUN")[:n]) for name, n in (("target", 2), ("other", 1)))
    pairs = matched_tags(TaskTags(two, two.labels, {}, "BIOES"), alone(one), None)
    assert pairs == [(0, 0)]
    assert matched_tags(alone(one), alone(TARGET), None) == []
    assert all(mask.all() for mask in alone(one).constraints())


def test_labels_from_elsewhere() -> None:
    with pytest.raises(ValueError, match="'B-lamp' is not one of task 'target', which was init"):
        alone(TARGET).encode(["O", "B-lamp"])
