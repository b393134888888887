"""The best tag sequences of a CRF, not the best one alone."""

from __future__ import annotations

import torch
from torch import Tensor

from spacy_transfer.nn.crf import CRF, Constraints


@torch.no_grad()
def n_best(
    crf: CRF, emissions: Tensor, lengths: Tensor, n: int, constraints: Constraints | None = None
) -> tuple[Tensor, Tensor]:
    """The n most probable sequences, the best first, and their log-probabilities.

    Viterbi's algorithm with the n best ways to each label (Schwartz & Chow 1990).

    Args:
        crf: start, transition and end scores.
        emissions: [batch, time, labels].
        lengths: [batch], each at least 1.
        n: how many; ValueError for less than 1.
        constraints: what sequences may do.

    Returns:
        tags [batch, n, time], 0 at padding, and log-probabilities [batch, n]. Where there are fewer
        sequences, or scores are too large for their type, these are -inf and the tags 0.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; found {n}")
    scores, start, transitions, end, lengths = crf.scores(emissions, lengths, constraints)
    batch, time, labels = scores.shape
    none = scores.new_full((batch, labels, n - 1), -torch.inf)
    best = torch.cat([(scores[:, 0] + start).unsqueeze(2), none], 2)  # [batch, labels, n]
    stay = torch.arange(labels * n, device=scores.device).expand(batch, -1)
    pointers = []
    for step in range(1, time):
        ways = best.unsqueeze(3) + transitions.unsqueeze(1)  # [batch, from, n, to]
        values, places = ways.flatten(1, 2).topk(n, dim=1)
        going_on = (step < lengths)[:, None, None]
        best = torch.where(going_on, values.mT + scores[:, step].unsqueeze(2), best)
        pointers.append(torch.where(going_on.squeeze(2), places.mT.flatten(1), stay))
    totals, places = (best + end[:, None]).flatten(1).topk(n)
    path = [places]
    for pointer in reversed(pointers):
        places = pointer.gather(1, places)
        path.append(places)
    tags = torch.stack(path[::-1], 2) // n
    inside = torch.arange(time, device=scores.device) < lengths[:, None]
    found = totals.isfinite()
    tags = tags.masked_fill(~(inside[:, None] & found[..., None]), 0)
    log_z = crf.log_partition(emissions, lengths, constraints).unsqueeze(1)
    return tags, (totals - log_z).masked_fill(~found, -torch.inf)
