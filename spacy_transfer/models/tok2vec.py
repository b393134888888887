"""A spaCy tok2vec below the network: a layer of the thinc model, beside the shim.

It is what it is anywhere in spaCy: a listener to a component that others listen to as well, or a
network of its own, trained and saved by thinc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from thinc.api import Model, get_torch_default_device, torch2xp, xp2torch
from thinc.types import Floats2d
from torch import Tensor

from spacy_transfer.nn.batch import Packed, send, within
from spacy_transfer.nn.parallel import processes

Tok2Vec: TypeAlias = Model[list[Doc], list[Floats2d]]


def initialize_tok2vec(tok2vec: Tok2Vec, docs: list[Doc]) -> int:
    """Initialise it by some Docs that are not empty; its width.

    ValueError where it cannot be, such as a listener with nothing before it.
    """
    if not docs:
        raise ValueError("a tok2vec is initialised by examples: there are none with words")
    if processes() > 1:
        raise ValueError("several processes cannot train a tok2vec together: train with one")
    try:
        tok2vec.initialize(X=docs)
        return int(tok2vec.predict(docs)[0].shape[1])
    except (KeyError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the tok2vec cannot be initialised: {reason}") from error


def require_device_of_tok2vec(device: torch.device) -> None:
    """ValueError where a network on this device would be apart from its tok2vec."""
    of_thinc = get_torch_default_device()
    if device.type != of_thinc.type:
        raise ValueError(
            f"the network is on '{device}', its tok2vec with thinc on '{of_thinc}': a tok2vec "
            f"needs cupy to be on a GPU"
        )


class TokenVectors:
    """The vectors of all tokens of some Docs, for the network to compute with.

    In training they are a leaf of torch's graph, whose gradient `backprop` hands back.
    """

    def __init__(
        self, tok2vec: Tok2Vec, docs: Sequence[Doc], device: torch.device, *, is_train: bool
    ) -> None:
        """Run a tok2vec, once for all Docs: a listener was told the whole batch.

        ValueError for another device than its own, and in prediction for Docs that have not been
        through the component that it listens to.
        """
        require_device_of_tok2vec(device)
        docs = list(docs)
        if not is_train:
            _require_upstream(tok2vec, docs)
        self._arrays, self._backprop = tok2vec(docs, is_train)
        # That of an empty Doc may have any width.
        data = tok2vec.ops.xp.concatenate([array for array in self._arrays if len(array)])
        self._leaf = xp2torch(data, requires_grad=is_train, device=device)
        starts = np.cumsum([0, *(len(doc) for doc in docs)]).tolist()
        self._starts = {id(doc): start for doc, start in zip(docs, starts, strict=False)}

    def packed(self, docs: Sequence[Doc], words: Packed, ranks: Tensor) -> Tensor:
        """The vectors of some of these Docs, [tokens, width], in the order of `words`, where the
        Docs have these ranks."""
        starts = torch.tensor([self._starts[id(doc)] for doc in docs])
        # On the CPU, as all indices are made: to look at them on a GPU is to wait for it.
        places, lengths = Packed(starts, words.batch_sizes).index(ranks)
        inside = within(places.shape[1], lengths)
        rows = (starts[:, None] + torch.arange(places.shape[1]))[inside]
        order = torch.empty_like(rows)
        order[places[inside]] = rows
        return cast(Tensor, self._leaf)[send(order, self._leaf.device)].float()

    def backprop(self, _: float) -> list[Any]:
        """Hand back the gradient that the loss left here, zeros if there was none."""
        gradient = self._leaf.grad
        gradient = torch2xp(torch.zeros_like(self._leaf) if gradient is None else gradient)
        parts, start = [], 0
        for array in self._arrays:
            parts.append(gradient[start : start + len(array)] if len(array) else array)
            start += len(array)
        self._backprop(parts)
        return []


def _require_upstream(tok2vec: Tok2Vec, docs: Sequence[Doc]) -> None:
    """A listener takes Docs that it knows nothing of to be all zeros."""
    for node in tok2vec.walk():
        heard = _heard(node)
        if heard is not None and not all(map(heard, docs)):
            name = node.upstream_name
            before = "the tok2vec or transformer before it" if name == "*" else f"{name!r}"
            raise ValueError(
                f"a Doc has not been through {before}, whose vectors are needed: run the whole "
                f"pipeline on it first"
            )


def _heard(node: Model[Any, Any]) -> Callable[[Doc], bool] | None:
    """Whether a Doc has what a listener reads; None for a layer that is no listener."""
    if isinstance(node, Tok2VecListener):
        return lambda doc: bool(doc.tensor.size)
    if node.name == "transformer-listener":  # that of spacy-transformers, which may be missing
        return lambda doc: doc._.trf_data is not None
    return None
