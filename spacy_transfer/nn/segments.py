"""How sure a CRF is of each segment (a span, or a token of a plain tag) that it finds.

The posterior of a segment is the share, by probability, of all tag sequences that have this very
segment. It is neither a product of the marginals of its tokens nor the score of a sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from spacy_transfer.nn.batch import Segments, within
from spacy_transfer.nn.crf import CRF, Constraints


@torch.no_grad()
def segment_posteriors(
    crf: CRF,
    emissions: Tensor,
    tags: Tensor,
    lengths: Tensor,
    segments: Segments,
    constraints: Constraints | None = None,
) -> Tensor:
    """The posteriors of the segments of `tags` [batch, time], given emissions [batch, time, labels]
    and lengths [batch]: [batch, time], each at its first token, 0 elsewhere.

    A posterior Markov chain goes backwards as well: P(y_i .. y_j) is P(y_j) times the product of
    P(y_t | y_t+1). What goes on behind the last token is taken off.
    """
    crf, emissions = crf.at_temperature(segments.temperature), emissions / segments.temperature
    messages, marginals = crf.messages(emissions, lengths, constraints)
    transitions = crf.transitions.to(messages.dtype)
    if constraints is not None:
        transitions = transitions.masked_fill(~constraints.transitions, -torch.inf)
    inside = within(tags.shape[1], lengths)
    tags = tags.masked_fill(~inside, 0)
    counted = segments.counted[tags] & inside
    goes_on = segments.continues[tags[:, :-1], tags[:, 1:]] & counted[:, :-1] & counted[:, 1:]
    starts = counted & ~pad(goes_on, (1, 0))
    ends = counted & ~pad(goes_on, (0, 1))

    # log P(y_t | y_t+1) along the tags.
    ways = messages[:, :-1] + transitions.T[tags[:, 1:]]
    before = ways.gather(2, tags[:, :-1, None]).squeeze(2) - ways.logsumexp(2)
    number = starts.flatten().cumsum(0).view_as(tags) - 1
    inner = messages.new_zeros(int(starts.sum()))
    inner.index_add_(0, number[:, :-1][goes_on], before[goes_on])
    last = tags[ends]
    posteriors = inner.exp() * marginals[ends].gather(1, last.unsqueeze(1)).squeeze(1)

    # Segments that could go on behind their last token: all that do have other ends.
    row, place = ends.nonzero(as_tuple=True)
    may = segments.continues[last].any(1) & (place + 1 < lengths.to(place.device)[row])
    row, place, last = row[may], place[may], last[may]
    ways = messages[row, place].unsqueeze(2) + transitions
    here = torch.arange(len(last), device=last.device)
    onward = (ways[here, last] - ways.logsumexp(1)).exp() * marginals[row, place + 1]
    longer = onward.masked_fill(~segments.continues[last], 0).sum(1)
    posteriors[may] -= inner[may].exp() * longer

    found = torch.zeros_like(marginals[..., 0])
    found[starts] = posteriors.clamp(0, 1)
    return found
