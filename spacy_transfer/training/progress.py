"""How far a training run has come."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: updates made.
        words: tokens seen in them.
        best_score: the best main score on the dev corpus.
        best_step: the step it was reached at, the earliest of several.
        seconds: time up to the last evaluation, of all parts of a resumed run.
        losses: the loss and its terms, summed since the last evaluation.
        history: main score and step of every evaluation.
    """

    step: int = 0
    words: int = 0
    best_score: float = float("-inf")
    best_step: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    history: list[tuple[float, int]] = field(default_factory=list)
