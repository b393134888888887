from __future__ import annotations

import pytest

from spacy_transfer.nn.sharing import Sharing


@pytest.mark.parametrize(
    ("plan", "words", "head"),
    [("T-A", "aim", "aim"), ("T-B", "aim", "other"), ("T-C", "other", "other")],
)
def test_what_a_source_has_alone_goes_by_its_name(plan: str, words: str, head: str) -> None:
    sharing = Sharing.of("aim", plan, ["other"])
    assert (sharing.words_of("other"), sharing.head_of("other")) == (words, head)
    assert (sharing.words_of("aim"), sharing.head_of("aim")) == ("aim", "aim")


def test_each_source_by_its_own_plan() -> None:
    sharing = Sharing.of("aim", {"a": "T-A", "c": "T-C", "unused": "T-B"}, iter(["a", "c"]))
    assert sharing.plans == {"a": "T-A", "c": "T-C"}
    assert [sharing.words_of(task) for task in ("aim", "a", "c")] == ["aim", "aim", "c"]


def test_a_source_without_a_plan_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no sharing plan for 'b', 'd': expected one of T-A, T-B"):
        Sharing.of("aim", {"a": "T-A"}, ["a", "b", "d"])
