from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.vectors import Vectors

from spacy_transfer.corpus import word2vec as module
from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.word2vec import Size, SkipGram, make_word2vec

SMALL = SkipGram(dimensions=8, window=2, min_count=2, epochs=3)
ANIMALS, PLACES = ["cat", "dog", "cow"], ["rome", "oslo", "bonn"]


def write_text(path: Path, count: int = 300) -> Path:
    """Sentences in which animals and places each have words around them of their own."""
    rng = random.Random(0)
    lines = []
    for _ in range(count):
        lines.append(f"the {rng.choice(ANIMALS)} eats and sleeps")
        lines.append(f"trains to {rng.choice(PLACES)} leave soon")
    path.write_text("\n".join(lines) + "\nonce\n")
    return path


def vectors_of(output: Path) -> tuple[Vectors, list[str]]:
    nlp = spacy.load(output)
    assert nlp.lang == "en"
    return nlp.vocab.vectors, sorted(nlp.vocab.strings[key] for key in nlp.vocab.vectors)


def test_words_of_like_context_are_near(tmp_path: Path) -> None:
    output = tmp_path / "new" / "vectors"
    text = write_text(tmp_path / "a.txt")
    settings = SkipGram(dimensions=16, window=2, epochs=20)
    assert make_word2vec([text], output, "en", str, settings) == Size(601, 3001, 14)
    vectors, words = vectors_of(output)
    assert vectors.shape == (14, 16)
    assert "once" not in words
    units = {word: vectors[word] / np.linalg.norm(vectors[word]) for word in words}
    for animal in ANIMALS:
        others = {word: float(units[animal] @ units[word]) for word in ANIMALS + PLACES}
        assert set(sorted(others, key=others.__getitem__)[3:]) == set(ANIMALS)


def test_words_are_written_as_they_will_be_looked_up(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Dose 10mg\ndose 25mg\nDOSE 99mg\n")
    (tmp_path / "b.iob").write_text("Tea\tO\ntea\tO\n")
    texts = [tmp_path / "a.txt", tmp_path / "b.iob"]
    make_word2vec(texts, tmp_path / "vectors", "en", str.lower, SMALL)
    assert vectors_of(tmp_path / "vectors")[1] == ["dose", "mg", "tea"]


def test_the_same_seed_gives_the_same_vectors_in_any_process(tmp_path: Path) -> None:
    text = write_text(tmp_path / "a.txt", 20)
    script = (
        "from pathlib import Path; import sys\n"
        "from spacy_transfer.corpus.word2vec import SkipGram, make_word2vec\n"
        "settings = SkipGram(dimensions=8, window=2, min_count=2, epochs=3)\n"
        "make_word2vec([Path(sys.argv[1])], Path(sys.argv[2]), 'en', str, settings)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, text, tmp_path / "process"],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=True,
    )
    make_word2vec([text], tmp_path / "here", "en", str, SMALL)
    make_word2vec([text], tmp_path / "other", "en", str, replace(SMALL, seed=6))
    process, here, other = (vectors_of(tmp_path / n)[0].data for n in ("process", "here", "other"))
    np.testing.assert_array_equal(process, here)
    assert not np.allclose(here, other)


def test_all_of_a_long_document_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 4)
    (tmp_path / "a.txt").write_text("a b c d e a b c d\n")
    size = make_word2vec([tmp_path / "a.txt"], tmp_path / "vectors", "en", str, SMALL)
    assert size == Size(3, 9, 4)


def test_errors_leave_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "vectors"
    good = write_text(tmp_path / "a.txt", 2)
    make_word2vec([good], output, "en", str, SMALL)
    before = vectors_of(output)[0].data

    bad = tmp_path / "b.txt"
    bad.write_bytes(b"fine\n\xff\n")
    with pytest.raises(CorpusError, match=r"b\.txt:2: expected UTF-8 text"):
        make_word2vec([good, bad], output, "en", str, SMALL)
    with pytest.raises(CorpusError, match=r"c\.txt: no such file"):
        make_word2vec([bad, tmp_path / "c.txt"], output, "en", str, SMALL)
    rare = SkipGram(min_count=9)
    with pytest.raises(
        ValueError, match=r"a\.txt: no word comes 9 times \(min_count\) in 21 tokens"
    ):
        make_word2vec([good], output, "en", str, rare)
    with pytest.raises(ValueError, match="exists, and is no spaCy pipeline"):
        make_word2vec([bad], good, "en", str, SMALL)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ValueError, match=r'pip install "spacy-transfer\[word2vec\]"'):
        make_word2vec([good], output, "en", str, SMALL)

    np.testing.assert_array_equal(vectors_of(output)[0].data, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", "vectors"]
