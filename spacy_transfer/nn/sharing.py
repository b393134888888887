"""Which parameters the tasks share (Yang et al. 2017, §3.2)."""

from __future__ import annotations

from dataclasses import dataclass

SHARED = "shared"


@dataclass(frozen=True)
class Sharing:
    """A sharing plan: at each level either one set of parameters for all tasks or one a task.

    Character embeddings and the character encoder are shared by every plan.

    Attributes:
        words: word embeddings and word encoder.
        head: emission weights and CRF.
    """

    words: bool
    head: bool

    def words_of(self, task: str) -> str:
        """The name of the word level that `task` uses."""
        return SHARED if self.words else task

    def head_of(self, task: str) -> str:
        """The name of the head that `task` uses."""
        return SHARED if self.head else task


PLANS: dict[str, Sharing] = {
    "T-A": Sharing(words=True, head=True),
    "T-B": Sharing(words=True, head=False),
    "T-C": Sharing(words=False, head=False),
}
