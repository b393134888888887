"""displaCy with confidences."""

from __future__ import annotations

from typing import Any

from spacy.displacy import get_doc_settings
from spacy.tokens import Doc

from spacy_transfer.pipeline.confidence import BELOW, LAYER, SCORES

_CONFIDENCE = ' <span style="font-weight: normal">{:.2f}{}</span>'


def with_confidence(doc: Doc, key: str | None = None) -> dict[str, Any]:
    """A Doc as displaCy draws it, each span with its confidence after its label, and "below" where
    that is below the threshold of the component.

    For `displacy.render(with_confidence(doc), style="ent", manual=True)`.

    Args:
        doc: what a component with `confidence = true` has annotated.
        key: the span group that is drawn, whose spans must not overlap; by default, of
            those with scores, the one that holds the Doc's entities, or most of them.

    Raises ValueError where the group has no scores.
    """
    scored = [name for name, group in doc.spans.items() if SCORES in group.attrs]
    if not scored or key not in (None, *scored):
        raise ValueError(
            f"expected a span group with scores{f' named {key!r}' if key else ''}; found "
            f"{', '.join(scored) or 'none'}: a component gives them with confidence = true"
        )
    group = doc.spans[key or _of_entities(doc, scored)]
    below = group.attrs.get(BELOW, [False] * len(group))
    return {
        "text": doc.text,
        "ents": [
            {
                "start": span.start_char,
                "end": span.end_char,
                "label": span.label_,
                # The place of a link to a knowledge base is the one that displaCy has for it.
                "params": {"kb_link": _CONFIDENCE.format(score, " below" * bool(is_below))},
            }
            for span, score, is_below in zip(group, group.attrs[SCORES], below, strict=True)
        ],
        "title": doc.user_data.get("title"),
        "settings": get_doc_settings(doc),
    }


def _of_entities(doc: Doc, keys: list[str]) -> str:
    """The group of the Doc's entities; of several, the one that was written last."""
    entities = {(ent.start, ent.end, ent.label) for ent in doc.ents}

    def likeness(key: str) -> tuple[int, bool]:
        group = doc.spans[key]
        common = entities.intersection((span.start, span.end, span.label) for span in group)
        return len(common), group.attrs.get(LAYER) == "ents"

    return max(reversed(keys), key=likeness)
