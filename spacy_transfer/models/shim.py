"""The border between thinc and the tagger: one shim around the whole torch module."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from thinc.api import ArgsKwargs, Optimizer, PyTorchShim, Shim, get_torch_default_device, xp2torch
from torch import Tensor

from spacy_transfer.models.device import default_device, require_device
from spacy_transfer.models.gazetteer import POSITIONS, Gazetteer
from spacy_transfer.models.optimizer import Adagrad, ModuleAdagrad
from spacy_transfer.models.vocabulary import Normalizer, Vocabulary
from spacy_transfer.nn.encoders import EncoderSettings
from spacy_transfer.nn.objective import ObjectiveSettings
from spacy_transfer.nn.parallel import sum_gradients
from spacy_transfer.nn.projection import ProjectionName
from spacy_transfer.nn.sharing import Sharing
from spacy_transfer.nn.tagger import TaggerSizes, TransferTagger

_HEADER = "spacy_transfer.tagger.v1"
_GAZETTEER = "gazetteer."


@dataclass(frozen=True)
class WordLevel:
    """What a word level is built from.

    Attributes:
        words: its trained words, in the order of their rows (from 1).
        width: width of its word embeddings.
        static: whether other words are looked up in the pipeline's static vectors.
    """

    words: list[str]
    width: int
    static: bool = True


@dataclass(frozen=True)
class Blueprint:
    """All that is needed to build the network again around saved weights.

    Attributes:
        encoder: kinds and widths of the encoders.
        objective: the weights of the loss.
        sharing: which parameters the tasks share.
        tasks: number of tags of each task, the target first.
        matched: number of matched tag pairs of each source.
        words: the word levels.
        characters: the trained characters, in the order of their rows (from 1).
        gazetteers: names of the word lists that give features.
        gazetteer_lower: whether their words are compared in lower case.
        projection: what lies between the encoder and the heads.
        frozen: sources whose heads are not trained, unless they are the target's too.
    """

    encoder: EncoderSettings
    objective: ObjectiveSettings
    sharing: Sharing
    tasks: dict[str, int]
    matched: dict[str, int]
    words: dict[str, WordLevel]
    characters: str
    gazetteers: list[str] = field(default_factory=list)
    gazetteer_lower: bool = False
    projection: ProjectionName = "none"
    frozen: list[str] = field(default_factory=list)

    def build(self) -> TransferTagger:
        """An untrained network of this shape."""
        sizes = TaggerSizes(
            tasks=self.tasks,
            words={
                group: (len(level.words) + 1, level.width) for group, level in self.words.items()
            },
            characters=len(self.characters) + 1,
            matched=self.matched,
            features=len(POSITIONS) * len(self.gazetteers),
        )
        network = TransferTagger(self.encoder, self.objective, self.sharing, sizes, self.projection)
        for task in self.frozen:
            if self.sharing.head_of(task) == task:
                network.head(task).requires_grad_(False)
        return network

    def vocabularies(self, gazetteer: Gazetteer | None) -> dict[str, Vocabulary]:
        """How the Docs of each word level become indices."""
        normalize = Normalizer(self.encoder.lower, self.encoder.zero_digits)
        return {
            group: Vocabulary(
                level.words,
                self.characters,
                normalize,
                static=level.static,
                gazetteer=gazetteer,
            )
            for group, level in self.words.items()
        }

    def with_tasks(self, tasks: dict[str, int]) -> Blueprint:
        """The same network for these tasks and numbers of tags; what other tasks had alone goes."""
        groups = {self.sharing.words_of(task) for task in tasks}
        return replace(
            self,
            tasks=tasks,
            matched={task: pairs for task, pairs in self.matched.items() if task in tasks},
            words={group: level for group, level in self.words.items() if group in groups},
            frozen=[task for task in self.frozen if task in tasks],
        )

    def to_json(self) -> str:
        """The blueprint as the header of a weights file holds it."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Blueprint:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        objective = values["objective"]
        return cls(
            encoder=EncoderSettings(**values["encoder"]),
            objective=ObjectiveSettings(**{**objective, "widths": tuple(objective["widths"])}),
            sharing=Sharing(**values["sharing"]),
            words={group: WordLevel(**level) for group, level in values["words"].items()},
            **{name: values[name] for name in _PLAIN if name in values},
        )


_PLAIN = ("tasks", "matched", "characters", "gazetteers", "gazetteer_lower", "projection", "frozen")


class TransferShim(PyTorchShim):  # type: ignore[misc]
    """Holds the network once it is known, steps torch optimizers, saves safetensors.

    The network is None until `set_network` or loading. Weights are read from safetensors alone,
    never unpickled: a model from a stranger cannot run code.
    """

    def __init__(
        self, device: torch.device | None = None, precision: torch.dtype | None = None
    ) -> None:
        """Create an empty shim.

        Args:
            device: where the network is to be; None for `default_device`.
            precision: what its encoder computes in; None for the type of its weights.
        """
        super().__init__(None)
        self._wanted = device
        self._precision = precision
        self.blueprint: Blueprint | None = None
        self.vocabularies: dict[str, Vocabulary] = {}
        self._gazetteer: Gazetteer | None = None
        self._adagrad: ModuleAdagrad | None = None

    @property
    def network(self) -> TransferTagger:
        """The network; ValueError before initialisation."""
        if self._model is None:
            raise ValueError(
                "the model is not initialised: call nlp.initialize() or load a trained pipeline"
            )
        assert isinstance(self._model, TransferTagger)
        return self._model

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def set_network(
        self, blueprint: Blueprint, network: TransferTagger, gazetteer: Gazetteer | None = None
    ) -> None:
        """Take a network that was built from `blueprint`; ValueError if its device is missing."""
        device = require_device(self._wanted or default_device())
        self._take(blueprint, network, gazetteer, device)

    def _take(
        self,
        blueprint: Blueprint,
        network: TransferTagger,
        gazetteer: Gazetteer | None,
        device: torch.device,
    ) -> None:
        self.blueprint = blueprint
        self.vocabularies = blueprint.vocabularies(gazetteer)
        self._gazetteer = gazetteer
        self._model = network.to(device)
        self._model.set_precision(self._precision)
        self._adagrad = None

    def rebuild(self, blueprint: Blueprint) -> None:
        """Change the network's shape; weights that both shapes have are kept.

        The shim gets a new id: by the old one, thinc's optimizers keep moments of the old shape.
        """
        network = blueprint.build()
        old = self.network.state_dict()
        with torch.no_grad():
            for name, weights in network.state_dict().items():
                if name in old:
                    weights[tuple(slice(n) for n in old[name].shape)] = old[name]
        self._take(blueprint, network, self._gazetteer, self.device)
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Run the network in evaluation mode, and leave it there: threads may share it."""
        network = self.network.eval()
        with torch.no_grad():
            return network(*inputs.args, **inputs.kwargs)

    def finish_update(self, optimizer: Optimizer) -> None:
        """Step over the parameters that have gradients and clear those.

        Gradients are first summed over the processes, where several train together.
        """
        sum_gradients(self.network.parameters())
        if isinstance(optimizer, Adagrad):
            self._module_adagrad(optimizer).step()
            return
        for parameter in self.network.parameters():
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
        if self.device.type == get_torch_default_device().type:
            super().finish_update(optimizer)
            return
        # Where thinc cannot reach the parameters, its optimizers get copies.
        for name, parameter in self.network.named_parameters():
            if parameter.grad is not None:
                weights, gradient = (x.detach().cpu().numpy() for x in (parameter, parameter.grad))
                weights, _ = optimizer((self.id, name), weights, gradient)
                parameter.data.copy_(torch.from_numpy(weights))
                parameter.grad = None

    def _module_adagrad(self, optimizer: Adagrad) -> ModuleAdagrad:
        if self._adagrad is None or self._adagrad.settings is not optimizer:
            self._adagrad = ModuleAdagrad(self.network.parameters(), optimizer)
        return self._adagrad

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """What AdaGrad keeps of each parameter, by names; empty for optimizers of thinc, which keep
        it themselves. To be read, or copied to."""
        if not isinstance(optimizer, Adagrad):
            return {}
        names = [name for name, _ in self.network.named_parameters()]
        states = zip(names, self._module_adagrad(optimizer).state, strict=True)
        return {f"{name}/{kept}": t for name, state in states for kept, t in state.items()}

    @contextmanager
    def use_params(self, params: Mapping[tuple[int, str], Any]) -> Iterator[None]:
        """Have other parameters in the body, such as the averages that thinc's optimizers keep."""
        own = dict(self._model.named_parameters()) if self._model is not None else {}
        given = {name: params[self.id, name] for name in own if (self.id, name) in params}
        kept = {name: own[name].detach().clone() for name in given}
        for name, values in given.items():
            own[name].data.copy_(xp2torch(values))
        try:
            yield
        finally:
            for name, values in kept.items():
                own[name].data.copy_(values)

    def to_bytes(self) -> bytes:
        """Blueprint and weights as one safetensors file; empty before initialisation."""
        if self.blueprint is None:
            return b""
        weights = {name: t.contiguous().cpu() for name, t in self.network.state_dict().items()}
        if self._gazetteer is not None:
            weights |= {_GAZETTEER + name: t for name, t in self._gazetteer.state().items()}
        return save(weights, metadata={_HEADER: self.blueprint.to_json()})

    def from_bytes(self, bytes_data: bytes) -> TransferShim:
        """Read what `to_bytes` wrote; ValueError for anything else.

        Warns and takes the CPU where the device that the config names is missing.
        """
        if not bytes_data:
            return self
        weights, header = _read_safetensors(bytes_data)
        try:
            blueprint = Blueprint.from_json(header)
            gazetteer = _take_gazetteer(blueprint, weights)
            with torch.device("meta"):  # without initial weights: they take longer than loading
                network = blueprint.build()
            network.load_state_dict(weights, assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"the model's weights do not fit their header ({error}); nothing was loaded"
            ) from error
        self._take(blueprint, network, gazetteer, self._device_or_cpu())
        return self

    def _device_or_cpu(self) -> torch.device:
        try:
            return require_device(self._wanted or default_device())
        except ValueError as error:
            warnings.warn(f"{error}: the pipeline is loaded on the CPU", stacklevel=2)
            return torch.device("cpu")


def _take_gazetteer(blueprint: Blueprint, weights: dict[str, Tensor]) -> Gazetteer | None:
    if not blueprint.gazetteers:
        return None
    state = {name: weights.pop(_GAZETTEER + name).numpy() for name in ("words", "ends", "members")}
    return Gazetteer(blueprint.gazetteers, blueprint.gazetteer_lower, **state)


def _read_safetensors(data: bytes) -> tuple[dict[str, Tensor], str]:
    try:
        weights = load(data)
    except SafetensorError as error:
        raise ValueError(
            f"the model's weights are not a safetensors file ({error}); nothing was loaded"
        ) from error
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if _HEADER not in metadata:
        raise ValueError(f"the model's weights lack the header {_HEADER!r}; nothing was loaded")
    return weights, metadata[_HEADER]
