"""`transfer_ner`: named entities, learned from a target corpus and related sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_transfer.corpus.schemes import TagScheme, decode
from spacy_transfer.models.tagger import TransferModel
from spacy_transfer.pipeline.base import TagIds, TransferPipe

DEFAULT_MODEL = {
    "@architectures": "spacy_transfer.TransferTagger.v1",
    "sharing": "T-B",
    "encoder": {"@architectures": "spacy_transfer.HierarchicalEncoder.v1"},
    "objective": {"@architectures": "spacy_transfer.Objective.v1"},
}


class TransferNer(TransferPipe):
    """Sets `doc.ents`; entities that were there before are replaced."""

    def set_annotations(self, docs: Iterable[Doc], scores: Iterable[TagIds]) -> None:
        """Write predicted tag ids, as `predict` gives them, to `doc.ents`."""
        for doc, ids in zip(docs, scores, strict=True):
            spans = decode(self.tag_names(ids))
            doc.set_ents([Span(doc, start, end, label=label) for start, end, label in spans])


@Language.factory(
    "transfer_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": DEFAULT_MODEL,
        "tag_scheme": "BIOES",
        "scorer": {"@scorers": "spacy_transfer.NerScorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_transfer_ner(
    nlp: Language,
    name: str,
    model: TransferModel,
    tag_scheme: TagScheme,
    scorer: Callable[..., dict[str, Any]] | None,
) -> TransferNer:
    """Create a `transfer_ner` component."""
    return TransferNer(
        nlp.vocab, model, name, layer="ents", tag_scheme=tag_scheme, scorer=scorer
    )


def score_entities(examples: Iterable[Example], **cfg: Any) -> dict[str, Any]:  # noqa: ARG001
    """Precision, recall and F1 over entities, all together (micro) and by type."""
    scores: dict[str, Any] = get_ner_prf(examples)
    return scores


def make_ner_scorer() -> Callable[..., dict[str, Any]]:
    """`spacy_transfer.NerScorer.v1`."""
    return score_entities
