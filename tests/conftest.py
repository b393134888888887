"""Small corpora and components that several tests share."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.corpus.marks import TARGET, mark

NAMES = {
    "target": {"person": ["Ann Lee", "Bo", "Cy Dee Fay"], "place": ["Rome", "New York", "Oslo"]},
    "source": {"PER": ["Gus Hay", "Ida", "Jo Kim Lou"], "LOC": ["Paris", "Los Angeles", "Bonn"]},
}
LABEL_MAP = {"person": "PER", "place": "LOC"}
PATTERNS = ["{0} lives in {1} now", "in {1} we met {0}", "{0} left", "{1} is far from here"]


def sentences(nlp: Language, task: str, count: int, seed: int = 0) -> list[Doc]:
    """Docs of a task whose entities are told by their words."""
    rng = random.Random(f"{task}/{seed}")
    people, places = NAMES[task].items()
    docs = []
    for _ in range(count):
        words: list[str] = []
        spans = []
        for word in rng.choice(PATTERNS).split():
            label, names = {"{0}": people, "{1}": places}.get(word, (None, [word]))
            parts = rng.choice(names).split()
            if label:
                spans.append((len(words), len(words) + len(parts), label))
            words += parts
        doc = Doc(nlp.vocab, words=words)
        doc.has_unknown_spaces = True
        doc.set_ents([Span(doc, start, end, label) for start, end, label in spans])
        docs.append(doc)
    return docs


def examples(nlp: Language, task: str, count: int, seed: int = 0) -> list[Example]:
    """Marked examples of a task, as our readers make them."""
    found = []
    for doc in sentences(nlp, task, count, seed):
        mark(doc, task, "ents")
        predicted = Doc(nlp.vocab, words=[token.text for token in doc])
        predicted.has_unknown_spaces = True
        found.append(Example(predicted, doc))
    return found


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    random.seed(0)


@pytest.fixture
def nlp() -> Language:
    return spacy.blank("en")


@pytest.fixture
def corpus_files(nlp: Language, tmp_path: Path) -> Callable[..., Path]:
    """A function that writes `count` sentences of a task to a .spacy file."""

    def write(task: str, count: int, seed: int = 0) -> Path:
        path = tmp_path / f"{task}-{seed}.spacy"
        DocBin(docs=sentences(nlp, task, count, seed)).to_disk(path)
        return path

    return write


@pytest.fixture
def label_map_file(tmp_path: Path) -> Path:
    path = tmp_path / "label_map.tsv"
    path.write_text("".join(f"{target}\t{source}\n" for target, source in LABEL_MAP.items()))
    return path


SMALL_ENCODER = {
    "@architectures": "spacy_transfer.HierarchicalEncoder.v1",
    "char_embedding": 4,
    "char_hidden": 4,
    "char_layers": 1,
    "word_embedding": 8,
    "word_hidden": 12,
    "word_layers": 1,
}


def add_small_ner(nlp: Language, sharing: str = "T-B", **settings: object) -> Language:
    """Add a small `transfer_ner` with an objective that uses every term."""
    encoder = {**SMALL_ENCODER, **{k: v for k, v in settings.items() if k in _encoder_names()}}
    objective = {k: v for k, v in settings.items() if k not in _encoder_names()}
    nlp.add_pipe(
        "transfer_ner",
        config={
            "model": {
                "@architectures": "spacy_transfer.TransferTagger.v1",
                "sharing": sharing,
                "encoder": encoder,
                "objective": {"@architectures": "spacy_transfer.Objective.v1", **objective},
            }
        },
    )
    return nlp


def _encoder_names() -> set[str]:
    from spacy_transfer.nn.encoders import EncoderSettings

    return set(EncoderSettings.__dataclass_fields__)


@pytest.fixture
def trained(nlp: Language, label_map_file: Path) -> Language:
    """A La-DTL pipeline trained for a few steps on target and source."""
    add_small_ner(nlp, alpha=0.02, beta=0.03, gamma=1e-4, epsilon=0.3)
    both = examples(nlp, TARGET, 20) + examples(nlp, "source", 20)
    nlp.config["initialize"]["components"]["transfer_ner"] = {"label_map": str(label_map_file)}
    nlp.initialize(lambda: both)
    optimizer = adagrad(0.1)
    for _ in range(60):
        nlp.update(both, sgd=optimizer)
    return nlp
