"""How well sources are still tagged, beside the target's scores."""

from __future__ import annotations

import pytest
from spacy.language import Language
from spacy.tokens import Doc

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.pipeline.components import source_scores
from tests.conftest import add_small_ner, add_small_pipe, blank, examples, renamed


def test_examples_of_a_source_are_scored_as_its_own(trained: Language) -> None:
    target, source = (examples(trained, task, 20, seed=1) for task in (TARGET, "source"))
    scores = trained.evaluate([*source, *target])
    alone = trained.evaluate(target)
    assert 0.5 < scores["ents_f"] == alone["ents_f"]
    assert scores["ents_per_type"] == alone["ents_per_type"]
    assert not any(name.startswith("source_") for name in alone)
    pipe = trained.get_pipe("transfer_ner")
    assert pipe.task == TARGET
    pipe.task = "source"
    as_source = trained.evaluate(renamed(source, TARGET))
    for name in ("ents_f", "ents_p", "ents_r", "ents_per_type"):
        assert scores[f"source_{name}"] == as_source[name]
    assert scores["source_ents_per_type"].keys() == {"PER", "LOC"}
    assert source_scores(trained, scores) == {"source_ents_f": scores["source_ents_f"]}


def test_what_was_predicted_for_the_target_stays(trained: Language) -> None:
    [example] = examples(trained, "source", 1)
    trained(example.predicted)
    before = [ent.label_ for ent in example.predicted.ents]
    trained.get_pipe("transfer_ner").score([example])
    assert [ent.label_ for ent in example.predicted.ents] == before
    assert set(before) <= {"person", "place"}


@pytest.mark.parametrize(
    ("layer", "score"), [("tag", "tag_acc"), ("spans:chunks", "spans_chunks_f")]
)
def test_sources_on_other_layers(layer: str, score: str) -> None:
    nlp = add_small_ner(blank())
    source = renamed(examples(nlp, "source", 20), "news", layer)
    both = examples(nlp, TARGET, 20) + source
    nlp.initialize(lambda: both)
    optimizer = adagrad(0.1)
    for _ in range(20):
        nlp.update(both, sgd=optimizer)
    scores = nlp.evaluate(both)
    assert scores[f"news_{score}"] > 0.9
    assert source_scores(nlp, scores).keys() == {f"news_{score}"}


def test_what_cannot_be_scored(trained: Language) -> None:
    pipe = trained.get_pipe("transfer_ner")
    with pytest.raises(ValueError, match="no task 'news' in 'transfer_ner': it has target, source"):
        pipe.score(renamed(examples(trained, "source", 2), "news"))
    plain = examples(trained, "source", 2)
    for example in plain:
        example.reference = Doc(trained.vocab, words=[token.text for token in example.reference])
        example.reference.user_data["spacy_transfer.task"] = "source"
    with pytest.raises(ValueError, match="of task 'source': none of 2 documents is annotated in"):
        pipe.score(plain)


def test_without_a_source_scores_are_as_they_were() -> None:
    nlp = add_small_pipe("transfer_tagger", blank())
    target = examples(nlp, TARGET, 9, layer="tag")
    nlp.initialize(lambda: target)
    assert source_scores(nlp, nlp.evaluate(target)) == {}
