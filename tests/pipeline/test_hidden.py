"""Hidden states of Docs, and which labels of two tasks are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc

from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.models.tagger import shim_of
from tests.conftest import LABEL_MAP, add_small_ner, examples


@pytest.mark.parametrize("task", [TARGET, "source"])
def test_the_crf_reads_these_states(trained: Language, task: str) -> None:
    pipe = trained.get_pipe("transfer_ner")
    network = shim_of(pipe.model).network.train()  # what follows is without dropout all the same
    network.set_dropout(0.9)
    docs = [*(example.predicted for example in examples(trained, task, 9)), Doc(trained.vocab)]
    states = pipe.hidden(docs, task)
    assert [of_doc.shape for of_doc in states] == [(len(doc), 24) for doc in docs]
    head = network.head(task)
    pipe.task = task
    for doc, of_doc, found in zip(docs[:-1], states, pipe.predict(docs), strict=False):
        emissions = head.emission(torch.from_numpy(of_doc))[None]
        lengths = torch.tensor([len(doc)])
        tags = head.crf.decode(emissions, lengths, network.constraints[task].get())
        assert tags[0].tolist() == found.tags.tolist()
        np.testing.assert_allclose(pipe.hidden([doc], task)[0], of_doc, atol=1e-5)


def test_states_of_an_unknown_task(trained: Language) -> None:
    with pytest.raises(ValueError, match=r"no task 'news' in 'transfer_ner'"):
        trained.get_pipe("transfer_ner").hidden([], "news")


def test_matched_labels_are_those_of_the_map(trained: Language) -> None:
    pipe = trained.get_pipe("transfer_ner")
    assert dict(pipe.matched_labels("source")) == LABEL_MAP
    with pytest.raises(ValueError, match=r"no task 'news'"):
        pipe.matched_labels("news")


def test_one_crf_matches_labels_as_it_renames_them(nlp: Language) -> None:
    both = examples(nlp, TARGET, 9) + examples(nlp, "source", 9)
    pipe = add_small_ner(nlp, "T-A").get_pipe("transfer_ner")
    pipe.initialize(lambda: both, default_label="PER")
    assert pipe.matched_labels("source") == [("person", "PER"), ("place", "PER")]


def test_tags_and_spans_do_not_match(nlp: Language) -> None:
    both = examples(nlp, TARGET, 9) + examples(nlp, "source", 9, layer="tag")
    pipe = add_small_ner(nlp).get_pipe("transfer_ner")
    pipe.initialize(lambda: both)
    assert pipe.matched_labels("source") == []
