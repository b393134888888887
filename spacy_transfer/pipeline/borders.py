"""Where spans have their borders: white space, the starts of sentences, entities that are there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import ENT_IOB, IS_SPACE, SENT_START
from spacy.tokens import Doc

from spacy_transfer.corpus.schemes import SENTENCE_START, WHITE_SPACE


def kinds_of_tokens(docs: Sequence[Doc], keep_entities: bool) -> list[NDArray[np.int64]] | None:
    """[tokens] of each Doc (none of them empty): the kinds of `schemes.barred`; None where all are
    0.

    With `keep_entities`, a token of an entity that is there, or one that is blocked, can only be
    outside of others.
    """
    # Of all Docs at once: most batches have no such token, and should not pay for that.
    space, start, entity = np.concatenate(
        [doc.to_array([IS_SPACE, SENT_START, ENT_IOB]) for doc in docs]
    ).T
    ends = np.cumsum([len(doc) for doc in docs])
    starts = start == 1  # it is -1 where a sentence goes on
    starts[0] = starts[ends[:-1]] = False
    kinds = np.where(space != 0, WHITE_SPACE, 0) | np.where(starts, SENTENCE_START, 0)
    if keep_entities:
        kinds[(entity == 1) | (entity == 3)] = WHITE_SPACE | SENTENCE_START
    return np.split(kinds, ends[:-1]) if kinds.any() else None
