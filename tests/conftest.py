"""Small corpora and components that several tests share."""

from __future__ import annotations

import os
import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_transfer.cli import app
from spacy_transfer.corpus.marks import TARGET, mark
from spacy_transfer.models.optimizer import adagrad
from spacy_transfer.nn.encoders import EncoderSettings

os.environ["HF_HUB_OFFLINE"] = "1"
# Networks are tiny, and several tests run at a time. Processes that tests start have it from here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

NAMES = {
    "target": {"person": ["Ann Lee", "Bo", "Cy Dee Fay"], "place": ["Rome", "New York", "Oslo"]},
    "source": {"PER": ["Gus Hay", "Ida", "Jo Kim Lou"], "LOC": ["Paris", "Los Angeles", "Bonn"]},
}
LABEL_MAP = {"person": "PER", "place": "LOC"}
VERBS = {"lives", "met", "left", "is"}
PATTERNS = ["{0} lives in {1} now", "in {1} we met {0}", "{0} left", "{1} is far from here"]


def blank() -> Language:
    """An empty pipeline. Its tokenizer has few rules: that of a language takes long to make."""
    return spacy.blank("xx")


def sentences(nlp: Language, task: str, count: int, seed: int = 0) -> list[Doc]:
    """Docs of a task whose entities, tags and chunks are told by their words."""
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
        for token in doc:
            token.tag_ = token.ent_type_ or ("VERB" if token.text in VERBS else "ELSE")
        verbs = [Span(doc, token.i, token.i + 1, "VP") for token in doc if token.text in VERBS]
        doc.spans["chunks"] = [*(Span(doc, start, end, "NP") for start, end, _ in spans), *verbs]
        docs.append(doc)
    return docs


def examples(
    nlp: Language, task: str, count: int, seed: int = 0, layer: str = "ents"
) -> list[Example]:
    """Marked examples of a task, as our readers make them."""
    found = []
    for doc in sentences(nlp, task, count, seed):
        mark(doc, task, layer)
        predicted = Doc(nlp.vocab, words=[token.text for token in doc])
        predicted.has_unknown_spaces = True
        found.append(Example(predicted, doc))
    return found


def renamed(of: list[Example], task: str, layer: str = "ents") -> list[Example]:
    """Marked anew as examples of another task."""
    for example in of:
        mark(example.reference, task, layer)
    return of


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    random.seed(0)


@pytest.fixture
def nlp() -> Language:
    return blank()


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
    return write_label_map(tmp_path / "label_map.tsv")


def write_label_map(path: Path) -> Path:
    path.write_text("".join(f"{target}\t{source}\n" for target, source in LABEL_MAP.items()))
    return path


SMALL_ENCODER = {
    "char_embedding": 4,
    "char_hidden": 4,
    "char_layers": 1,
    "word_embedding": 8,
    "word_hidden": 12,
    "word_layers": 1,
}
LADTL: dict[str, Any] = {"alpha": 0.02, "beta": 0.03, "gamma": 1e-4, "epsilon": 0.3}


def add_small_pipe(
    factory: str,
    nlp: Language,
    sharing: str = "T-B",
    tag_scheme: str = "BIOES",
    **settings: object,
) -> Language:
    """Add a small component; settings are those of the encoder and the objective."""
    of_encoder = {field.name for field in fields(EncoderSettings)}
    encoder = {name: value for name, value in settings.items() if name in of_encoder}
    objective = {name: value for name, value in settings.items() if name not in of_encoder}
    nlp.add_pipe(
        factory,
        config={
            "tag_scheme": tag_scheme,
            "model": {
                "@architectures": "spacy_transfer.TransferTagger.v1",
                "sharing": sharing,
                "encoder": {
                    "@architectures": "spacy_transfer.HierarchicalEncoder.v1",
                    **SMALL_ENCODER,
                    **encoder,
                },
                "objective": {"@architectures": "spacy_transfer.Objective.v1", **objective},
            },
        },
    )
    return nlp


add_small_ner = partial(add_small_pipe, "transfer_ner")


@pytest.fixture(scope="session")
def _trained_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(0)
    nlp = add_small_ner(blank(), **LADTL)
    both = examples(nlp, TARGET, 20) + examples(nlp, "source", 20)
    label_map = write_label_map(tmp_path_factory.mktemp("trained") / "label_map.tsv")
    nlp.config["initialize"]["components"]["transfer_ner"] = {"label_map": str(label_map)}
    nlp.initialize(lambda: both)
    optimizer = adagrad(0.1)
    for _ in range(20):
        nlp.update(both, sgd=optimizer)
    return bytes(nlp.to_bytes())


@pytest.fixture
def trained(nlp: Language, _trained_bytes: bytes) -> Language:
    """A fresh copy of a La-DTL pipeline that was trained for a few steps."""
    return add_small_ner(nlp, **LADTL).from_bytes(_trained_bytes, exclude=["tokenizer"])


SMALL_CONFIG = Path(__file__).with_name("small.cfg")
CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.cfg"))


def with_schedule(config: str, name: str) -> str:
    """The text of a config with another schedule, as it comes without settings, and without what
    ties the tasks: few schedules have both in a batch."""
    config = re.sub(r"^(alpha|beta) = .*$", r"\1 = 0.0", config, flags=re.MULTILINE)
    start, end = config.index("[training.batcher]"), config.index("[training.optimizer]")
    batcher = f'[training.batcher]\n@batchers = "spacy_transfer.{name}.v1"\n\n'
    return config[:start] + batcher + config[end:]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 8 dimensions that knows letters, with random weights."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny-bert")
    letters = string.ascii_letters + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(
        vocab_file=str(folder / "vocab.txt"), do_lower_case=False
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


class Run(NamedTuple):
    """What a command did: its exit status, what it printed, and the folder of its results."""

    status: int
    out: str
    err: str
    output: Path


Train = Callable[..., Run]


@pytest.fixture
def train(
    corpus_files: Callable[..., Path],
    label_map_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Train:
    """A function that runs `spacy transfer train` in this process, on small corpora and sizes.

    Further settings are given by their dotted names, with None to leave one of its own out.
    """
    paths = {
        "target": corpus_files(TARGET, 20),
        "source": corpus_files("source", 20),
        "dev": corpus_files(TARGET, 10, seed=1),
        "label_map": label_map_file,
        "source_pipeline": tmp_path / "source-pipeline",
    }

    def run(
        settings: dict[str, object] | None = None,
        config: Path = SMALL_CONFIG,
        output: Path = tmp_path / "out",
        arguments: Sequence[str] = (),
    ) -> Run:
        text = config.read_text(encoding="utf-8")
        listed = text.split("[system]")[0]
        if "\nsource_pipeline = " in listed:
            nlp = add_small_ner(blank())
            nlp.initialize(lambda: renamed(examples(nlp, "source", 20), TARGET))
            nlp.to_disk(paths["source_pipeline"])
        if "\ntransformer = " in listed:
            paths["transformer"] = request.getfixturevalue("tiny_bert")
        component = text.split("pipeline = [")[1].split("]")[0].split('"')[-2]
        encoder = f"components.{component}.model.encoder"
        small = {} if "model.tok2vec]" in text else SMALL_ENCODER
        given: dict[str, object] = {
            **{f"paths.{name}": path for name, path in paths.items() if f"\n{name} = " in listed},
            **{f"{encoder}.{name}": value for name, value in small.items()},
            "training.max_steps": 4,
            "training.eval_frequency": 2,
            **(settings or {}),
        }
        options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        with pytest.raises(SystemExit) as caught:
            app(["train", str(config), "--output", str(output), *arguments, *options])
        assert isinstance(caught.value.code, int)
        return Run(caught.value.code, *capsys.readouterr(), output)

    return run
