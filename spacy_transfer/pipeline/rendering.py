"""displaCy with confidences."""

from __future__ import annotations

from typing import Any

from spacy.displacy import get_doc_settings
from spacy.tokens import Doc

from spacy_transfer.pipeline.confidence import SCORES

_CONFIDENCE = ' <span style="font-weight: normal">{:.2f}</span>'


def with_confidence(doc: Doc, key: str | None = None) -> dict[str, Any]:
    """A Doc as displaCy draws it, each span with its confidence after its label.

    For `displacy.render(with_confidence(doc), style="ent", manual=True)`.

    Args:
        doc: what a component with `confidence = true` has annotated.
        key: the span group that is drawn, whose spans must not overlap; by default the first one
            that has scores, which for `transfer_ner` is that of its entities.

    Raises ValueError where the group has no scores.
    """
    scored = [name for name, group in doc.spans.items() if SCORES in group.attrs]
    if not scored or key not in (None, *scored):
        raise ValueError(
            f"expected a span group with scores{f' named {key!r}' if key else ''}; found "
            f"{', '.join(scored) or 'none'}: a component gives them with confidence = true"
        )
    group = doc.spans[key or scored[0]]
    return {
        "text": doc.text,
        "ents": [
            {
                "start": span.start_char,
                "end": span.end_char,
                "label": span.label_,
                # The place of a link to a knowledge base is the one that displaCy has for it.
                "params": {"kb_link": _CONFIDENCE.format(score)},
            }
            for span, score in zip(group, group.attrs[SCORES], strict=True)
        ],
        "title": doc.user_data.get("title"),
        "settings": get_doc_settings(doc),
    }
