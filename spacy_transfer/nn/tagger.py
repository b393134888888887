"""The whole network: shared encoders, a CRF head a task, one loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spacy_transfer.nn.batch import GroupBatch, Segments, TaskPart, TokenBatch, send, take, within
from spacy_transfer.nn.crf import CRF, Constraints
from spacy_transfer.nn.crf_l2 import crf_l2
from spacy_transfer.nn.encoders import (
    CharacterEncoder,
    ConvolutionStack,
    EncoderSettings,
    WordEmbedding,
    WordEncoder,
)
from spacy_transfer.nn.mmd import label_aware_mmd, mmd2
from spacy_transfer.nn.n_best import n_best
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.parallel import gathered_tokens, processes
from spacy_transfer.nn.projection import ProjectionName, make_projections
from spacy_transfer.nn.recurrent import BiRecurrent
from spacy_transfer.nn.segments import segment_posteriors
from spacy_transfer.nn.sharing import Sharing


@dataclass(frozen=True)
class TaggerSizes:
    """What the training corpora determine.

    Attributes:
        tasks: number of tag ids of each task's head; the first task is the target.
        words: rows (the unknown word included) and width of each word level's embeddings.
        characters: rows of the character embeddings, the unknown character included.
        matched: number of matched tag pairs of each source.
        features: width of what is known of a token beside its words and characters.
    """

    tasks: dict[str, int]
    words: dict[str, tuple[int, int]]
    characters: int
    matched: dict[str, int]
    features: int = 0


@dataclass(frozen=True)
class Loss:
    """A loss to minimise and its weighted terms by name, detached; the terms add up to it."""

    total: Tensor
    terms: dict[str, Tensor]


class Decoded(NamedTuple):
    """What is predicted for a task.

    Attributes:
        tags: [n, time] the best tags, 0 at padding.
        lengths: [n] tokens of each sentence, on the CPU.
        posteriors: [n, time] that of each segment at its first token, else 0; None where they
            were not asked for.
    """

    tags: Tensor
    lengths: Tensor
    posteriors: Tensor | None


class Head(nn.Module):
    """Emission scores and a CRF over one set of tags."""

    def __init__(self, width: int, tags: int) -> None:
        super().__init__()
        self.emission = nn.Linear(width, tags)
        nn.init.xavier_uniform_(self.emission.weight)
        nn.init.zeros_(self.emission.bias)
        self.crf = CRF(tags)


class TaskConstraints(nn.Module):
    """The tag transitions that a task allows in decoding, kept with the weights."""

    start: Tensor
    transitions: Tensor
    end: Tensor

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.register_buffer("start", torch.ones(tags, dtype=torch.bool))
        self.register_buffer("transitions", torch.ones(tags, tags, dtype=torch.bool))
        self.register_buffer("end", torch.ones(tags, dtype=torch.bool))

    def get(self) -> Constraints:
        """What is allowed, as the CRF wants it."""
        return Constraints(self.start, self.transitions, self.end)


class MatchedTags(nn.Module):
    """Pairs of tag ids that mean the same in a source and in the target (Wang's Y_v)."""

    pairs: Tensor

    def __init__(self, pairs: int) -> None:
        super().__init__()
        self.register_buffer("pairs", torch.zeros(pairs, 2, dtype=torch.int64))


@dataclass(frozen=True)
class TaggedPart:
    """A task's sentences after encoding.

    Attributes:
        part: what the caller asked for.
        hidden: [tokens, hidden] hidden states of the whole group, packed.
        features: [tokens, features] what else is known of the group's tokens, packed; or None.
        index: [n, time] where the part's tokens lie in `hidden` (0 at padding).
        lengths: [n] tokens of each sentence, on the CPU.
    """

    part: TaskPart
    hidden: Tensor
    features: Tensor | None
    index: Tensor
    lengths: Tensor

    @property
    def gold(self) -> Tensor:
        """[n, time] gold tags; raises ValueError if the part has none."""
        if self.part.tags is None:
            raise ValueError(f"the sentences of task {self.part.task!r} carry no gold tags")
        return self.part.tags

    def emissions(self, head: Head, project: nn.Module) -> Tensor:
        """[n, time, tags] scores of the tags, from projected hidden states and features."""
        inputs = project(self.hidden)
        if self.features is not None:
            inputs = torch.cat([inputs, self.features], dim=1)
        return take(head.emission(inputs), self.index)

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Hidden states [tokens, hidden] and gold tags [tokens] of the part, padding left out."""
        inside = within(self.index.shape[1], self.lengths)
        places = send(inside.flatten().nonzero().squeeze(1), self.index.device)
        return take(self.hidden, self.index.flatten()[places]), self.gold.flatten()[places]


class TransferTagger(nn.Module):
    """Characters to words to CRF for one target and its sources.

    The forward pass gives a `Loss` when the parts of the batch have gold tags and predicted tag
    ids otherwise.
    """

    def __init__(
        self,
        encoder: EncoderSettings,
        objective: ObjectiveSettings,
        sharing: Sharing,
        sizes: TaggerSizes,
        projection: ProjectionName = "none",
    ) -> None:
        """Build an untrained tagger.

        ValueError for a task name that PyTorch cannot hold, and states too narrow for their masks.
        """
        super().__init__()
        for task in sizes.tasks:
            if not task or "." in task or hasattr(nn.ModuleDict(), task):
                raise ValueError(f"a task cannot be named {task!r}: choose another name, no dots")
        self.objective = objective
        self.sharing = sharing
        self.target, *self.sources = sizes.tasks
        self.embeddings = nn.ModuleDict(
            {
                group: WordEmbedding(rows, width, encoder.word_dropout)
                for group, (rows, width) in sizes.words.items()
                if not encoder.from_outside
            }
        )
        self.characters: CharacterEncoder | None = None
        if encoder.char_encoder != "none":
            self.characters = CharacterEncoder(encoder, sizes.characters)
        self.words = nn.ModuleDict(
            {group: WordEncoder(encoder, width) for group, (_, width) in sizes.words.items()}
        )
        self.projections = make_projections(
            projection, encoder.word_width, encoder.word_directions, list(sizes.tasks)
        )
        heads = {sharing.head_of(task): tags for task, tags in sizes.tasks.items()}
        self.heads = nn.ModuleDict(
            {name: Head(encoder.word_width + sizes.features, tags) for name, tags in heads.items()}
        )
        self.constraints = nn.ModuleDict(
            {task: TaskConstraints(tags) for task, tags in sizes.tasks.items()}
        )
        self.matched = nn.ModuleDict(
            {task: MatchedTags(pairs) for task, pairs in sizes.matched.items()}
        )

    def head(self, task: str) -> Head:
        """The head that `task` is tagged with."""
        head = self.heads[self.sharing.head_of(task)]
        assert isinstance(head, Head)
        return head

    def embedding(self, group: str) -> WordEmbedding:
        """The word embeddings of a word level."""
        embedding = self.embeddings[group]
        assert isinstance(embedding, WordEmbedding)
        return embedding

    def set_words(self, group: str, positions: Tensor, vectors: Tensor, rare: Tensor) -> None:
        """Start a word level's embeddings, its words counted from 0.

        Args:
            group: the word level.
            positions: [found] words that have a pretrained vector.
            vectors: [found, width] those vectors.
            rare: [words] whether word dropout applies.
        """
        embedding = self.embedding(group)
        with torch.no_grad():
            embedding.weight[positions + 1] = vectors.reshape(
                len(positions), embedding.weight.shape[1]
            )
            embedding.rare[1:] = rare

    def set_matched(self, source: str, pairs: list[tuple[int, int]]) -> None:
        """Set the matched tags (source, target) of a source."""
        self._pairs(source).copy_(torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2))

    def set_constraints(self, task: str, constraints: Constraints) -> None:
        """Set what decoding of a task allows."""
        for of_task, values in zip(self._constraints(task), constraints, strict=True):
            of_task.copy_(values)

    def set_dropout(self, rate: float) -> None:
        """Set every dropout layer's rate."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate

    def set_precision(self, dtype: torch.dtype | None) -> None:
        """Set what the encoders compute in; None for the type of their weights."""
        for module in self.modules():
            if isinstance(module, BiRecurrent | ConvolutionStack):
                module.precision = dtype

    def hidden(self, tokens: TokenBatch, task: str) -> Tensor:
        """Contextual hidden states of a batch, packed: [tokens, hidden]."""
        group = self.sharing.words_of(task)
        states = self.words[group](tokens.words.with_data(self._inputs(tokens, group)))
        assert isinstance(states, Tensor)
        return states

    def _inputs(self, tokens: TokenBatch, group: str) -> Tensor:
        """What a word encoder reads, packed: [tokens, word_embedding + char_width]."""
        of_words = []
        if tokens.vectors is None:
            rows = self.embeddings[group](tokens.rows, tokens.static_index, tokens.static)
            of_words.append(rows)
        if self.characters is not None:
            of_words.append(self.characters(tokens.characters, tokens.keys))
        if not of_words:
            assert tokens.vectors is not None
            return tokens.vectors
        of_tokens = take(torch.cat(of_words, dim=1), tokens.words.data)
        return of_tokens if tokens.vectors is None else torch.cat([tokens.vectors, of_tokens], 1)

    def forward(self, batch: list[GroupBatch]) -> Loss | dict[str, Decoded]:
        """The loss of gold tags, or what is predicted for each task."""
        # Precision is set by `set_precision` alone, not by an autocast around this call.
        with torch.autocast(batch[0].tokens.rows.device.type, enabled=False):
            parts = self._encode(batch)
            if any(part.tags is not None for group in batch for part in group.parts):
                return self._loss(parts)
            return {part.part.task: self._decode(part) for part in parts}

    @torch.no_grad()
    def n_best(
        self, batch: GroupBatch, n: int, temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The n most probable tag sequences of the sentences of one task: tags [s, n, time], their
        log-probabilities [s, n], -inf where there are fewer, and lengths [s] on the CPU."""
        with torch.autocast(batch.tokens.rows.device.type, enabled=False):
            [part] = self._encode([batch])
            crf, emissions, lengths = self._score(part)
            crf, emissions = crf.at_temperature(temperature), emissions / temperature
            tags, logs = n_best(crf, emissions, lengths, n, self._constraints(part.part.task))
            return tags, logs, part.lengths

    def _encode(self, batch: list[GroupBatch]) -> list[TaggedPart]:
        parts = []
        for group in batch:
            states = self.hidden(group.tokens, group.parts[0].task)
            for part in group.parts:
                where = group.tokens.words.index(part.ranks)
                parts.append(TaggedPart(part, states, group.tokens.features, *where))
        return parts

    def _score(self, part: TaggedPart) -> tuple[CRF, Tensor, Tensor]:
        """The CRF of a part, its emissions, and its lengths where these are."""
        task = part.part.task
        head = self.head(task)
        emissions = part.emissions(head, self.projections[task])
        if part.part.barred is not None:
            # What is -inf is on no path, as with constraints: whatever the other scores are.
            emissions = emissions.masked_fill(part.part.barred, -math.inf)
        return head.crf, emissions, send(part.lengths, emissions.device)

    def _decode(self, part: TaggedPart) -> Decoded:
        segments, constraints = part.part.segments, self._constraints(part.part.task)
        crf, emissions, lengths = self._score(part)
        tags = crf.decode(emissions, lengths, constraints)
        posteriors = None
        if segments is not None:
            counted, continues = (send(of_tags, emissions.device) for of_tags in segments[:2])
            segments = Segments(counted, continues, segments.temperature)
            posteriors = segment_posteriors(crf, emissions, tags, lengths, segments, constraints)
        return Decoded(tags, part.lengths, posteriors)

    def _loss(self, parts: list[TaggedPart]) -> Loss:
        settings = self.objective
        by_task = {part.part.task: part for part in parts}
        sources = [task for task in by_task if task != self.target]
        source_weight, target_weight = settings.crf_weights(len(sources), self.target in by_task)
        terms: dict[str, Tensor] = {}
        for task, part in by_task.items():
            weight = target_weight if task == self.target else source_weight
            terms[f"crf_{task}"] = weight * self._crf_loss(part)
        count = processes()
        if settings.alpha and self.target in by_task:
            for task in sources:
                mmd = self._mmd(by_task[task], by_task[self.target])
                terms[f"mmd_{task}"] = settings.alpha / count * mmd
        if settings.beta:
            for task in self.sources:
                if self.head(task) is not self.head(self.target):
                    terms[f"crf_l2_{task}"] = settings.beta / count * self._crf_l2(task)
        if settings.gamma:
            terms["l2"] = settings.gamma / count * self._squared_norm()
        total = torch.stack(list(terms.values())).sum()
        return Loss(total, {name: term.detach() for name, term in terms.items()})

    def _crf_loss(self, part: TaggedPart) -> Tensor:
        crf, emissions, lengths = self._score(part)
        of_tags = crf.partial_loss if part.part.partial else crf.loss
        constraints = self._constraints(part.part.task) if self.objective.constrained else None
        loss = of_tags(
            emissions, part.gold, lengths, cost=self.objective.cost, constraints=constraints
        )
        if part.part.weights is not None:
            # Over the number of sentences all the same: weights are to be what rates are under SGD.
            loss = loss * send(part.part.weights, loss.device)
        return loss.sum() / (part.part.total or len(loss))

    def _mmd(self, source: TaggedPart, target: TaggedPart) -> Tensor:
        settings = self.objective
        source_hidden, source_tags = gathered_tokens(*source.tokens())
        target_hidden, target_tags = gathered_tokens(*target.tokens())
        if settings.mmd == "marginal":
            return mmd2(source_hidden, target_hidden, settings.widths, settings.mmd_tokens)
        return label_aware_mmd(
            source_hidden,
            source_tags,
            target_hidden,
            target_tags,
            self._pairs(source.part.task),
            settings.widths,
            settings.mmd_tokens,
        )

    def _crf_l2(self, task: str) -> Tensor:
        source, target = self.head(task), self.head(self.target)
        return crf_l2(source.emission, source.crf, target.emission, target.crf, self._pairs(task))

    def _constraints(self, task: str) -> Constraints:
        constraints = self.constraints[task]
        assert isinstance(constraints, TaskConstraints)
        return constraints.get()

    def _pairs(self, task: str) -> Tensor:
        matched = self.matched[task]
        assert isinstance(matched, MatchedTags)
        return matched.pairs

    def _squared_norm(self) -> Tensor:
        norms = [
            parameter.pow(2).sum()
            for name, parameter in self.named_parameters()
            if not name.startswith(("embeddings.", "characters.embedding."))
        ]
        return torch.stack(norms).sum()
