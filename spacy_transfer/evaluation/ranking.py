"""Which source for a target? Signals that need no training, and a ranking by them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import spacy
from scipy.stats import rankdata
from spacy.vectors import Vectors

from spacy_transfer.corpus.label_map import check_label_map, matched_labels, read_label_map
from spacy_transfer.corpus.labelled import LabelledText, read_labelled_text
from spacy_transfer.corpus.matching import Match, match_labels, write_suggestions
from spacy_transfer.corpus.overlap import (
    known_share,
    label_agreement,
    matched_share,
    ngram_divergence,
    repeated_sentences,
    word_coverage,
)
from spacy_transfer.evaluation.discrepancy import SpanDiscrepancy
from spacy_transfer.evaluation.table import markdown_table


class Signal(NamedTuple):
    """A number that says how near a source is to the target.

    Attributes:
        name: its name.
        high: whether the source is the better, the higher it is.
        meaning: what it says.
        needs: without what it cannot be had.
    """

    name: str
    high: bool
    meaning: str
    needs: str = ""

    @property
    def title(self) -> str:
        """Its name with `+` where high is good, with `-` where low is."""
        return f"{self.name} {'+' if self.high else '-'}"


_STRINGS = "matched labels and strings in common"
SIGNALS = (
    Signal("words", True, "share of the target's words that the source has, rare words weigh more"),
    Signal("n-grams", False, "divergence of character 3-grams (Jensen-Shannon, in bits)"),
    Signal("labels", True, "share of the target's spans whose label is matched"),
    Signal("known", True, "share of the target's spans whose string the source annotates too"),
    Signal("agreement", True, "chance that these have a matched label in the source", _STRINGS),
    Signal("annotated", True, "the same wherever the string is in the source's text", _STRINGS),
    Signal(
        "MMD",
        False,
        "squared distance of the vectors of spans with matched labels",
        "matched labels and word vectors for them: --vectors",
    ),
)


@dataclass(frozen=True)
class Candidate:
    """A source.

    Attributes:
        name: its name among the sources.
        path: where it is.
        sentences: how many were read.
        spans: how many are annotated in them; tokens in the layer `tag`.
        pairs: its label for each target label that is matched.
        suggested: the target labels in `pairs` that nobody but `match_labels` matched.
        repeated: how many of the target's sentences are in it, word for word.
        signals: what SIGNALS are of it, by name; None for one that cannot be had.
    """

    name: str
    path: Path
    sentences: int
    spans: int
    pairs: Mapping[str, str]
    suggested: Collection[str]
    repeated: int
    signals: Mapping[str, float | None]


@dataclass(frozen=True)
class Ranking:
    """Sources for a target.

    Attributes:
        target: the target.
        candidates: the sources, the best first.
        scores: the mean rank of each over all signals that there are; 1 is the best.
        maps: the files of suggested labels that were written.
    """

    target: LabelledText
    candidates: Sequence[Candidate]
    scores: Sequence[float]
    maps: Sequence[Path]


def rank_sources(
    target: Path,
    sources: Sequence[Path],
    *,
    layer: str = "ents",
    limit: int = 0,
    seed: int = 0,
    lang: str = "en",
    vectors: Path | None = None,
    maps: Path | None = None,
) -> Ranking:
    """Rank candidate sources for a target, without training.

    Labels are matched by the file NAME.tsv in the folder `maps`. Where there is none, equal names
    match, and the others as `match_labels` suggests; then these pairs are written there.

    Args:
        target: a corpus of any format that `convert` takes.
        sources: others.
        layer: `ents`, `tag` or `spans:KEY`, of all of them.
        limit: compare a sample of so many sentences of each; 0 compares all.
        seed: of the samples.
        lang: whose tokenizer splits JSON lines without tokens.
        vectors: a pipeline with word vectors.
        maps: a folder of label maps.

    Raises:
        ValueError: no source, or one that is the target or comes twice; a folder without vectors.
        CorpusError: a file that cannot be read, or has no annotation of the layer.
    """
    names = source_names(target, sources)
    table = None if vectors is None else _read_vectors(vectors)
    of_target = read_labelled_text(target, layer, limit=limit, seed=seed, lang=lang)
    discrepancy = None if table is None else SpanDiscrepancy(of_target, table, seed)
    candidates: list[Candidate] = []
    suggestions: list[tuple[list[Match], Path, str]] = []
    for name, path in zip(names, sources, strict=True):
        source = read_labelled_text(path, layer, limit=limit, seed=seed, lang=lang)
        map_file = None if maps is None else maps / f"{name}.tsv"
        suggested: list[str] = []
        if map_file is not None and map_file.exists():
            label_map = read_label_map(map_file)
            if not limit:  # a sample need not hold all labels
                check_label_map(label_map, of_target.labels, source.labels)
            pairs = dict(matched_labels(of_target.labels, source.labels, label_map))
        else:
            matches = match_labels(of_target, source)
            pairs = {match.target: match.source for match in matches if match.suggested}
            suggested = [label for label, other in pairs.items() if label != other]
            if map_file is not None and pairs:
                suggestions.append((matches, map_file, name))
        measured = signals(of_target, source, pairs, discrepancy)
        sizes = len(source.sentences), source.labels.total()
        repeated = repeated_sentences(of_target, source)
        candidates.append(Candidate(name, path, *sizes, pairs, suggested, repeated, measured))
    # Written when all could be read.
    for matches, map_file, name in suggestions:
        write_suggestions(matches, map_file, of_target.name, name)
    scores = mean_ranks([candidate.signals for candidate in candidates])
    order = sorted(range(len(scores)), key=scores.__getitem__)
    return Ranking(
        of_target,
        [candidates[place] for place in order],
        [scores[place] for place in order],
        [map_file for _, map_file, _ in suggestions],
    )


def signals(
    target: LabelledText,
    source: LabelledText,
    pairs: Mapping[str, str],
    discrepancy: SpanDiscrepancy | None = None,
) -> dict[str, float | None]:
    """What all SIGNALS are of a source, by name.

    pairs: matched labels, the target's and the source's. discrepancy: from the target, None without
    vectors.
    """
    places = source.occurrences(target.strings)
    return {
        "words": word_coverage(target, source),
        "n-grams": ngram_divergence(target, source),
        "labels": matched_share(target, pairs),
        "known": known_share(target, source),
        "agreement": label_agreement(target, source.strings, pairs) if pairs else None,
        "annotated": label_agreement(target, places, pairs) if pairs else None,
        "MMD": discrepancy(source, pairs) if discrepancy else None,
    }


def mean_ranks(measured: Sequence[Mapping[str, float | None]]) -> list[float]:
    """The mean rank of each source over the signals; 1 is the best, and ties share their ranks.

    No signal weighs more than another: what would be known of their worth is gains, and they are
    what the ranking is to spare. A source that lacks a signal which others have ranks last in it;
    a signal that all lack does not count.
    """
    ranks = []
    for signal in SIGNALS:
        values = [of_source[signal.name] for of_source in measured]
        if any(value is not None for value in values):
            sign = -1 if signal.high else 1
            ranks.append(rankdata([math.inf if v is None else sign * v for v in values]))
    return [fmean(of_source) for of_source in zip(*ranks, strict=True)]


def ranking_table(ranking: Ranking) -> str:
    """The sources as a Markdown table, the best first, with their signals."""
    header = ["Source", "mean rank", *(signal.title for signal in SIGNALS), "sentences", "spans"]
    rows = [
        [
            candidate.name.replace("|", "\\|"),
            f"{score:.2f}",
            *(_shown(candidate.signals[signal.name]) for signal in SIGNALS),
            f"{candidate.sentences:,}",
            f"{candidate.spans:,}",
        ]
        for candidate, score in zip(ranking.candidates, ranking.scores, strict=True)
    ]
    return markdown_table([header, *rows])


def ranking_notes(ranking: Ranking) -> list[str]:
    """What a reader has to know of a ranking: which labels match, and what could not be had."""
    lines = [f"{c.name}: {_matched(c, ranking.target)}" for c in ranking.candidates]
    if any(candidate.suggested for candidate in ranking.candidates):
        lines.append("? is a guess from strings and contexts: agreement flatters it")
    lines += [
        f"{c.name}: has {c.repeated:,} of the target's sentences, which flatters it"
        for c in ranking.candidates
        if c.repeated
    ]
    for signal in SIGNALS:
        lacking = [c.name for c in ranking.candidates if c.signals[signal.name] is None]
        if len(lacking) == len(ranking.candidates):
            lines.append(f"{signal.name}: does not count, it needs {signal.needs}")
        elif lacking:
            names = ", ".join(lacking)
            lines.append(f"{signal.name}: {names} last, as it needs {signal.needs}")
    if len(ranking.candidates) == 1:
        lines.append("one source has no rank: look at its signals")
    return lines


def source_names(target: Path, sources: Sequence[Path]) -> list[str]:
    """A short name for each source: as much of the end of its path as tells it from the others.

    Ends that the target has as well, such as `train.tsv`, are left away. ValueError where there is
    no source, where one is the target, or comes twice.
    """
    if not sources:
        raise ValueError("expected one source or more, found none")
    resolved = [path.resolve() for path in sources]
    for path, real in zip(sources, resolved, strict=True):
        if real == target.resolve():
            raise ValueError(f"{path}: is the target itself, expected other corpora as sources")
        if resolved.count(real) > 1:
            raise ValueError(f"{path}: expected each source once")
    paths = [path.absolute() for path in (target, *sources)]
    stems = [(*path.parts[:-1], path.name.partition(".")[0]) for path in paths]
    while len({stem[-1] for stem in stems}) == 1 and min(map(len, stems)) > 1:
        stems = [stem[:-1] for stem in stems]
    # Two files of one folder may differ in their endings alone.
    for parts in (stems[1:], [path.parts for path in paths[1:]]):
        for length in range(1, max(map(len, parts)) + 1):
            names = ["-".join(of_path[-length:]) for of_path in parts]
            if len(set(names)) == len(names):
                return names
    raise ValueError(f"expected sources whose names differ, found {', '.join(map(str, sources))}")


def _read_vectors(folder: Path) -> Vectors:
    if not (folder / "config.cfg").is_file():
        raise ValueError(f"{folder}: expected a pipeline with word vectors; none is there")
    vectors = spacy.load(folder).vocab.vectors
    if not vectors.shape[0]:
        raise ValueError(f"{folder}: expected a pipeline with word vectors; it has none")
    return vectors


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _matched(candidate: Candidate, target: LabelledText) -> str:
    """Which labels match, and how that is known."""
    if not candidate.pairs:
        return "no label matches one of the target"
    named = [
        label if label == other else f"{label} = {other}{'?' * (label in candidate.suggested)}"
        for label, other in candidate.pairs.items()
    ]
    missing = [label for label in target.labels if label not in candidate.pairs]
    return f"{', '.join(named)}" + (f"; without a match: {', '.join(missing)}" if missing else "")
