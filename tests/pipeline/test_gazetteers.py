"""Word lists as inputs of the CRF."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.models.tagger import shim_of
from tests.conftest import add_small_ner

UNSEEN = "we met pe rs and pl ac too"


def name(number: int) -> list[str]:
    letters = chr(97 + number // 26) + chr(97 + number % 26)
    return [f"{letters}p", f"{letters}q"][: 1 + number % 3 // 2]


@pytest.fixture
def target(nlp: Language) -> list[Example]:
    """Names that occur once, people and places in the same contexts."""
    made = []
    for number in range(0, 60, 2):
        first, second = name(number), name(number + 1)
        people, places = (second, first) if number % 4 else (first, second)
        doc = Doc(nlp.vocab, words=["we", "met", *first, "and", *second, "too"])
        spans = [(2, 2 + len(first)), (3 + len(first), 3 + len(first) + len(second))]
        labels = ["person" if of is people else "place" for of in (first, second)]
        doc.set_ents([Span(doc, *s, label) for s, label in zip(spans, labels, strict=True)])
        doc.user_data["people"], doc.user_data["places"] = " ".join(people), " ".join(places)
        made.append(Example(Doc(nlp.vocab, words=[token.text for token in doc]), doc))
    return made


@pytest.fixture
def lists(target: list[Example], tmp_path: Path) -> dict[str, str]:
    """All people and places, those of the training sentences and some that are in none."""
    for kind, unseen in ("people", "pe rs"), ("places", "pl ac"):
        phrases = [example.reference.user_data[kind] for example in target]
        (tmp_path / kind).write_text("\n".join([*phrases, unseen]), encoding="utf-8")
    return {kind: str(tmp_path / kind) for kind in ("people", "places")}


def learn(nlp: Language, target: list[Example], gazetteers: dict[str, str] | None) -> None:
    add_small_ner(nlp, char_encoder="none")
    nlp.config["initialize"]["components"]["transfer_ner"] = {"gazetteers": gazetteers}
    nlp.initialize(lambda: target)
    optimizer = adagrad(0.1)
    for _ in range(30):
        nlp.update(target, sgd=optimizer)


def found(nlp: Language, text: str) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in nlp(text).ents]


def test_names_that_only_a_list_knows(
    nlp: Language, target: list[Example], lists: dict[str, str], tmp_path: Path
) -> None:
    learn(nlp, target, lists)
    both = [("pe rs", "person"), ("pl ac", "place")]
    assert found(nlp, UNSEEN) == both
    assert found(nlp, "we met pl ac and pe rs too") == both[::-1]
    network = shim_of(nlp.get_pipe("transfer_ner").model).network
    assert network.head(TARGET).emission.in_features == 2 * 12 + 2 * 4

    nlp.to_disk(tmp_path / "model")
    for path in lists.values():
        Path(path).unlink()
    loaded = spacy.load(tmp_path / "model")
    again = add_small_ner(spacy.blank("xx")).from_bytes(nlp.to_bytes(), exclude=["tokenizer"])
    for pipeline in (loaded, again):
        assert found(pipeline, UNSEEN) == both
    loaded.get_pipe("transfer_ner").add_label("thing")
    assert found(loaded, UNSEEN) == both


def test_without_lists_the_same_names_are_not_told_apart(
    nlp: Language, target: list[Example]
) -> None:
    learn(nlp, target, None)
    one, other = found(nlp, UNSEEN), found(nlp, "we met pl ac and pe rs too")
    # Unknown words are all the same.
    assert one
    assert [label for _, label in one] == [label for _, label in other]


def test_a_list_that_is_not_there(nlp: Language, target: list[Example], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file: expected a list of phrases"):
        learn(nlp, target, {"people": str(tmp_path / "nowhere")})
