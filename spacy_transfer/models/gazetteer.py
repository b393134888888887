"""Word lists as features of tokens (Yang et al. 2017, §4.1, after Collobert et al. 2011)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from spacy.attrs import LOWER, ORTH
from spacy.strings import get_string_id
from spacy.tokens import Doc
from torch import Tensor

POSITIONS = "SBIE"
"""Where in a phrase a token is: the whole of it, at its beginning, inside, at its end."""


class Gazetteer:
    """Finds the phrases of word lists in Docs.

    Words are compared by spaCy's hashes. Of the phrases of a list that begin at a token the longest
    counts, and phrases of a list do not overlap; lists do not see each other.
    """

    def __init__(
        self,
        lists: Sequence[str],
        lower: bool,
        words: NDArray[np.int64],
        ends: NDArray[np.int64],
        members: NDArray[np.int64],
    ) -> None:
        """Take phrases as `state` gives them.

        Args:
            lists: names of the lists.
            lower: compare words in lower case.
            words: [words] hashes of the words of all phrases, one after another.
            ends: [phrases] where each phrase ends in `words`.
            members: [phrases] the lists that hold it, as bits.
        """
        self.lists = list(lists)
        self.lower = lower
        self._state = words, ends, members
        self._lists_of: dict[tuple[int, ...], int] = {}
        lengths: dict[int, set[int]] = {}
        hashes = words.view(np.uint64).tolist()
        for (start, end), member in zip(
            pairwise([0, *ends.tolist()]), members.tolist(), strict=True
        ):
            phrase = tuple(hashes[start:end])
            self._lists_of[phrase] = member
            lengths.setdefault(phrase[0], set()).add(len(phrase))
        self._lengths = {first: sorted(of, reverse=True) for first, of in lengths.items()}

    @classmethod
    def of(cls, lists: Mapping[str, Iterable[Sequence[str]]], lower: bool) -> Gazetteer:
        """Phrases, each a sequence of words, by the name of their list; at most 62 lists."""
        if len(lists) > 62:
            raise ValueError(f"expected at most 62 gazetteers; found {len(lists)}")
        members: dict[tuple[int, ...], int] = {}
        for number, phrases in enumerate(lists.values()):
            for phrase in phrases:
                key = tuple(get_string_id(word.lower() if lower else word) for word in phrase)
                if key:
                    members[key] = members.get(key, 0) | 1 << number
        return cls(
            list(lists),
            lower,
            np.array([h for key in members for h in key], dtype=np.uint64).view(np.int64),
            np.cumsum([len(key) for key in members], dtype=np.int64),
            np.array(list(members.values()), dtype=np.int64),
        )

    @property
    def width(self) -> int:
        """Features of a token: four positions for each list."""
        return len(POSITIONS) * len(self.lists)

    def features(self, doc: Doc) -> NDArray[np.float32]:
        """[tokens, width]: 1 where a token has that position in a phrase of that list, else 0."""
        hashes = doc.to_array(LOWER if self.lower else ORTH).tolist()
        found = np.zeros((len(hashes), len(self.lists), len(POSITIONS)), dtype=np.float32)
        free = [0] * len(self.lists)
        for start, first in enumerate(hashes):
            for length in self._lengths.get(first, ()):
                end = start + length
                members = self._lists_of.get(tuple(hashes[start:end]), 0)
                for number in range(members.bit_length()):
                    if members >> number & 1 and free[number] <= start:
                        free[number] = end
                        _write(found[start:end, number])
        return found.reshape(len(hashes), self.width)

    def state(self) -> dict[str, Tensor]:
        """What a gazetteer is made of, as tensors."""
        return dict(
            zip(("words", "ends", "members"), map(torch.from_numpy, self._state), strict=True)
        )


def _write(places: NDArray[np.float32]) -> None:
    if len(places) == 1:
        places[0, 0] = 1
    else:
        places[0, 1] = places[-1, 3] = 1
        places[1:-1, 2] = 1
