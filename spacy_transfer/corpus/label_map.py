"""Matched labels: pairs of target and source labels that mean the same (Wang et al. 2018, Y_v)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from spacy_transfer.corpus.errors import CorpusError
from spacy_transfer.corpus.lines import read_lines


class LabelMap(dict[str, str]):
    """Target label -> source label as read from `path`, with the line of each target label."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.lines: dict[str, int] = {}


def read_label_map(path: str | Path) -> LabelMap:
    """Read pairs of labels, one a line: `target label<TAB>source label`, in UTF-8.

    Blank lines and lines that begin with `#` are skipped. Several target labels may share one
    source label. Raises CorpusError naming the line when a line is anything else, or when a
    target label comes twice.
    """
    path = Path(path)
    pairs = LabelMap(path)
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != 2 or not all(fields):
            raise CorpusError(
                path, number, f"expected `target label<TAB>source label`, got {line!r}"
            )
        target, source = fields
        if target in pairs:
            raise CorpusError(
                path,
                number,
                f"target label {target!r} is already mapped to {pairs[target]!r} "
                f"in line {pairs.lines[target]}",
            )
        pairs[target] = source
        pairs.lines[target] = number
    if not pairs:
        raise CorpusError(path, None, "expected lines `target label<TAB>source label`, found none")
    return pairs


def matched_labels(
    target_labels: Iterable[str],
    source_labels: Iterable[str],
    label_map: Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """The pairs (target label, source label) that mean the same, in the order of `target_labels`.

    A target label that is not in the map, or without one, matches the source label of equal name.
    Pairs of a map with labels that do not occur are passed over: see `check_label_map`.
    """
    names, sources = label_map or {}, set(source_labels)
    pairs = ((label, names.get(label, label)) for label in target_labels)
    return [(target, source) for target, source in pairs if source in sources]


def check_label_map(
    label_map: Mapping[str, str], target_labels: Iterable[str], source_labels: Iterable[str]
) -> None:
    """Hold a map against the labels of the target and of all sources together.

    ValueError where a pair names a label that no source has. Warns of a target label that does not
    occur: a small sample of the target need not hold every label.
    """
    targets, sources = list(target_labels), set(source_labels)
    for target, source in label_map.items():
        if source not in sources:
            raise ValueError(
                f"{_place(label_map, target)}{source!r} is not a label of the source: "
                f"expected one of {', '.join(sorted(sources))}"
            )
        if target not in targets:
            warnings.warn(
                f"{_place(label_map, target)}{target!r} is not a label of the target, "
                f"which has {', '.join(sorted(targets))}; the pair is passed over",
                stacklevel=2,
            )


def complete_map(
    target_counts: Mapping[str, int],
    source_labels: Iterable[str],
    label_map: Mapping[str, str] | None,
    default_label: str | None = None,
    union: bool = False,
) -> dict[str, str]:
    """A source label for each target label, as a CRF over source labels needs (Yang et al. 2017,
    T-A, §3.2.1); in the order in which the target labels of a source label go before each other.

    Where several target labels share a source label, the one that is most frequent in the target's
    training examples is the best guess from the source label alone, and goes first. Labels that are
    equally frequent, as with none at all, stay in the order of the map.

    Args:
        target_counts: how often each target label occurs.
        source_labels: what target labels can be mapped to: the labels of all sources, and `O`
            where they are of spans.
        label_map: pairs of labels as `matched_labels` takes them.
        default_label: the source label of all target labels that match none.
        union: whether target labels that match none stand for themselves instead, beside the
            labels of the sources.

    Raises ValueError for a target label without a source label, a default that does not exist, and
    a default with a union.
    """
    if union and default_label is not None:
        raise ValueError("expected either a default_label or union = true; found both")
    sources = list(source_labels)
    matched = dict(matched_labels(target_counts, sources, label_map))
    in_order = [*(label_map or ()), *matched]
    complete = {target: matched[target] for target in in_order if target in matched}
    missing = [label for label in target_counts if label not in matched]
    if union:
        complete |= {label: label for label in missing}
    elif missing and default_label is None:
        place = "without a label map, equal names" if label_map is None else _file(label_map)
        raise ValueError(
            f"{place}: no source label for {', '.join(map(repr, missing))}: T-A needs one for each "
            f"label of the target; add lines `target label<TAB>source label`, or name one in "
            f"default_label for all that are missing, or keep those as they are with union = true"
        )
    if default_label is not None:
        if default_label not in sources:
            raise ValueError(
                f"default_label {default_label!r} is not a label of the source: expected one of "
                f"{', '.join(sorted(sources))}"
            )
        complete |= dict.fromkeys(missing, default_label)
    ranked = sorted(complete, key=lambda label: -target_counts[label])
    return {label: complete[label] for label in ranked}


def _file(label_map: Mapping[str, str] | None) -> str:
    return str(label_map.path) if isinstance(label_map, LabelMap) else "label map"


def _place(label_map: Mapping[str, str], target: str) -> str:
    if isinstance(label_map, LabelMap):
        return f"{label_map.path}:{label_map.lines[target]}: "
    return f"label map, {target!r} -> {label_map[target]!r}: "
