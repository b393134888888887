from __future__ import annotations

import itertools
import random
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import spacy
from confection import ConfigValidationError
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Corpus
from spacy.util import load_config_from_str, registry

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.marks import TARGET, layer_of, task_of, weight_of
from spacy_transfer.corpus.readers import dev_corpus, task_corpus, transfer_corpus
from spacy_transfer.corpus.similarity import Similarity, Weigh, cross_entropy
from spacy_transfer.corpus.streams import TaskStreams, shuffled

NLP = spacy.blank("en")


def write_corpus(path: Path, first: int, count: int, tag: bool = False) -> Path:
    """Documents of two tokens, the first of which is the document's number."""
    docs = DocBin()
    for number in range(first, first + count):
        doc = Doc(NLP.vocab, words=[str(number), "can't"])
        if tag:
            doc[0].tag_ = "CD"
        else:
            doc.set_ents([doc[:1]])
        docs.add(doc)
    path.parent.mkdir(exist_ok=True)
    docs.to_disk(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards with documents 0 to 29, and what is not to be read."""
    for shard in range(3):
        write_corpus(tmp_path / "shards" / f"{shard}.spacy", 10 * shard, 10)
    write_corpus(tmp_path / "shards" / ".cache" / "x.spacy", 99, 1)
    (tmp_path / "shards" / "notes.txt").write_text("no corpus")
    return tmp_path / "shards"


def numbers(streams: TaskStreams, task: str, count: int) -> list[tuple[int, int]]:
    stream = itertools.islice(streams.stream(task), count)
    return [(epoch, int(example.reference[0].text)) for epoch, example in stream]


def test_reads_shards_in_order(folder: Path) -> None:
    corpus = task_corpus(folder)
    assert (corpus.path, corpus.layer) == (folder, "ents")
    for _ in range(2):
        assert [int(example.reference[0].text) for example in corpus(NLP)] == list(range(30))
    assert [int(eg.reference[0].text) for eg in task_corpus(folder, limit=12)(NLP)] == list(
        range(12)
    )


def test_unknown_spaces_keep_the_gold_tokens(folder: Path) -> None:
    example = next(task_corpus(folder)(NLP))
    assert [token.text for token in example.predicted] == ["0", "can't"]


def test_max_length(tmp_path: Path) -> None:
    doc = Doc(NLP.vocab, words=["a", "b", "c"], sent_starts=[True, False, True])
    doc.set_ents([], default="outside")
    doc.spans["sc"] = [Span(doc, 1, 2, "X"), Span(doc, 1, 3, "ACROSS"), Span(doc, 2, 3, "Y")]
    DocBin(docs=[doc]).to_disk(tmp_path / "a.spacy")
    for layer in ("ents", "spans:sc"):
        cut = list(task_corpus(tmp_path / "a.spacy", layer, max_length=3)(NLP))
        assert [len(example.reference) for example in cut] == [2, 1]
    found = [[(s.text, s.start, s.label_) for s in eg.reference.spans["sc"]] for eg in cut]
    assert found == [[("b", 1, "X")], [("c", 0, "Y")]]
    whole = dev_corpus(tmp_path / "a.spacy", sources={"source": tmp_path / "a.spacy"})(NLP)
    assert [len(example.reference) for example in whole] == [3, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.spacy", None, "no such file or folder"),
        ("a.conll", b"EU B-ORG\n", "expected a .spacy file"),
        ("a.spacy", b"EU B-ORG\n", "expected spaCy's .spacy format"),
        ("a.spacy", b"", "expected spaCy's .spacy format"),
        ("a.spacy", DocBin().to_bytes(), "found none"),
        ("a.spacy", DocBin(docs=[Doc(NLP.vocab)]).to_bytes(), "found none"),
        ("a.spacy", DocBin(docs=[NLP("a b")]).to_bytes(), "none of 1 documents is annotated"),
        ("empty", "folder", "expected .spacy files in this folder"),
    ],
)
def test_bad_corpus(tmp_path: Path, name: str, content: bytes | str | None, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    with pytest.raises(CorpusError) as error:
        list(task_corpus(path)(NLP))
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_truncated_file_is_an_error(folder: Path) -> None:
    whole = (folder / "1.spacy").read_bytes()
    (folder / "1.spacy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"1\.spacy: expected spaCy's \.spacy format"):
        list(task_corpus(folder)(NLP))


def test_no_path_and_bad_settings(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"--paths\.target"):
        task_corpus(None)
    with pytest.raises(ValueError, match="unknown layer 'ner'"):
        task_corpus(folder, layer="ner")
    corpus = task_corpus(folder)
    with pytest.raises(ValueError, match="cannot be named 'target'"):
        transfer_corpus(corpus, {"target": corpus})
    with pytest.raises(ValueError, match=r"news: expected a spacy_transfer\.TaskCorpus"):
        transfer_corpus(corpus, {"news": print})
    with pytest.raises(ValueError, match="shuffle_buffer must be 1 or more"):
        transfer_corpus(corpus, shuffle_buffer=0)


CONFIG = """
[paths]
target = null
source = null

[system]
seed = 7

[corpora]

[corpora.train]
@readers = "spacy_transfer.TransferCorpus.v1"
seed = ${system.seed}

[corpora.train.target]
@readers = "spacy_transfer.TaskCorpus.v1"
path = ${paths.target}

[corpora.train.sources]

[corpora.train.sources.news]
@readers = "spacy_transfer.TaskCorpus.v1"
path = ${paths.source}
layer = "tag"
"""


def resolve(target: Path | None, source: Path, text: str = CONFIG) -> TaskStreams:
    overrides = {"paths.target": target and str(target), "paths.source": str(source)}
    config = load_config_from_str(text, overrides=overrides)
    streams: TaskStreams = registry.resolve(config)["corpora"]["train"](NLP)
    return streams


def test_config_builds_marked_streams(folder: Path, tmp_path: Path) -> None:
    source = write_corpus(tmp_path / "news.spacy", 100, 5, tag=True)
    streams = resolve(folder, source)
    assert streams.tasks == [TARGET, "news"]
    for _ in range(2):
        found = [
            (int(doc[0].text), task_of(doc), layer_of(doc, ""))
            for doc in (example.reference for example in streams)
        ]
        assert found[:30] == [(number, TARGET, "ents") for number in range(30)]
        assert found[30:] == [(number, "news", "tag") for number in range(100, 105)]
    _, example = next(streams.stream("news"))
    assert (task_of(example.reference), layer_of(example.reference, "")) == ("news", "tag")
    assert numbers(streams, TARGET, 90) == numbers(
        transfer_corpus(task_corpus(folder), seed=7)(NLP), TARGET, 90
    )


def test_config_errors(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"--paths\.target"):
        resolve(None, folder)
    with pytest.raises(ConfigValidationError, match="unexpected argument: 'shuffle'"):
        resolve(folder, folder, CONFIG.replace("seed = ${system.seed}", "shuffle = 5"))


@pytest.mark.parametrize("buffer", [1, 7, 29, 30, 10_000])
def test_every_epoch_holds_every_example_once(folder: Path, buffer: int) -> None:
    streams = transfer_corpus(task_corpus(folder), shuffle_buffer=buffer)(NLP)
    found = numbers(streams, TARGET, 90)
    assert [epoch for epoch, _ in found] == [0] * 30 + [1] * 30 + [2] * 30
    passes = [[number for _, number in found[i : i + 30]] for i in (0, 30, 60)]
    assert all(sorted(one) == list(range(30)) for one in passes)
    if buffer > 1:
        assert passes[0] != passes[1] != passes[2]
        assert passes[0] != list(range(30))


def test_sources_without_a_target(folder: Path) -> None:
    streams = transfer_corpus(sources={"news": task_corpus(folder)})(NLP)
    assert streams.tasks == ["news"]
    assert {task_of(example.reference) for example in streams} == {"news"}
    with pytest.raises(ValueError, match=r"no corpus of task 'target': set \[corpora.train.target"):
        next(streams.stream(TARGET))
    with pytest.raises(ValueError, match=r"corpora.train.sources\], found none"):
        transfer_corpus()


def test_the_order_depends_on_seed_task_and_epoch_alone(folder: Path) -> None:
    corpus = task_corpus(folder)

    def order(seed: int, task: str, buffer: int = 10_000) -> list[tuple[int, int]]:
        random.seed(len(seen))
        sources = {} if task == TARGET else {task: corpus}
        streams = transfer_corpus(corpus, sources, seed=seed, shuffle_buffer=buffer)(NLP)
        if len(seen) % 2:  # kept in memory or read anew
            list(streams)
        seen.append(numbers(streams, task, 60))
        return seen[-1]

    seen: list[list[tuple[int, int]]] = []
    assert order(0, TARGET) == order(0, TARGET) == order(0, TARGET, buffer=30)
    assert order(0, TARGET) != order(1, TARGET)
    assert order(0, TARGET) != order(0, "news") != order(0, "web")
    assert order(0, "news", buffer=9) == order(0, "news", buffer=9)


def test_the_order_is_the_same_in_every_process(folder: Path) -> None:
    """A known order: string hashes, say, differ from process to process."""
    streams = transfer_corpus(task_corpus(folder), seed=5)(NLP)
    found = [number for _, number in numbers(streams, TARGET, 38)]
    assert found[:8] == [25, 29, 20, 23, 18, 14, 27, 12]
    assert found[30:] == [26, 18, 13, 6, 22, 23, 0, 19]


def test_a_full_shuffle_is_fair() -> None:
    rng = random.Random(0)
    counts = Counter(tuple(shuffled(range(3), 3, rng)) for _ in range(6000))
    assert len(counts) == 6
    assert all(850 < count < 1150 for count in counts.values())


class Thing:
    pass


def test_the_buffer_bounds_memory() -> None:
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()

    def things() -> Iterator[Thing]:
        for _ in range(1000):
            thing = Thing()
            alive.add(thing)
            yield thing
            del thing

    most = 0
    for _ in shuffled(things(), 20, random.Random(0)):
        most = max(most, len(alive))
    assert 20 <= most <= 23


def test_a_larger_corpus_is_streamed_with_a_bounded_number_alive(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    most = 0
    original = Corpus.make_examples

    def counting(self: Corpus, nlp: Language, docs: Iterator[Doc]) -> Iterator[object]:
        for example in original(self, nlp, docs):
            alive.add(example.reference)  # an Example takes no weak references
            yield example
            del example

    monkeypatch.setattr(Corpus, "make_examples", counting)
    streams = transfer_corpus(task_corpus(folder), shuffle_buffer=5)(NLP)
    for _ in itertools.islice(streams.stream(TARGET), 90):
        most = max(most, len(alive))
    assert 5 <= most <= 10


def test_corpora_with_the_same_settings_are_equal(folder: Path) -> None:
    assert task_corpus(folder, rate=0.5) == task_corpus(folder, rate=0.5)
    for other in ({"rate_seed": 1}, {"rate": 0.4}, {"limit": 3}, {"layer": "tag"}):
        assert task_corpus(folder, rate=0.5) != task_corpus(folder, **{"rate": 0.5, **other})


def test_a_small_corpus_is_read_once(folder: Path) -> None:
    streams = transfer_corpus(task_corpus(folder))(NLP)
    first = {id(example) for example in streams}
    for shard in folder.glob("*.spacy"):
        shard.unlink()
    assert {id(example) for _, example in itertools.islice(streams.stream(TARGET), 30)} == first


def number_as_weight(seen: list[str]) -> Similarity:
    """Weighs a document by its number, 30 is 1; keeps what it is asked in `seen`."""

    def fit(target: Iterable[Doc]) -> Weigh:
        seen.extend(f"target {doc[0].text}" for doc in target)

        def weigh(doc: Doc) -> float:
            seen.append(doc[0].text)
            return int(doc[0].text) / 30

        return weigh

    return fit


@pytest.mark.parametrize("buffer", [7, 10_000])
def test_each_source_sentence_has_its_weight(folder: Path, tmp_path: Path, buffer: int) -> None:
    target = task_corpus(write_corpus(tmp_path / "target.spacy", 50, 3))
    web = write_corpus(tmp_path / "web.spacy", 10, 9)
    seen: list[str] = []
    sources = {"news": task_corpus(folder), "web": task_corpus(web)}
    similarity = number_as_weight(seen)
    streams = transfer_corpus(target, sources, shuffle_buffer=buffer, similarity=similarity)(NLP)
    assert {weight_of(example.reference) for example in streams} == {1.0}
    assert seen == []
    for task, count in (("news", 90), ("web", 30), (TARGET, 9)):
        found = {
            int(example.reference[0].text): weight_of(example.reference)
            for _, example in itertools.islice(streams.stream(task), count)
        }
        assert found == pytest.approx({n: 1.0 if task == TARGET else n / 30 for n in found})
    # However often a corpus is passed, the target is read once and a sentence is weighed once.
    assert seen == [
        *(f"target {n}" for n in range(50, 53)),
        *map(str, [*range(30), *range(10, 19)]),
    ]
    weights = streams.weights("web")
    assert weights is not None
    assert weights.tolist() == pytest.approx([n / 30 for n in range(10, 19)])
    assert streams.weights(TARGET) is None


def test_a_similarity_in_a_config(folder: Path, tmp_path: Path) -> None:
    block = """
[corpora.train.similarity]
@misc = "spacy_transfer.CrossEntropy.v1"
order = 1
"""
    docs = [Doc(NLP.vocab, words=words) for words in (["can't", "can't"], ["x", "y"])]
    for doc in docs:
        doc[0].tag_ = "X"
    DocBin(docs=docs).to_disk(tmp_path / "news.spacy")
    source = tmp_path / "news.spacy"
    weigh = cross_entropy(order=1)(example.predicted for example in task_corpus(folder)(NLP))
    weights = resolve(folder, source, CONFIG + block).weights("news")
    assert weights is not None
    assert weights.tolist() == pytest.approx([weigh(doc) for doc in docs])
    assert weights[1] < weights[0] == 1
    assert resolve(folder, source).weights("news") is None
    with pytest.raises(ConfigValidationError, match="unexpected argument: 'degree'"):
        resolve(folder, source, CONFIG + block.replace("order", "degree"))


def test_similarities_that_say_nothing(folder: Path) -> None:
    news = task_corpus(folder)
    with pytest.raises(ValueError, match=r"to the target: set \[corpora\.train\.target"):
        transfer_corpus(sources={"news": news}, similarity=number_as_weight([]))
    streams = transfer_corpus(news, {"news": news}, similarity=lambda _: lambda _: 0.0)(NLP)
    with pytest.raises(ValueError, match="no sentence of source 'news' is similar to the target"):
        next(streams.stream("news"))


def test_dev_corpus_of_a_target_and_its_sources(folder: Path, tmp_path: Path) -> None:
    target = write_corpus(tmp_path / "dev.spacy", 50, 3)
    read = dev_corpus(target, sources={"news": folder, "none": None})
    found = [(task_of(eg.reference), int(eg.reference[0].text)) for eg in read(NLP)]
    assert found == [(TARGET, n) for n in (50, 51, 52)] + [("news", n) for n in range(30)]
    assert [task_of(eg.reference) for eg in dev_corpus(target)(NLP)] == [TARGET] * 3
    limited = dev_corpus(target, limit=2, sources={"news": folder})(NLP)
    assert [task_of(eg.reference) for eg in limited] == [TARGET, TARGET, "news", "news"]
    with pytest.raises(CorpusError, match=r"nowhere\.spacy: no such file"):
        dev_corpus(target, sources={"news": tmp_path / "nowhere.spacy"})
    empty = write_corpus(tmp_path / "empty.spacy", 0, 0)
    with pytest.raises(CorpusError, match=r"empty\.spacy: expected documents to evaluate on"):
        list(dev_corpus(target, sources={"news": empty})(NLP))
