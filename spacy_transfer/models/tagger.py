"""The thinc model: Docs in, tag ids or a loss out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from spacy.tokens import Doc
from thinc.api import ArgsKwargs, Model
from thinc.types import Floats2d

from spacy_transfer.models.device import read_device
from spacy_transfer.models.shim import TransferShim
from spacy_transfer.models.tok2vec import Tok2Vec, TokenVectors
from spacy_transfer.nn.batch import GroupBatch, Segments, TaskPart, send
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.parallel import processes, rank, summed
from spacy_transfer.nn.projection import PROJECTIONS, ProjectionName
from spacy_transfer.nn.sharing import PLANS
from spacy_transfer.nn.tagger import Decoded, Loss


@dataclass(frozen=True)
class TaskDocs:
    """Docs of one task, none of them empty, with their gold tag ids in training (-1: not known).

    `segments` asks for the posteriors of what is predicted. `total` counts the Docs of all
    processes where each has its share (None: these are all). `weights` scale the CRF losses of the
    Docs (None: all are 1). `barred` are the tags that tokens cannot have in prediction, [tokens,
    tags] of each Doc (None: they can have any).
    """

    task: str
    docs: list[Doc]
    tags: list[NDArray[np.int64]] | None = None
    segments: Segments | None = None
    total: int | None = None
    weights: list[float] | None = None
    barred: list[NDArray[np.bool_]] | None = None

    def share(self) -> TaskDocs:
        """This process's part of them; ValueError where there is not one for each process."""
        first, step = rank(), processes()
        if len(self.docs) < step:
            raise ValueError(
                f"{len(self.docs)} annotated sentences of task {self.task!r} in a batch are too "
                f"few for {step} processes: larger batches are needed"
            )
        tags = None if self.tags is None else self.tags[first::step]
        weights = None if self.weights is None else self.weights[first::step]
        return TaskDocs(
            self.task, self.docs[first::step], tags, total=len(self.docs), weights=weights
        )


@dataclass(frozen=True)
class TaggerInput:
    """Docs of some tasks, each task once.

    `docs` are all Docs of a batch, in its order and with those that no part has: what a tok2vec
    that listens to another component was told in training. None: those of the parts.
    """

    parts: list[TaskDocs]
    docs: list[Doc] | None = None

    def all_docs(self) -> list[Doc]:
        """What the tok2vec is given."""
        if self.docs is not None:
            return self.docs
        return [doc for part in self.parts for doc in part.docs]


@dataclass(frozen=True)
class LossTerms:
    """The value of the loss and of its terms by name; the terms add up to it."""

    total: float
    terms: dict[str, float]


class Prediction(NamedTuple):
    """What is predicted for a Doc.

    Attributes:
        tags: [tokens] tag ids.
        posteriors: [tokens] the posterior of each segment at its first token, else 0; None where
            they were not asked for.
    """

    tags: NDArray[np.int64]
    posteriors: NDArray[np.floating[Any]] | None = None


TaggerOutput = dict[str, list[Prediction]] | list[Prediction] | LossTerms
TransferModel: TypeAlias = Model[TaggerInput | list[Doc], TaggerOutput]
PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}


def transfer_tagger(
    encoder: EncoderSettings,
    objective: ObjectiveSettings,
    sharing: str | dict[str, str] = "T-B",
    projection: ProjectionName = "none",
    device: str | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
    tok2vec: Model[list[Doc], list[Floats2d]] | None = None,
) -> TransferModel:
    """`spacy_transfer.TransferTagger.v1`: a GRU-CRF (or LSTM-, CNN-) tagger for a target and its
    sources. ValueError for an unknown sharing plan, projection, device or precision, and where a
    word encoder is needed and there is none.

    Args:
        encoder: kinds and widths of the encoders.
        objective: what is minimised.
        sharing: what sources have in common with the target: T-A, T-B or T-C, for all sources or
            for each by its name.
        projection: what each task has of its own between the encoder and the CRF, for T-A: `none`,
            a `linear` map, or a `domain-mask`.
        device: where the network is: a device of torch, such as `cuda:1`; null for that of
            `--gpu-id`, else of thinc. A saved pipeline whose device is missing loads on the CPU.
        precision: what the encoder computes in. Weights, the CRF and all other terms of the loss
            are in float32 with both. bfloat16 is for GPUs: on the CPU, compiled loops go on in
            float32. Recurrent layers are fast in it from torch 2.10 with cuDNN 9.13 on.
        tok2vec: any tok2vec of spaCy, such as a listener to a pretrained transformer, that gives
            the vectors of words: no word is looked up then, and the word encoder on top may be
            `none`. All tasks share it; with T-C, each has a word encoder of its own.

    In training its input carries gold tags and its output is the loss, whose gradient is 1; in
    prediction the output is, for each task, a `Prediction` a Doc. A list of Docs is predicted as of
    the target, and gives a list.
    """
    if tok2vec is None and encoder.word_encoder == "none":
        raise ValueError("word_encoder may be none with a tok2vec alone: set one of both")
    for plan in sharing.values() if isinstance(sharing, dict) else [sharing]:
        if plan not in PLANS:
            raise ValueError(f"sharing must be one of {', '.join(PLANS)}; found {plan!r}")
        if plan == "T-C" and encoder.word_encoder == "none":
            raise ValueError(
                "with T-C each task has a word encoder of its own: set word_encoder, or share more "
                "by T-B"
            )
    if projection not in PROJECTIONS:
        raise ValueError(
            f"projection must be one of {', '.join(PROJECTIONS)}; found {projection!r}"
        )
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; found {precision!r}")
    return Model(
        "transfer_tagger",
        forward,
        layers=[] if tok2vec is None else [tok2vec],
        shims=[TransferShim(read_device(device), PRECISIONS[precision])],
        attrs={
            "encoder": replace(encoder, from_outside=tok2vec is not None),
            "objective": objective,
            "sharing": sharing,
            "projection": projection,
            "dropout_rate": 0.0,
        },
    )


def shim_of(model: TransferModel) -> TransferShim:
    """The shim that holds the network."""
    shim = model.shims[0]
    assert isinstance(shim, TransferShim)
    return shim


def tok2vec_of(model: TransferModel) -> Tok2Vec | None:
    """The tok2vec below the network, if there is one."""
    return model.layers[0] if model.layers else None


def forward(
    model: TransferModel, inputs: TaggerInput | list[Doc], is_train: bool
) -> tuple[TaggerOutput, Callable[[float], list[Any]]]:
    """Tag ids or the loss; the callback takes the gradient of the loss.

    Without parts there is nothing to learn, but where other components listen to the same one,
    their gradients may wait for those of this tok2vec. ValueError for Docs alone in training.
    """
    if not isinstance(inputs, TaggerInput):
        if is_train:
            raise ValueError("Docs have no gold tags to learn from: call the component's update")
        return _predicted(model, inputs), lambda _: []
    shim = shim_of(model)
    shim.network.set_dropout(model.attrs["dropout_rate"])
    vectors = _vectors(model, inputs, is_train)
    if not inputs.parts:
        assert vectors is not None
        return LossTerms(0.0, {}), vectors.backprop
    batch = ArgsKwargs((_group(shim, inputs.parts, vectors),), {})
    output, torch_backprop = shim(batch, is_train)
    if not isinstance(output, Loss):
        return {task: _trim(decoded) for task, decoded in output.items()}, lambda _: []

    def backprop(gradient: float) -> list[Any]:
        grads = torch.full_like(output.total, gradient)
        torch_backprop(ArgsKwargs(((output.total,),), {"grad_tensors": (grads,)}))
        return [] if vectors is None else vectors.backprop(gradient)

    values = summed(torch.stack(list(output.terms.values()))).tolist()
    return LossTerms(sum(values), dict(zip(output.terms, values, strict=True))), backprop


def _predicted(model: TransferModel, docs: list[Doc]) -> list[Prediction]:
    """What is predicted for any Docs as texts of the target."""
    target = shim_of(model).network.target
    filled = [doc for doc in docs if len(doc)]
    found: list[Prediction] = []
    if filled:
        output = model.predict(TaggerInput([TaskDocs(target, filled)]))
        assert isinstance(output, dict)
        found = output[target]
    of_filled = iter(found)
    return [next(of_filled) if len(doc) else Prediction(np.zeros(0, np.int64)) for doc in docs]


def n_best(
    model: TransferModel, docs: TaskDocs, n: int, temperature: float = 1.0
) -> list[list[tuple[NDArray[np.int64], float]]]:
    """For each Doc its most probable sequences of tag ids, at most n, with their probabilities."""
    shim = shim_of(model)
    network = shim.network.eval()
    inputs = TaggerInput([docs])
    [batch] = _group(shim, inputs.parts, _vectors(model, inputs))
    tags, logs, lengths = network.n_best(batch, n, temperature)
    probabilities = logs.exp().tolist()
    return [
        [(path[:length], p) for path, p in zip(paths, of_paths, strict=True) if p > 0.0]
        for paths, of_paths, length in zip(
            tags.cpu().numpy(), probabilities, lengths.tolist(), strict=True
        )
    ]


def hidden_states(model: TransferModel, inputs: TaskDocs) -> list[NDArray[np.float32]]:
    """The encoder's state of each token of each Doc, [tokens, hidden], in evaluation mode.

    These are what La-MMD compares; the CRF reads them through the projection, if there is one.
    """
    shim = shim_of(model)
    network = shim.network.eval()
    vectors = _vectors(model, TaggerInput([inputs]))
    [group] = _group(shim, [inputs], vectors)
    with torch.no_grad():
        states = network.hidden(group.tokens, inputs.task).float().cpu().numpy()
    index, lengths = group.tokens.words.index(group.parts[0].ranks)
    return [
        states[row[:length]]
        for row, length in zip(index.cpu().numpy(), lengths.tolist(), strict=True)
    ]


def _vectors(
    model: TransferModel, inputs: TaggerInput, is_train: bool = False
) -> TokenVectors | None:
    tok2vec, device = tok2vec_of(model), shim_of(model).device
    if tok2vec is None:
        return None
    return TokenVectors(tok2vec, inputs.all_docs(), device, is_train=is_train)


def _group(
    shim: TransferShim, inputs: list[TaskDocs], vectors: TokenVectors | None
) -> list[GroupBatch]:
    """Put tasks that share a word level into one batch."""
    groups: dict[str, list[TaskDocs]] = {}
    for part in inputs:
        groups.setdefault(shim.network.sharing.words_of(part.task), []).append(part)
    batches = []
    for group, parts in groups.items():
        docs = [doc for part in parts for doc in part.docs]
        tokens, ranks = shim.vocabularies[group].batch(docs, shim.device)
        if vectors is not None:
            tokens = replace(tokens, vectors=vectors.packed(docs, tokens.words, ranks))
        split = torch.split(ranks, [len(part.docs) for part in parts])
        batches.append(
            GroupBatch(
                tokens,
                [
                    TaskPart(
                        part.task,
                        of_part,
                        _pad(part.tags, shim.device),
                        segments=part.segments,
                        partial=any((tags < 0).any() for tags in part.tags or ()),
                        total=part.total,
                        weights=None if part.weights is None else torch.tensor(part.weights),
                        barred=_pad(part.barred, shim.device),
                    )
                    for part, of_part in zip(parts, split, strict=True)
                ],
            )
        )
    return batches


def _pad(sequences: Sequence[NDArray[Any]] | None, device: torch.device) -> torch.Tensor | None:
    """Sequences [length, ...] as [n, time, ...], 0 at padding."""
    if sequences is None:
        return None
    first, time = sequences[0], max(map(len, sequences))
    padded = np.zeros((len(sequences), time, *first.shape[1:]), dtype=first.dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return send(torch.from_numpy(padded), device)


def _trim(decoded: Decoded) -> list[Prediction]:
    lengths, tags = decoded.lengths.tolist(), decoded.tags.cpu().numpy()
    if decoded.posteriors is None:
        return [Prediction(row[:n]) for row, n in zip(tags, lengths, strict=True)]
    posteriors = decoded.posteriors.cpu().numpy()
    return [
        Prediction(row[:n], of_row[:n])
        for row, of_row, n in zip(tags, posteriors, lengths, strict=True)
    ]
