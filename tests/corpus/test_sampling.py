from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.readers import task_corpus
from spacy_transfer.corpus.sampling import Counts, kept_places, sample_corpus

NLP = spacy.blank("en")


def read(path: Path) -> list[Doc]:
    return list(DocBin().from_disk(path).get_docs(NLP.vocab))


def texts(path: Path) -> list[str]:
    return [doc[0].text for doc in read(path)]


def write(path: Path, first: int, count: int, **settings: object) -> Path:
    docs = [Doc(NLP.vocab, words=[f"{n:03d}", *"x" * (n % 3)]) for n in range(first, first + count)]
    for doc in docs:
        doc.set_ents([Span(doc, 0, 1, label="N")], default="outside")
    DocBin(docs=docs, **settings).to_disk(path)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "all.spacy", 0, 200)


def test_samples_are_nested() -> None:
    kept = [kept_places(999, rate, seed=3) for rate in (0.001, 0.01, 0.1, 0.15, 1.0)]
    assert [len(places) for places in kept] == [1, 10, 100, 150, 999]
    assert all(small < large for small, large in itertools.pairwise(kept))
    assert kept_places(999, 0.1, seed=4) != kept[2]
    assert len(kept_places(5, 0.001, seed=0)) == 1


def test_sample_and_rest_part_the_corpus_in_order(corpus: Path, tmp_path: Path) -> None:
    sample, rest = tmp_path / "new" / "sample.spacy", tmp_path / "rest.spacy"
    counts = sample_corpus(corpus, sample, 0.1, seed=1, rest=rest)
    kept, others = texts(sample), texts(rest)
    assert len(kept) == 20
    assert kept == sorted(kept)
    assert others == sorted(others)
    assert sorted(kept + others) == texts(corpus)
    of_tokens = sum(len(doc) for doc in read(corpus))
    assert counts == Counts(20, 200, sum(len(doc) for doc in read(sample)), of_tokens)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.spacy", "new", "rest.spacy"]


@pytest.mark.parametrize(("rate", "seed"), [(0.1, 0), (0.1, 5), (0.001, 5), (1.0, 1)])
def test_a_reader_keeps_what_a_sample_keeps(
    corpus: Path, tmp_path: Path, rate: float, seed: int
) -> None:
    sample = tmp_path / "sample.spacy"
    counts = sample_corpus(corpus, sample, rate, seed)
    reader = task_corpus(corpus, rate=rate, rate_seed=seed)
    for _ in range(2):
        kept = [example.reference[0].text for example in reader(NLP)]
        assert kept == texts(sample)
    assert len(kept) == counts.sentences
    assert sum(reader.lengths()) == counts.tokens
    few = task_corpus(corpus, rate=rate, rate_seed=seed, limit=1)
    assert [example.reference[0].text for example in few(NLP)] == kept[:1]


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_a_reader_refuses_what_is_no_rate(corpus: Path, rate: float) -> None:
    with pytest.raises(ValueError, match="expected a share above 0 and up to 1"):
        task_corpus(corpus, rate=rate)


def test_the_same_seed_writes_the_same_file(corpus: Path, tmp_path: Path) -> None:
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        sample_corpus(corpus, tmp_path / f"{name}.spacy", 0.2, seed)
    a, b, c = ((tmp_path / f"{name}.spacy").read_bytes() for name in "abc")
    assert a == b != c


def test_a_folder_samples_as_one_file(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    write(tmp_path / "shards" / "0.spacy", 0, 70, attrs=["ENT_IOB", "ENT_TYPE"])
    write(tmp_path / "shards" / "1.spacy", 70, 130)
    one, many = tmp_path / "one.spacy", tmp_path / "many.spacy"
    assert sample_corpus(tmp_path / "shards", many, 0.3, 0) == sample_corpus(corpus, one, 0.3, 0)
    assert texts(one) == texts(many)
    assert all(doc.ents[0].label_ == "N" for doc in read(many))


def test_annotation_is_kept_as_it_was(tmp_path: Path) -> None:
    known = Doc(
        NLP.vocab,
        words=["Ann", "sees", "Bob", "."],
        spaces=[True, True, False, False],
        tags=["NNP", "VBZ", "NNP", "."],
        heads=[1, 1, 1, 1],
        deps=["nsubj", "ROOT", "obj", "punct"],
        ents=["B-PER", "O", "B-PER", "O"],
    )
    known.spans["np"] = [Span(known, 0, 1, label="NP", kb_id="Q1")]
    known.spans["none"] = []
    known.cats["news"] = 1.0
    known.user_data["id"] = 7
    partial = Doc(NLP.vocab, words=["no", "spaces"])
    partial.set_ents([Span(partial, 0, 1, label="PER")], default="missing")
    source, output = tmp_path / "a.spacy", tmp_path / "b.spacy"
    DocBin(docs=[known, partial], store_user_data=True).to_disk(source)
    sample_corpus(source, output, 1.0, 0)
    for before, after in zip(read(source), read(output), strict=True):
        attrs = DocBin().attrs
        assert after.to_bytes() == before.to_bytes()
        assert (after.to_array(attrs) == before.to_array(attrs)).all()
        assert after.has_unknown_spaces == before.has_unknown_spaces
    assert read(output)[0].user_data["id"] == 7


def test_the_input_may_be_replaced(corpus: Path) -> None:
    sample_corpus(corpus, corpus, 0.5, 0)
    assert len(texts(corpus)) == 100


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, 10.0, float("nan")])
def test_bad_rate(corpus: Path, tmp_path: Path, rate: float) -> None:
    with pytest.raises(ValueError, match="expected a share above 0 and up to 1"):
        sample_corpus(corpus, tmp_path / "b.spacy", rate, 0)
    assert not (tmp_path / "b.spacy").exists()


def test_bad_files(corpus: Path, tmp_path: Path) -> None:
    empty, text, output = tmp_path / "empty.spacy", tmp_path / "text.spacy", tmp_path / "b.spacy"
    DocBin(docs=[Doc(NLP.vocab)]).to_disk(empty)
    text.write_text("no corpus")
    with pytest.raises(CorpusError, match=r"empty\.spacy: expected documents .* found none"):
        sample_corpus(empty, output, 0.1, 0)
    with pytest.raises(CorpusError, match=r"text\.spacy: expected spaCy's"):
        sample_corpus(text, output, 0.1, 0)
    with pytest.raises(ValueError, match=r"b\.conll: expected a file name that ends in \.spacy"):
        sample_corpus(corpus, tmp_path / "b.conll", 0.1, 0)
    with pytest.raises(ValueError, match="two different files"):
        sample_corpus(corpus, output, 0.1, 0, rest=tmp_path / "." / "b.spacy")
    with pytest.raises(CorpusError, match=r"rate 0\.999 keeps all 200 documents, none is left"):
        sample_corpus(corpus, output, 0.999, 0, rest=tmp_path / "c.spacy")
    assert not output.exists()


def test_nothing_stays_when_the_rest_cannot_be_written(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        sample_corpus(corpus, tmp_path / "b.spacy", 0.5, 0, rest=tmp_path / "file" / "c.spacy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.spacy", "file"]
