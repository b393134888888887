"""The components' factories: `nlp.add_pipe` by name.

spaCy imports this module at every `spacy.blank()` and `spacy.load()`, so the components themselves
are imported when one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from spacy.language import Language
from spacy.pipeline import Pipe
from thinc.api import Model

from spacy_transfer.pipeline.confidence import Confidence

DEFAULT_MODEL = {
    "@architectures": "spacy_transfer.TransferTagger.v1",
    "sharing": "T-B",
    "encoder": {"@architectures": "spacy_transfer.HierarchicalEncoder.v1"},
    "objective": {"@architectures": "spacy_transfer.Objective.v1"},
}
CONFIDENCE = {"confidence": False, "threshold": 0.0, "below": "drop"}
SCORES = ["doc.spans", "span._.confidence"]


@Language.factory(  # type: ignore[untyped-decorator]
    "transfer_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", *SCORES],
    default_config={
        "model": DEFAULT_MODEL,
        "tag_scheme": "BIOES",
        **CONFIDENCE,
        "scorer": {"@scorers": "spacy_transfer.NerScorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_transfer_ner(
    nlp: Language,
    name: str,
    model: Model[Any, Any],
    tag_scheme: Literal["BIOES", "BIO"],
    scorer: Callable[..., dict[str, Any]] | None,
    confidence: bool,
    threshold: float,
    below: Literal["drop", "mark"],
) -> Pipe:
    """Create a `transfer_ner` component: see `TransferNer`.

    Args:
        nlp: the pipeline.
        name: the component's name in it.
        model: the network, a `spacy_transfer.TransferTagger.v1`.
        tag_scheme: how spans become tags: `BIOES` or `BIO`.
        scorer: scores predicted against reference Docs.
        confidence: whether predictions come with their posterior probabilities.
        threshold: spans of a lower probability are below it. Needs `confidence`, as `below` does.
        below: whether these are dropped (`drop`), or only marked (`mark`).

    Raises ValueError for a threshold, or `mark`, without `confidence`.
    """
    from spacy_transfer.pipeline.transfer_ner import TransferNer

    return TransferNer(
        nlp.vocab,
        model,
        name,
        layer="ents",
        tag_scheme=tag_scheme,
        scorer=scorer,
        confidence=Confidence.of_settings(name, confidence, threshold, below),
    )


@Language.factory(  # type: ignore[untyped-decorator]
    "transfer_tagger",
    assigns=["token.tag", *SCORES, "token._.confidence"],
    default_config={
        "model": DEFAULT_MODEL,
        "tag_scheme": "BIOES",
        **CONFIDENCE,
        "scorer": {"@scorers": "spacy_transfer.TagScorer.v1"},
    },
    default_score_weights={"tag_acc": 1.0, "tag_acc_unseen": 0.0},
)
def make_transfer_tagger(
    nlp: Language,
    name: str,
    model: Model[Any, Any],
    tag_scheme: Literal["BIOES", "BIO"],
    scorer: Callable[..., dict[str, Any]] | None,
    confidence: bool,
    threshold: float,
    below: Literal["drop", "mark"],
) -> Pipe:
    """Create a `transfer_tagger` component: see `TransferTagger`. The scheme is for sources."""
    from spacy_transfer.pipeline.transfer_tagger import TransferTagger

    return TransferTagger(
        nlp.vocab,
        model,
        name,
        layer="tag",
        tag_scheme=tag_scheme,
        scorer=scorer,
        confidence=Confidence.of_settings(name, confidence, threshold, below),
    )


@Language.factory(  # type: ignore[untyped-decorator]
    "transfer_chunker",
    assigns=[*SCORES],
    default_config={
        "model": DEFAULT_MODEL,
        "spans_key": "chunks",
        "tag_scheme": "BIOES",
        **CONFIDENCE,
        "scorer": {"@scorers": "spacy.spancat_scorer.v1"},
    },
    default_score_weights={
        "spans_chunks_f": 1.0,
        "spans_chunks_p": 0.0,
        "spans_chunks_r": 0.0,
        "spans_chunks_per_type": None,
    },
)
def make_transfer_chunker(
    nlp: Language,
    name: str,
    model: Model[Any, Any],
    spans_key: str,
    tag_scheme: Literal["BIOES", "BIO"],
    scorer: Callable[..., dict[str, Any]] | None,
    confidence: bool,
    threshold: float,
    below: Literal["drop", "mark"],
) -> Pipe:
    """Create a `transfer_chunker` component: see `TransferChunker`.

    Scores are named after the key (`spans_KEY_f`): with another one than `chunks`,
    `[training.score_weights]` has to name them.
    """
    from spacy_transfer.pipeline.transfer_chunker import TransferChunker

    return TransferChunker(
        nlp.vocab,
        model,
        name,
        spans_key=spans_key,
        tag_scheme=tag_scheme,
        scorer=scorer,
        confidence=Confidence.of_settings(name, confidence, threshold, below),
    )
