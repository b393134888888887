"""What settings say of sources, held against the sources that there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from spacy_transfer.nn.sharing import Sharing


def check_sources(
    tasks: Collection[str],
    setting: str | Mapping[str, str],
    sharing: Sharing,
    labels: Iterable[str],
    vectors: Iterable[str],
) -> None:
    """ValueError for labels, a sharing plan or vectors of a task that there is not, and for vectors
    of a task without a word level of its own.

    Args:
        tasks: the tasks that there are.
        setting: the sharing plan of all sources, or of each by its name.
        sharing: what that comes to.
        labels: tasks that labels are given for.
        vectors: tasks that vectors are given for.
    """
    plans = () if isinstance(setting, str) else setting
    vectors = list(vectors)
    for what, names in (
        ("labels are", labels),
        ("a sharing plan is", plans),
        ("vectors are", vectors),
    ):
        for name in names:
            if name not in tasks:
                raise ValueError(f"{what} given for task {name!r}, which has no examples")
    for name in vectors:
        if sharing.words_of(name) == sharing.target:
            raise ValueError(
                f"vectors are given for task {name!r}, which has those of the target: a word level "
                f"of its own needs T-C"
            )


def check_beta(beta: float, sharing: Sharing) -> None:
    """ValueError for a weight of CRF-L2 where no source has a CRF that could be tied."""
    if beta and all(sharing.head_of(source) == sharing.target for source in sharing.plans):
        why = "T-A shares the CRF itself" if sharing.plans else "there is no source"
        raise ValueError(
            f"beta is {beta:g}, but no source has a CRF of its own for CRF-L2 to tie to the "
            f"target's: {why}; set beta to 0 in [model.objective]"
        )
