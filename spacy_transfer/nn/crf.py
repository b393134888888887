"""A linear-chain conditional random field (CRF).

The score of a tag sequence y of length n is

    f(y) = start[y_1] + sum_i emissions[i, y_i]
         + sum_i transitions[y_i, y_{i+1}] + end[y_n]

(Wang et al. 2018, section 3, with scores for the sentence boundaries added) and its probability
is exp(f(y)) / Z. The log-partition, log Z, has an analytic gradient: the posterior marginals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spacy_transfer.nn.batch import within
from spacy_transfer.nn.kernels import chain


class Constraints(NamedTuple):
    """What tag sequences may do, as booleans: True allows. What is forbidden has probability 0."""

    start: Tensor
    """[labels]: may a sequence start with the label?"""
    transitions: Tensor
    """[labels, labels]: may the label of the row be followed by that of the column?"""
    end: Tensor
    """[labels]: may a sequence end with the label?"""


class CRF(nn.Module):
    """Start, transition and end scores of a linear-chain CRF; its emissions come from outside.

    Emissions are [batch, time, labels] and lengths, [batch], are at least 1, on any device; what
    stands in the padding behind a length has no influence. Everything is computed in float32, or
    in float64 where emissions or scores are: half precision is promoted, under autocast too.
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.empty(labels))
        self.transitions = nn.Parameter(torch.empty(labels, labels))
        self.end = nn.Parameter(torch.empty(labels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform values, for a matrix with the sentence boundary as one more label."""
        bound = math.sqrt(3 / (len(self.start) + 1))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def at_temperature(self, temperature: float) -> CRF:
        """A CRF whose scores are divided by a temperature, apart from this one's parameters. With
        emissions divided by it too, the best sequences stay the best, and their probabilities are
        flatter (above 1) or steeper. ValueError for one that is not above 0."""
        if not temperature > 0:
            raise ValueError(f"a temperature must be above 0; found {temperature}")
        if temperature == 1:
            return self
        scaled = CRF(len(self.start)).to(self.start)
        with torch.no_grad():
            for of_scaled, parameter in zip(scaled.parameters(), self.parameters(), strict=True):
                of_scaled.copy_(parameter / temperature)
        return scaled

    def log_partition(
        self, emissions: Tensor, lengths: Tensor, constraints: Constraints | None = None
    ) -> Tensor:
        """The log of the sum of exp(f(y)) over all tag sequences that are allowed: [batch].

        Where none is allowed it is -inf, without gradient.
        """
        scores = self.scores(emissions, lengths, constraints)
        loops = chain.summing(*scores)
        if loops is not None:
            return chain.log_partition(loops, *scores)
        return _log_partition(*scores)

    def score(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """The score f of the tags ([batch, time] int64, anything in the padding): [batch]."""
        emissions, start, transitions, end, lengths = self.scores(emissions, lengths)
        inside = within(emissions.shape[1], lengths)
        tags = tags.masked_fill(~inside, 0)
        gold = emissions.gather(2, tags.unsqueeze(2)).squeeze(2).masked_fill(~inside, 0)
        return gold.sum(1) + _path_score(start, transitions, end, tags, lengths)

    def loss(
        self,
        emissions: Tensor,
        tags: Tensor,
        lengths: Tensor,
        cost: float = 0.0,
        constraints: Constraints | None = None,
    ) -> Tensor:
        """The softmax-margin loss of gold tags ([batch, time] int64, anything in the padding).

        It is log(sum over y' of exp(f(y') + cost * Hamming(y, y'))) - f(y), a value a sentence:
        [batch] (Yang et al. 2017, section 3.4; Gimpel and Smith 2010). The Hamming distance counts
        the tokens that differ. Cost 0 gives the negative log-likelihood.

        With constraints, the sum is over what they allow. Gold tags that they forbid have
        probability 0: their loss is +inf, without gradient.
        """
        scores = self.scores(emissions, lengths, constraints)
        loops = chain.summing(*scores)
        if loops is not None:
            return chain.log_partition(loops, *scores, tags=tags, cost=cost)
        emissions, start, transitions, end, lengths = scores
        tags = tags.masked_fill(~within(emissions.shape[1], lengths), 0)
        gold = tags.unsqueeze(2)
        # Relative to the gold emissions, the loss is not the small difference of two large sums.
        margins = emissions - emissions.gather(2, gold)
        if cost:
            margins = (margins + cost).scatter_add(
                2, gold, margins.new_tensor(-cost).expand_as(gold)
            )
        log_z = _log_partition(margins, start, transitions, end, lengths)
        path = _path_score(start, transitions, end, tags, lengths)
        return (log_z - path).masked_fill(path == -math.inf, math.inf)

    def partial_loss(
        self,
        emissions: Tensor,
        tags: Tensor,
        lengths: Tensor,
        cost: float = 0.0,
        constraints: Constraints | None = None,
    ) -> Tensor:
        """The loss of gold tags of which some are not known (-1): [batch].

        As `loss`, with the log of the sum of exp(f(y)) over all sequences y that agree with what is
        known in the place of f(y), and a Hamming distance of the tokens that are known (Tsuboi et
        al. 2008). A sentence of which nothing is known has no loss, one of which all is known that
        of `loss`.
        """
        labels = torch.arange(emissions.shape[2], device=emissions.device)
        wrong = (tags.unsqueeze(2) >= 0) & (tags.unsqueeze(2) != labels)
        # Relative to the peaks, the loss is not the small difference of two large sums.
        emissions = emissions - emissions.detach().amax(2, keepdim=True)
        every = self.log_partition(emissions + cost * wrong, lengths, constraints)
        agreeing = emissions.masked_fill(wrong, -math.inf)
        return every - self.log_partition(agreeing, lengths, constraints)

    @torch.no_grad()
    def marginals(
        self, emissions: Tensor, lengths: Tensor, constraints: Constraints | None = None
    ) -> Tensor:
        """The posterior probability of each label at each token: [batch, time, labels].

        0 in the padding, and everywhere where no sequence is allowed. Not differentiable.
        """
        scores = self.scores(emissions, lengths, constraints)
        loops = chain.summing(*scores)
        return _forward_backward(*scores)[1] if loops is None else chain.marginals(loops, *scores)

    @torch.no_grad()
    def messages(
        self, emissions: Tensor, lengths: Tensor, constraints: Constraints | None = None
    ) -> tuple[Tensor, Tensor]:
        """Forward messages and posterior marginals, each [batch, time, labels].

        A message is the log of the sum of exp(f) over all sequences up to a token that end in a
        label, less a constant of the token; the padding holds anything. Not differentiable.
        """
        scores = self.scores(emissions, lengths, constraints)
        loops = chain.summing(*scores)
        if loops is not None:
            return chain.messages(loops, *scores)
        prepared, _ = _prepare(scores[0], scores[1], torch.zeros_like(scores[3]), scores[4])
        forward = [prepared[0]]
        for score in prepared[1:]:
            ways = forward[-1].unsqueeze(2) + scores[2]
            state = ways.logsumexp(1) + score
            forward.append(state - state.amax(1, keepdim=True))
        return torch.stack(forward, 1), _forward_backward(*scores)[1]

    @torch.no_grad()
    def decode(
        self, emissions: Tensor, lengths: Tensor, constraints: Constraints | None = None
    ) -> Tensor:
        """The tag sequence of the highest score (Viterbi): [batch, time] int64, padding 0.

        Of equal scores the lower label wins, from the last token to the first. Where constraints
        leave no path, or scores are too large for their type, all labels are 0.
        """
        arguments = self.scores(emissions, lengths, constraints)
        loops = chain.maximising(*arguments)
        if loops is not None:
            return chain.decode(loops, *arguments)
        emissions, start, transitions, end, lengths = arguments
        scores, _ = _prepare(emissions, start, end, lengths)
        into = transitions.T.contiguous()
        best = torch.empty_like(scores)
        best[0] = scores[0]
        ways = scores.new_empty(len(lengths), *into.shape)
        for before, now, score in zip(best[:-1], best[1:], scores[1:], strict=True):
            torch.add(before.unsqueeze(1), into, out=ways)
            torch.amax(ways, 2, out=now).add_(score)
        final, tags = _last(best, lengths).max(1)
        inside = within(emissions.shape[1], lengths)
        path = [tags]
        for before, going_on in zip(best[:-1].flip(0), inside.T[1:].flip(0), strict=True):
            # Which label led here is found again from the scores: cheaper than keeping it for all.
            previous = (before + into.index_select(0, tags)).argmax(1)
            tags = torch.where(going_on, previous, tags)
            path.append(tags)
        found = inside & final.isfinite().unsqueeze(1)
        return torch.stack(path[::-1], 1).masked_fill(~found, 0)

    def scores(
        self, emissions: Tensor, lengths: Tensor, constraints: Constraints | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Emissions, start, transitions, end, lengths: of one floating type, -inf where forbidden,
        and lengths where the scores are."""
        dtype = torch.promote_types(emissions.dtype, self.transitions.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        start, transitions, end = (
            parameter.to(dtype) for parameter in (self.start, self.transitions, self.end)
        )
        if constraints is not None:
            never = start.new_tensor(-math.inf)
            start = torch.where(constraints.start, start, never)
            transitions = torch.where(constraints.transitions, transitions, never)
            end = torch.where(constraints.end, end, never)
        lengths = lengths.to(emissions.device, torch.int64)
        return emissions.to(dtype), start, transitions, end, lengths


def _last(x: Tensor, lengths: Tensor) -> Tensor:
    """What x [time, batch, labels] holds for the last token of each sequence: [batch, labels]."""
    return x[lengths - 1, torch.arange(len(lengths), device=x.device)]


def _path_score(
    start: Tensor, transitions: Tensor, end: Tensor, tags: Tensor, lengths: Tensor
) -> Tensor:
    """What start, transitions and end add to f of the tags (any labels in the padding): [batch]."""
    steps = tags[:, :-1] * len(start) + tags[:, 1:]
    moves = transitions.flatten().index_select(0, steps.flatten()).view_as(steps)
    moves = moves.masked_fill(~within(steps.shape[1], lengths - 1), 0)
    last = tags.gather(1, lengths.unsqueeze(1) - 1).squeeze(1)
    return start.index_select(0, tags[:, 0]) + moves.sum(1) + end.index_select(0, last)


def _log_partition(
    emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor, lengths: Tensor
) -> Tensor:
    log_z: Tensor = _LogPartition.apply(  # type: ignore[no-untyped-call]
        emissions, start, transitions, end, lengths
    )
    return log_z


class _LogPartition(torch.autograd.Function):
    """The log-partition, whose gradient by a score is how often the CRF expects to meet it."""

    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        start: Tensor,
        transitions: Tensor,
        end: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        log_z, marginals, moves = _forward_backward(emissions, start, transitions, end, lengths)
        ctx.save_for_backward(marginals, moves, lengths)
        return log_z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        marginals, moves, lengths = ctx.saved_tensors
        weight = weight[:, None, None]
        emissions = marginals * weight
        first, last = emissions[:, 0], _last(emissions.transpose(0, 1), lengths)
        return emissions, first.sum(0), (moves * weight).sum(0), last.sum(0), None


def _forward_backward(
    emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The log-partition [batch], the posterior marginals [batch, time, labels] (padding 0) and the
    expected number of each transition [batch, labels, labels] (from, to).

    Scores are as in the CRF, of one floating type; -inf forbids.
    """
    with torch.autocast(emissions.device.type, enabled=False):
        scores, peak = _prepare(emissions, start, end, lengths)
        # With finite transitions, every label at t + 1 gets at least exp(-spread) of the most
        # probable label at t, before its emission, and again at t + 2. What underflows beside
        # exp(-2 * spread) is lost without loss. A forbidden transition gives no such bound.
        spread = transitions.max() - transitions.min()
        limit = -0.4 * math.log(torch.finfo(scores.dtype).tiny)
        bounded = (spread < limit) & (peak > -math.inf).all()
        method = _scaled if bounded.item() else _logarithmic
        log_z, marginals, moves = method(scores, transitions, lengths)
        inside = within(emissions.shape[1], lengths)
        log_z = log_z + peak.T.masked_fill(~inside, 0).sum(1)
        return log_z, marginals.transpose(0, 1).masked_fill(~inside.unsqueeze(2), 0), moves


def _prepare(
    emissions: Tensor, start: Tensor, end: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Emissions as [time, batch, labels], with start and end scores added to the first and last
    token, and the maximum of each token taken off; and that maximum, [time, batch]."""
    scores = emissions.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    scores[0] += start
    scores[lengths - 1, torch.arange(len(lengths), device=scores.device)] += end
    peak = scores.amax(2)
    scores -= peak.clamp(min=torch.finfo(scores.dtype).min).unsqueeze(2)
    return scores, peak


def _scaled(scores: Tensor, transitions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Forward-backward in probabilities, for finite transitions of bounded spread.

    Scores are [time, batch, labels] as _prepare makes them, and so are the marginals; what they
    hold in the padding is arbitrary.
    """
    peak = transitions.max()
    kernel = (transitions - peak).exp()
    kernels = torch.stack([kernel, kernel.T])
    backwards = _backwards(len(scores), lengths)
    emissions = scores.exp()
    emissions = torch.stack([emissions, _reverse(emissions, backwards)], 1)
    # A state holds the emission of its own token, a product does not; states are scaled to a
    # maximum of 1 at every token.
    states, products = torch.empty_like(emissions), torch.empty_like(emissions)
    norms = torch.ones_like(emissions[..., :1])
    states[0], products[0] = emissions[0], 1
    state = states[0]
    for emission, following, product, norm in zip(
        emissions[1:], states[1:], products[1:], norms[1:], strict=True
    ):
        torch.bmm(state, kernels, out=product)
        state = torch.mul(product, emission, out=following)
        state.div_(torch.amax(state, 2, keepdim=True, out=norm))

    forward = states[:, 0]
    backward, onward = (_reverse(x[:, 1], backwards) for x in (products, states))
    marginals = forward * backward
    total = marginals.sum(2, keepdim=True)
    moving = within(len(scores), lengths - 1).T.unsqueeze(2)
    leaving = (forward / total).masked_fill(~moving, 0)
    moves = torch.bmm(leaving[:-1].permute(1, 2, 0), onward[1:].transpose(0, 1)) * kernel

    inside = within(len(scores), lengths).T
    log_z = norms[:, 0, :, 0].log().masked_fill(~inside, 0).sum(0) + (lengths - 1) * peak
    return log_z + _last(forward, lengths).sum(1).log(), marginals / total, moves


def _logarithmic(
    scores: Tensor, transitions: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As _scaled, in logarithms: for any transitions, forbidden ones (-inf) too."""
    lowest = torch.finfo(scores.dtype).min
    into = torch.stack([transitions.T, transitions]).unsqueeze(1)
    backwards = _backwards(len(scores), lengths)
    emissions = torch.stack([scores, _reverse(scores, backwards)], 1)
    states, products = torch.empty_like(emissions), torch.empty_like(emissions)
    norms = torch.zeros_like(emissions[..., :1])
    states[0], products[0] = emissions[0], 0
    state = states[0]
    for emission, following, product, norm in zip(
        emissions[1:], states[1:], products[1:], norms[1:], strict=True
    ):
        torch.logsumexp(state.unsqueeze(2) + into, 3, out=product)
        state = torch.add(product, emission, out=following)
        state.sub_(torch.amax(state, 2, keepdim=True, out=norm).clamp_(min=lowest))

    forward = states[:, 0]
    backward, onward = (_reverse(x[:, 1], backwards) for x in (products, states))
    total = (forward + backward).logsumexp(2, keepdim=True).clamp(min=lowest)
    moving = within(len(scores), lengths - 1).T.unsqueeze(2)
    leaving = (forward - total).masked_fill(~moving, -math.inf)
    moves = torch.zeros_like(transitions).repeat(len(lengths), 1, 1)
    for here, there in zip(leaving[:-1], onward[1:], strict=True):
        moves += (here.unsqueeze(2) + transitions + there.unsqueeze(1)).exp()

    inside = within(len(scores), lengths).T
    log_z = norms[:, 0, :, 0].masked_fill(~inside, 0).sum(0)
    log_z = log_z + _last(forward, lengths).logsumexp(1)
    return log_z, (forward + backward - total).exp(), moves


def _backwards(steps: int, lengths: Tensor) -> Tensor:
    """Where _reverse takes each token from, as an index of the flattened [time, batch]."""
    times = torch.arange(steps, device=lengths.device).unsqueeze(1)
    times = (lengths - 1 - times).clamp(min=0)
    return (times * len(lengths) + torch.arange(len(lengths), device=lengths.device)).flatten()


def _reverse(x: Tensor, backwards: Tensor) -> Tensor:
    """Each sequence of x [time, batch, labels] from its last token to its first; then anything.

    Backward messages are the forward messages of the reversed sequences, with the transitions
    transposed: so one loop over time makes both.
    """
    return x.reshape(len(backwards), -1).index_select(0, backwards).view(x.shape)
