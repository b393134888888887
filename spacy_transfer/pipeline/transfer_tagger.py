"""`transfer_tagger`: a tag for each token, learned from a target corpus and related sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from spacy.tokens import Token
from spacy.training import Example

from spacy_transfer.corpus.gold import token_tags
from spacy_transfer.pipeline.base import TransferPipe


class TransferTagger(TransferPipe):
    """Sets `token.tag_`; tags that were there before are replaced."""


def score_tags(
    examples: Iterable[Example],
    *,
    target_words: Collection[str] = (),
    **cfg: Any,  # noqa: ARG001
) -> dict[str, Any]:
    """The share of gold tags that were predicted: all, and of words outside `target_words`.

    `tag_acc` is the accuracy of the CoNLL shared tasks' scorer; `tag_acc_unseen` is that on words
    (as they are written) which the target's training examples do not hold. A score is None where
    there is no gold tag to find. Tokens without a gold tag do not count.
    """
    known = frozenset(target_words)
    found: Counter[bool] = Counter()
    total: Counter[bool] = Counter()
    for example in examples:
        for token, hit in judged_tags(example):
            unseen = token.text not in known
            total[unseen] += 1
            found[unseen] += hit
    return {
        "tag_acc": found.total() / total.total() if total else None,
        "tag_acc_unseen": found[True] / total[True] if total[True] else None,
    }


def judged_tags(example: Example) -> Iterator[tuple[Token, bool]]:
    """Each token of the reference that has a gold tag, and whether that tag was predicted."""
    reference = example.reference
    # The other way round: the predicted tags on the tokens of the reference.
    predicted = token_tags(Example(reference, example.predicted)) or [""] * len(reference)
    for token, tag in zip(reference, predicted, strict=True):
        if token.tag:
            yield token, tag == token.tag_


def make_tag_scorer() -> Callable[..., dict[str, Any]]:
    """`spacy_transfer.TagScorer.v1`."""
    return score_tags
