"""Batches of sentences of like length, so that recurrent layers take wide steps throughout."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

from spacy.training import Example

NOISE = 0.1
"""Lengths are off by up to this share when sentences are sorted, so that neighbours change."""


def by_length(
    stream: Iterable[tuple[int, Example]], size: int, window: int, seed: str
) -> Iterator[tuple[int, list[Example]]]:
    """Batches of a stream of (epoch, example), as (epoch, examples), in random order.

    A window of `window * size` examples at a time is sorted by length and cut into batches of
    equal numbers of tokens, `size` examples each on average. A window ends with its epoch, which
    thus has each of its examples once. The draws depend on seed and epoch alone.
    """
    for epoch, group in groupby(stream, key=itemgetter(0)):
        rng = random.Random(f"{seed}/{epoch}")
        examples = (example for _, example in group)
        while drawn := list(islice(examples, size * window)):
            drawn.sort(key=lambda example: len(example) * rng.uniform(1 - NOISE, 1 + NOISE))
            batches = equal_parts(drawn, max(1, round(len(drawn) / size)))
            rng.shuffle(batches)
            yield from ((epoch, batch) for batch in batches)


def equal_parts(examples: Sequence[Example], count: int) -> list[list[Example]]:
    """Cut into `count` parts of as equal numbers of tokens as order and lengths allow.

    Fewer parts come out where an example is longer than a part.
    """
    total, before = sum(map(len, examples)), 0
    parts: dict[int, list[Example]] = {}
    for example in examples:
        # An example is in the part of its middle token.
        part = (2 * before + len(example)) * count // (2 * total)
        parts.setdefault(part, []).append(example)
        before += len(example)
    return list(parts.values())
