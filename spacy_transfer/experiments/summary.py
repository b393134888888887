"""Results of single runs, brought together over seeds and set against training without transfer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from spacy_transfer.evaluation.counts import Counts
from spacy_transfer.evaluation.intervals import Interval, mean_interval
from spacy_transfer.experiments.learning_curve import History
from spacy_transfer.experiments.results import COUNTS, HISTORY, Row
from spacy_transfer.experiments.run import Swept


@dataclass(frozen=True, eq=False)
class Cell:
    """A method on a target at a labeling rate, over its seeds.

    Attributes:
        target: the target's name.
        score: the name of the score, such as `ents_f`.
        rate: the labeling rate.
        sources: the sources' names; none without transfer.
        method: the method's name.
        vectors: the vectors with the best mean dev score, and out of how many they were chosen.
        choices: how many vectors there were to choose from.
        scores: the test score of each seed, in percent.
        gain: by how much each seed is above the same seed without transfer; None without any.
        published: a published score, in percent.
        published_gain: by how much it is above the published score without transfer.
        counts: what each seed got right in each test sentence, of the seeds where that is known.
        histories: the dev scores of each seed in training, of the seeds where they are known.
        reference: whether other methods are tested against this one.
        ablation: whether it is a part of the reference.
        swept: which value of a sweep this is, if it is of one.
    """

    target: str
    score: str
    rate: float
    sources: tuple[str, ...]
    method: str
    vectors: str | None
    choices: int
    scores: dict[int, float]
    gain: Interval | None
    published: float | None
    published_gain: float | None
    counts: dict[int, Counts]
    histories: dict[int, History]
    reference: bool
    ablation: bool
    swept: Swept | None

    @property
    def mean(self) -> Interval:
        """The mean over seeds."""
        return mean_interval(list(self.scores.values()))

    @property
    def label(self) -> str:
        """Method and sources."""
        return label_of(self.method, self.sources)


def label_of(method: str, sources: Sequence[str]) -> str:
    """A method and its sources."""
    return f"{method} from {' + '.join(sources)}" if sources else method


_Place = tuple[str, str, float]
_Way = tuple[tuple[str, ...], str]


def summarize(rows: Iterable[Row]) -> list[Cell]:
    """One cell for each target, rate, sources and method, in the order of the rows.

    Gains are over the first method without sources on the same target at the same rate, seed by
    seed. Vectors are chosen by the mean dev score: the test score is never looked at.

    ValueError where runs that differ in their settings or files go by the same names.
    """
    rows = list(rows)
    require_distinct(rows)
    groups: dict[_Place, dict[_Way, list[Row]]] = {}
    for row in rows:
        place = (row["target"], row["score"], row["rate"])
        way = (tuple(row["sources"]), row["method"])
        groups.setdefault(place, {}).setdefault(way, []).append(row)
    return [cell for place, ways in groups.items() for cell in _cells(place, ways)]


def _cells(place: _Place, ways: dict[_Way, list[Row]]) -> list[Cell]:
    chosen = {way: _chosen(rows) for way, rows in ways.items()}
    without = next((way for way in chosen if not way[0]), None)
    base = _scores(chosen[without]) if without else {}
    named = next(
        (r["reference"] for rows in ways.values() for r in rows if r.get("reference")), None
    )
    published_base = _published(ways[without]) if without else None
    cells = []
    for way, rows in chosen.items():
        scores = _scores(rows)
        gains = [score - base[seed] for seed, score in scores.items() if seed in base and way[0]]
        published = _published(ways[way])
        cells.append(
            Cell(
                *place,
                *way,
                vectors=rows[0]["vectors"],
                choices=len({row["vectors"] for row in ways[way]}),
                scores=scores,
                gain=mean_interval(gains) if gains else None,
                published=published,
                published_gain=_difference(published, published_base) if way[0] else None,
                counts={row["seed"]: row[COUNTS] for row in rows if COUNTS in row},
                histories={row["seed"]: row[HISTORY] for row in rows if HISTORY in row},
                reference=way[1] == named if named else way == without,
                ablation=rows[0].get("ablation", False),
                swept=Swept(**swept) if (swept := rows[0].get("swept")) else None,
            )
        )
    return cells


def require_distinct(rows: Iterable[Row]) -> None:
    """ValueError for different runs that no table could tell apart."""
    keys: dict[tuple[object, ...], str] = {}
    for row in rows:
        names = (row["target"], row["score"], row["rate"], *row["sources"], row["method"])
        run = (*names, row["vectors"], row["seed"])
        if keys.setdefault(run, row["key"]) != row["key"]:
            raise ValueError(
                f"two runs of method {row['method']!r} on {row['target']}/{row['rate']:g}, seed "
                f"{row['seed']}, differ in settings or files: give one of them another name"
            )


def _published(rows: Iterable[Row]) -> float | None:
    return next((row["published"] for row in rows if row["published"] is not None), None)


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _chosen(rows: Sequence[Row]) -> list[Row]:
    by_vectors: dict[str | None, list[Row]] = {}
    for row in rows:
        by_vectors.setdefault(row["vectors"], []).append(row)
    return max(by_vectors.values(), key=lambda rows: fmean(row["dev_score"] for row in rows))


def _scores(rows: Iterable[Row]) -> dict[int, float]:
    return {row["seed"]: 100 * (row["test_score"] or 0.0) for row in rows}
