"""Which parameters each source has in common with the target (Yang et al. 2017, §3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PLANS = ("T-A", "T-B", "T-C")


@dataclass(frozen=True)
class Sharing:
    """A plan for each source.

    Character embeddings and the character encoder are shared by every plan. T-A shares all, T-B
    all but the head (emission weights and CRF), T-C nothing else. What a source shares goes by
    the name of the target, what it has alone by its own.

    Attributes:
        target: the name of the target task.
        plans: the plan of each source.
    """

    target: str
    plans: Mapping[str, str]

    @classmethod
    def of(cls, target: str, setting: str | Mapping[str, str], sources: Iterable[str]) -> Sharing:
        """One plan for all sources, or one for each; ValueError for a source without one."""
        if isinstance(setting, str):
            return cls(target, dict.fromkeys(sources, setting))
        sources = list(sources)
        missing = [source for source in sources if source not in setting]
        if missing:
            raise ValueError(
                f"no sharing plan for {', '.join(map(repr, missing))}: expected one of "
                f"{', '.join(PLANS)} for each source in [model.sharing]"
            )
        return cls(target, {source: setting[source] for source in sources})

    def words_of(self, task: str) -> str:
        """The name of the word level (embeddings and encoder) that `task` uses."""
        return task if self.plans.get(task) == "T-C" else self.target

    def head_of(self, task: str) -> str:
        """The name of the head (emission weights and CRF) that `task` uses."""
        return task if self.plans.get(task) in ("T-B", "T-C") else self.target
