"""A small tagger, a few sentences, and its loss computed sentence by sentence from its parts."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from spacy_transfer.nn.batch import GroupBatch, TaskPart, TokenBatch
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.projection import ProjectionName
from spacy_transfer.nn.sharing import Sharing
from spacy_transfer.nn.tagger import Loss, TaggerSizes, TransferTagger
from tests.nn import brute_force
from tests.nn.packing import pack

ENCODER = EncoderSettings(
    char_embedding=2,
    char_hidden=3,
    char_layers=1,
    word_embedding=4,
    word_hidden=3,
    word_layers=1,
    word_dropout=0.0,
)
WIDTHS = (0.5, 2.0)
OBJECTIVE = ObjectiveSettings(cost=0.7, alpha=0.2, beta=0.3, gamma=0.05, epsilon=0.4, widths=WIDTHS)
ONLY_CRF = ObjectiveSettings()
ROWS = {"target": 6, "source": 5, "other": 4}
PAIRS = {"source": [(0, 0), (1, 2), (3, 1)], "other": [(0, 0)]}
WORDS = [torch.tensor(word) for word in ([1, 2, 3, 1], [2, 0], [3, 3], [1], [2])]
"""The characters of the distinct words; all tests speak of words by their place in here."""
WORD_ROWS = [1, 0, 3, 2, 0]
SENTENCES = {
    "target": [[0, 1, 2], [3], [4, 0, 4, 2]],
    "source": [[2, 2], [1, 3, 0, 4]],
    "other": [[3, 0]],
}
GOLD = {
    "target": [[0, 2, 1], [1], [2, 0, 0, 1]],
    "source": [[3, 1], [0, 1, 3, 2]],
    "other": [[1, 0]],
}


def make_tagger(
    plan: str = "T-B",
    objective: ObjectiveSettings = OBJECTIVE,
    tasks: tuple[str, ...] = ("target", "source"),
    encoder: EncoderSettings = ENCODER,
    projection: ProjectionName = "none",
) -> TransferTagger:
    sharing = Sharing.of(tasks[0], plan, tasks[1:])
    labels = {"target": 3, "source": 4, "other": 2}
    if plan == "T-A":
        labels = dict.fromkeys(labels, 4)
    sizes = TaggerSizes(
        tasks={task: labels[task] for task in tasks},
        words={
            group: (ROWS[group], ENCODER.word_embedding)
            for group in {sharing.words_of(task): None for task in tasks}
        },
        characters=4,
        matched={task: len(PAIRS[task]) for task in tasks[1:]},
    )
    tagger = TransferTagger(encoder, objective, sharing, sizes, projection).double()
    for parameter in tagger.heads.parameters():
        nn.init.normal_(parameter)
    for task in tasks[1:]:
        tagger.set_matched(task, PAIRS[task])
    return tagger


def token_batch(sentences: list[list[int]]) -> tuple[TokenBatch, list[int]]:
    """Sentences, longest first, over all distinct words; and the rank of each."""
    order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i]))
    nothing = torch.empty(0, dtype=torch.int64), torch.empty(0, ENCODER.word_embedding)
    words = pack([torch.tensor(sentences[i]) for i in order])
    tokens = TokenBatch(words, pack(WORDS), torch.tensor(WORD_ROWS), *nothing)
    return tokens, [order.index(i) for i in range(len(sentences))]


def make_batch(
    tagger: TransferTagger, tasks: tuple[str, ...], gold: bool = True
) -> list[GroupBatch]:
    """The sentences of these tasks, those that share a word level in one call."""
    groups: dict[str, list[str]] = {}
    for task in tasks:
        groups.setdefault(tagger.sharing.words_of(task), []).append(task)
    batch = []
    for members in groups.values():
        tokens, ranks = token_batch([s for task in members for s in SENTENCES[task]])
        remaining = iter(ranks)
        parts = []
        for task in members:
            of_task = torch.tensor(list(itertools.islice(remaining, len(SENTENCES[task]))))
            padded = nn.utils.rnn.pad_sequence(
                [torch.tensor(tags) for tags in GOLD[task]], batch_first=True, padding_value=-7
            )
            parts.append(TaskPart(task, of_task, padded if gold else None))
        batch.append(GroupBatch(tokens, parts))
    return batch


def loss_of(tagger: TransferTagger, *tasks: str) -> Loss:
    loss = tagger(make_batch(tagger, tasks))
    assert isinstance(loss, Loss)
    return loss


def hidden_of(tagger: TransferTagger, task: str) -> list[Tensor]:
    """The hidden states [time, hidden] of each sentence of a task, encoded by itself."""
    return [tagger.hidden(token_batch([s])[0], task) for s in SENTENCES[task]]


def chain(tagger: TransferTagger, task: str, hidden: Tensor) -> brute_force.Chain:
    head = tagger.head(task)
    emissions = hidden @ head.emission.weight.T + head.emission.bias
    return brute_force.Chain.of(emissions, head.crf.start, head.crf.transitions, head.crf.end)


def crf_loss(tagger: TransferTagger, task: str, cost: float) -> float:
    return loss_from(tagger, task, hidden_of(tagger, task), cost)


def loss_from(tagger: TransferTagger, task: str, states: list[Tensor], cost: float) -> float:
    """The mean loss of a task's sentences, given what its head sees of each: [time, hidden]."""
    losses = [
        chain(tagger, task, hidden).softmax_margin(gold, cost)
        for hidden, gold in zip(states, GOLD[task], strict=True)
    ]
    return sum(losses) / len(losses)


def floats(loss: Loss) -> dict[str, float]:
    return {name: term.item() for name, term in loss.terms.items()}


def learning(tagger: TransferTagger, *tasks: str) -> set[str]:
    """The names of the parameters that get a gradient from sentences of these tasks."""
    tagger.zero_grad(set_to_none=True)
    loss_of(tagger, *tasks).total.backward()  # type: ignore[no-untyped-call]
    gradients = {
        name: parameter.grad.to_dense()
        for name, parameter in tagger.named_parameters()
        if parameter.grad is not None
    }
    return {name for name, gradient in gradients.items() if gradient.any()}
