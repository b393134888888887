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

DEFAULT_MODEL = {
    "@architectures": "spacy_transfer.TransferTagger.v1",
    "sharing": "T-B",
    "encoder": {"@architectures": "spacy_transfer.HierarchicalEncoder.v1"},
    "objective": {"@architectures": "spacy_transfer.Objective.v1"},
}


@Language.factory(  # type: ignore[untyped-decorator]
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
    model: Model[Any, Any],
    tag_scheme: Literal["BIOES", "BIO"],
    scorer: Callable[..., dict[str, Any]] | None,
) -> Pipe:
    """Create a `transfer_ner` component: see `TransferNer`."""
    from spacy_transfer.pipeline.transfer_ner import TransferNer

    return TransferNer(nlp.vocab, model, name, layer="ents", tag_scheme=tag_scheme, scorer=scorer)
