"""Words and characters that have trained embeddings, and how Docs become indices into them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spacy.attrs import ORTH
from spacy.tokens import Doc
from spacy.vectors import Vectors

from spacy_transfer.models.gazetteer import Gazetteer
from spacy_transfer.nn.batch import Packed, TokenBatch, send

UNKNOWN = 0
_DIGIT = re.compile(r"\d")
_CACHE_LIMIT = 200_000  # words, of some 300 bytes each


@dataclass(frozen=True)
class Normalizer:
    """How words are written before they are looked up; characters are always read raw."""

    lower: bool = True
    zero_digits: bool = True

    def __call__(self, word: str) -> str:
        """The word as the vocabulary spells it."""
        if self.lower:
            word = word.lower()
        return _DIGIT.sub("0", word) if self.zero_digits else word


def vector_row(vectors: Vectors, word: str, normalized: str) -> int:
    """The row of a word's static vector, or -1: looked up as it is, in lower case, normalised."""
    if not vectors.shape[0]:
        return -1
    for form in (word, word.lower(), normalized):
        row = int(vectors.find(key=form))
        if row >= 0:
            return row
    return -1


@dataclass
class VocabularyBuilder:
    """Counts the words and characters of the training corpora."""

    normalize: Normalizer
    words: Counter[str] = field(default_factory=Counter)
    surface: dict[str, str] = field(default_factory=dict)
    characters: set[str] = field(default_factory=set)

    def merge(self, other: VocabularyBuilder) -> None:
        """Add what another one counted."""
        self.words.update(other.words)
        self.surface = {**other.surface, **self.surface}
        self.characters |= other.characters

    def add(self, doc: Doc) -> None:
        """Count the words of a Doc."""
        for token in doc:
            word = self.normalize(token.text)
            self.words[word] += 1
            self.surface.setdefault(word, token.text)
            self.characters.update(token.text)


@dataclass(slots=True)
class _Entry:
    row: int
    characters: NDArray[np.int64]
    vector: int


class Vocabulary:
    """The trained words of one word encoder and the characters of its character encoder.

    Word and character ids count from 1; 0 is unknown. Distinct words are remembered by spaCy's
    own hash, so that a word is taken apart once, not at every batch.
    """

    def __init__(
        self,
        words: Sequence[str],
        characters: str,
        normalize: Normalizer,
        *,
        static: bool = True,
        gazetteer: Gazetteer | None = None,
    ) -> None:
        """List what is trained.

        Args:
            words: the trained words, in the order of their rows.
            characters: the trained characters, in the order of theirs.
            normalize: how words are written.
            static: whether other words are looked up in the static vectors of the pipeline.
            gazetteer: gives features of tokens.
        """
        self.words = list(words)
        self.characters = characters
        self.normalize = normalize
        self._static = static
        self._gazetteer = gazetteer
        self._rows = {word: row for row, word in enumerate(self.words, start=1)}
        self._character_ids = {c: number for number, c in enumerate(characters, start=1)}
        self._cache: dict[int, _Entry] = {}
        self._vectors: Vectors | None = None
        self._keys = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}, "_vectors": None}

    def _entry(self, word: str, vectors: Vectors) -> _Entry:
        normalized = self.normalize(word)
        row = self._rows.get(normalized, UNKNOWN)
        ids = [self._character_ids.get(c, UNKNOWN) for c in word] or [UNKNOWN]
        unseen = self._static and row == UNKNOWN
        vector = vector_row(vectors, word, normalized) if unseen else -1
        return _Entry(row, np.array(ids, dtype=np.int64), vector)

    def _entries(self, docs: Sequence[Doc], hashes: NDArray[np.uint64]) -> list[_Entry]:
        vectors, strings = docs[0].vocab.vectors, docs[0].vocab.strings
        keys = vectors.n_keys
        same = vectors is self._vectors and keys == self._keys
        if not same or len(self._cache) > _CACHE_LIMIT:
            self._cache, self._vectors, self._keys = {}, vectors, keys
        entries = []
        for key in hashes.tolist():
            entry = self._cache.get(key)
            if entry is None:
                entry = self._cache[key] = self._entry(strings[key], vectors)
            entries.append(entry)
        return entries

    def batch(self, docs: Sequence[Doc], device: torch.device) -> tuple[TokenBatch, torch.Tensor]:
        """Docs (none of them empty) as indices.

        Returns:
            the batch and [docs] the rank of each Doc in it, on the CPU.
        """
        hashes = [doc.to_array(ORTH) for doc in docs]
        lengths = np.array([len(doc) for doc in docs])
        order = np.argsort(-lengths, kind="stable")
        distinct, inverse = np.unique(np.concatenate(hashes), return_inverse=True)
        entries = self._entries(docs, distinct)
        by_length = np.argsort([-len(entry.characters) for entry in entries], kind="stable")
        entries = [entries[i] for i in by_length]
        ids = _inverse_permutation(by_length)[inverse]
        ends = np.cumsum(lengths)
        sequences = [ids[ends[i] - lengths[i] : ends[i]] for i in order]
        static_index = [i for i, entry in enumerate(entries) if entry.vector >= 0]
        static = _static(docs[0].vocab.vectors, [entries[i].vector for i in static_index])
        tokens = TokenBatch(
            words=_pack(sequences, device),
            characters=_pack([entry.characters for entry in entries], device),
            rows=send(torch.tensor([entry.row for entry in entries]), device),
            static_index=send(torch.tensor(static_index, dtype=torch.int64), device),
            static=send(torch.from_numpy(static), device),
            keys=distinct[by_length].tolist(),
            features=self._features([docs[i] for i in order], device),
        )
        return tokens, torch.from_numpy(_inverse_permutation(order))

    def _features(self, docs: Sequence[Doc], device: torch.device) -> torch.Tensor | None:
        """Features of all tokens of Docs, longest first, in packed order."""
        if self._gazetteer is None:
            return None
        return _pack([self._gazetteer.features(doc) for doc in docs], device).data


def _inverse_permutation(order: NDArray[np.int64]) -> NDArray[np.int64]:
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return inverse


def _static(vectors: Vectors, rows: Sequence[int]) -> NDArray[np.float32]:
    data = vectors.data[list(rows)]
    return np.asarray(data.get() if hasattr(data, "get") else data, dtype=np.float32)


def _pack(sequences: Sequence[NDArray[Any]], device: torch.device) -> Packed:
    """Sequences [length, ...], longest first, in packed order."""
    lengths = np.array([len(sequence) for sequence in sequences])
    steps = np.arange(lengths[0])
    inside = steps[:, None] < lengths[None, :]
    starts = np.cumsum(lengths) - lengths
    index = (starts[None, :] + steps[:, None])[inside]
    data = torch.from_numpy(np.concatenate(list(sequences))[index])
    return Packed(send(data, device), torch.from_numpy(inside.sum(axis=1)))


def initial_vectors(
    words: Iterable[str], surface: dict[str, str], vectors: Vectors
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions (from 0) of the words that have a static vector, and [found, width] those."""
    found = [(i, vector_row(vectors, surface[word], word)) for i, word in enumerate(words)]
    found = [(i, row) for i, row in found if row >= 0]
    positions = np.array([i for i, _ in found], dtype=np.int64)
    return positions, _static(vectors, [row for _, row in found])
