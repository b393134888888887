"""Batches of sentences of like length, so that recurrent layers take wide steps throughout."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import groupby, islice, pairwise
from operator import itemgetter

from spacy.training import Example

NOISE = 0.5
"""Lengths are off by up to this share when sentences are sorted.

Sentences of one length are also alike in what they say: batches of nothing else learn more slowly.
"""


def by_length(
    stream: Iterable[tuple[int, Example]], size: int, window: int, seed: str
) -> Iterator[tuple[int, list[Example]]]:
    """Batches of a stream of (epoch, example), as (epoch, examples), in random order.

    `window * size` examples at a time are sorted by length, roughly, and cut into batches of
    `size`: equal numbers of sentences, not of tokens, so that each weighs the same in the loss, a
    mean over the batch. A window ends with its epoch, which thus has each of its examples once; a
    last, smaller one is cut evenly. The draws depend on seed and epoch alone.
    """
    for epoch, group in groupby(stream, key=itemgetter(0)):
        rng = random.Random(f"{seed}/{epoch}")
        examples = (example for _, example in group)
        while drawn := list(islice(examples, size * window)):
            drawn.sort(key=lambda example: len(example) * rng.uniform(1 - NOISE, 1 + NOISE))
            count = max(1, round(len(drawn) / size))
            ends = [number * len(drawn) // count for number in range(count + 1)]
            batches = [drawn[start:end] for start, end in pairwise(ends)]
            rng.shuffle(batches)
            yield from ((epoch, batch) for batch in batches)
