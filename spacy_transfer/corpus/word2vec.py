"""Word vectors of one's own: skip-gram word2vec (Mikolov et al. 2013), trained by gensim.

Wang et al. 2018, §5.1, have them of unlabelled clinical records, with 128 dimensions.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.unlabelled import read_words
from spacy_transfer.corpus.vectors import WordVectors, empty_pipeline, save_vectors

_LONGEST = 10_000  # words of a sentence that gensim learns from; it passes over the rest


@dataclass(frozen=True)
class SkipGram:
    """How vectors are trained; defaults are gensim's, but for the paper's dimensions.

    Attributes:
        dimensions: of the vectors.
        window: how many words on each side of a word it predicts.
        min_count: rarer words get no vector.
        epochs: passes over the text.
        seed: of the first vectors, the windows and the negative samples.
        workers: threads; with more than one, a seed does not give the same vectors again.
    """

    dimensions: int = 128
    window: int = 5
    min_count: int = 5
    epochs: int = 5
    seed: int = 0
    workers: int = 1


class Size(NamedTuple):
    """What was trained on, and what came of it."""

    sentences: int
    tokens: int
    words: int


def make_word2vec(
    texts: Sequence[Path],
    output: Path,
    lang: str,
    normalize: Callable[[str], str],
    settings: SkipGram,
    format: str | None = None,
) -> Size:
    """Train vectors on files of text and write them as the spaCy pipeline directory `output`.

    texts, format: see `read_words`. lang: whose tokenizer splits text. normalize: how words are
    written, as who looks them up later will. The words are set down in a temporary file, about as
    large as the text; memory is that of the vocabulary. `output` is written whole or not at all;
    of what may be there already, only a pipeline directory is replaced.

    Raises CorpusError for a bad file, ValueError for a bad language, format or output, for text
    without words that are frequent enough, and where gensim is not installed.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise ValueError(
            f'gensim is not installed ({error}): pip install "spacy-transfer[word2vec]"'
        ) from error
    nlp = empty_pipeline(output, lang)
    for path in texts:
        if not path.exists():
            raise CorpusError(path, None, "no such file or folder of text")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        # All reading of `texts` is done here: an error within gensim's threads would hang them.
        for path in texts:
            sentences = read_words(path, nlp, format)
            for words in tqdm(sentences, str(path), unit=" sentences", disable=None):
                file.write(json.dumps([normalize(word) for word in words]) + "\n")
        written = _Sentences(file)
        model = Word2Vec(
            vector_size=settings.dimensions,
            window=settings.window,
            min_count=settings.min_count,
            sg=1,
            seed=settings.seed,
            workers=settings.workers,
        )
        model.build_vocab(written)
        if not len(model.wv):
            raise ValueError(
                f"{', '.join(map(str, texts))}: no word comes {settings.min_count} times "
                f"(min_count) in {model.corpus_total_words} tokens"
            )
        model.train(written, total_examples=model.corpus_count, epochs=settings.epochs)
    save_vectors(nlp, WordVectors(model.wv.index_to_key, model.wv.vectors), output)
    return Size(model.corpus_count, model.corpus_total_words, len(model.wv))


class _Sentences:
    """Reads a file of JSON lists of words from its beginning, as often as it is asked."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._pass = 0

    def __iter__(self) -> Iterator[list[str]]:
        self._file.seek(0)
        name = f"epoch {self._pass}" if self._pass else "counting words"
        self._pass += 1
        for line in tqdm(self._file, name, unit=" sentences", disable=None):
            words = json.loads(line)
            for start in range(0, len(words), _LONGEST):
                yield words[start : start + _LONGEST]
