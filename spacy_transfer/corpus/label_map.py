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

    Without a map, labels of equal name match. With one, each of its pairs must name a label of
    the source (ValueError otherwise). A target label that does not occur is passed over with a
    warning, since a small sample of the target need not hold every label.
    """
    targets, sources = list(target_labels), set(source_labels)
    if label_map is None:
        return [(label, label) for label in targets if label in sources]
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
    return [(target, label_map[target]) for target in targets if target in label_map]


def _place(label_map: Mapping[str, str], target: str) -> str:
    if isinstance(label_map, LabelMap):
        return f"{label_map.path}:{label_map.lines[target]}: "
    return f"label map, {target!r} -> {label_map[target]!r}: "
