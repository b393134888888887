"""The labels of a target and how they match those of its sources."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spacy_transfer.corpus.label_map import check_label_map, complete_map, read_label_map
from spacy_transfer.corpus.marks import TARGET
from spacy_transfer.corpus.schemes import OUTSIDE
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.pipeline.survey import TaskSurvey

logger = logging.getLogger(__name__)


class LabelMaps(NamedTuple):
    """Labels that mean the same.

    Attributes:
        matched: pairs of target and source labels, as a file gives them; None for equal names.
        renamed: with T-A, a label of the shared CRF for each label of the target; else empty.
    """

    matched: dict[str, str] | None
    renamed: dict[str, str]


def match_labels(
    found: Mapping[str, TaskSurvey],
    in_head: Sequence[str],
    path: Path | str | None,
    default_label: str | None,
    union: bool,
    *,
    all_known: bool,
) -> LabelMaps:
    """Read the label map; with T-A, complete the target's labels in `found`, and the map by them.

    Args:
        found: what the examples hold, the target first.
        in_head: sources that share the target's CRF (T-A).
        path: the file of the map; None matches equal names.
        default_label: see `complete_map`.
        union: see `complete_map`.
        all_known: whether the target's labels were given, and no others are to be added.

    Raises ValueError for a map that does not fit the labels, and layers that cannot share a CRF.
    """
    label_map = None if path is None else read_label_map(path)
    target, sources = found[TARGET], [found[name] for name in in_head]
    of_head = [label for source in sources for label in sorted(source.labels)]
    if in_head and not all_known:
        # A small sample of the target, or none, need not hold every label.
        if label_map:
            target.labels.update(dict.fromkeys(label_map, 0))
        elif not (target.labels and (union or default_label)):
            target.labels.update(dict.fromkeys(of_head, 0))
    plain = target.layer == "tag"
    outside = [OUTSIDE] if in_head and not plain else []
    if label_map and target.labels and len(found) > 1:
        labels = {label for name, task in found.items() if name != TARGET for label in task.labels}
        check_label_map(label_map, target.labels, [*outside, *labels])
    if not in_head:
        return LabelMaps(label_map, {})
    if any((source.layer == "tag") != plain for source in sources):
        raise ValueError("T-A shares one CRF: tag layers and span layers cannot be mixed")
    known = [*outside, *of_head]
    renamed = complete_map(target.labels, known, label_map, default_label, union)
    ours, theirs = set(renamed.values()), set(of_head)
    logger.info(
        "One CRF for the target and %s. Labels of the target alone: %s. Of sources alone: %s.",
        ", ".join(in_head),
        ", ".join(sorted(ours - theirs - {OUTSIDE})) or "none",
        ", ".join(sorted(theirs - ours)) or "none",
    )
    return LabelMaps(label_map, renamed)


def warn_of_unmatched(
    objective: ObjectiveSettings, matched: Mapping[str, Sequence[tuple[str, str]]]
) -> None:
    """Log a warning for each source that shares no label with the target, where the objective has
    terms of matched labels; `matched` has the pairs of each source."""
    by_label = objective.beta or (objective.alpha and objective.mmd == "label-aware")
    for source in (source for source, pairs in matched.items() if by_label and not pairs):
        logger.warning(
            "No label of the target means the same as one of %r: label-aware MMD and CRF-L2 have "
            "nothing to tie but what is outside. Labels match by equal names, or by a label_map.",
            source,
        )
