"""All that training changes: parameters, what optimizers keep of them, and random states."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from thinc.api import Model, Ops, Optimizer, PyTorchShim, to_numpy
from torch import Tensor

from spacy_transfer.models.shim import TransferShim

_KEPT = ("mom1", "mom2", "averages")
_COUNTED = ("nr_update", "last_seen")


def capture(nlp: Language, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parameters and the optimizer's state: tensors on the CPU and counts, by names that hold in
    another process."""
    tensors = {f"parameters/{name}": tensor for name, tensor in _module_tensors(nlp).items()}
    for prefix, node in _nodes(nlp):
        for parameter in node.param_names:
            if node.has_param(parameter):
                values = torch.from_numpy(to_numpy(node.get_param(parameter)))
                tensors[f"parameters/{prefix}/{parameter}"] = values
    for prefix, shim in _shims(nlp):
        if isinstance(shim, TransferShim):
            for name, tensor in shim.optimizer_state(optimizer).items():
                tensors[f"optimizer/{prefix}/{name}"] = tensor
    names = {key: name for name, (key, _) in _optimized(nlp).items()}
    for kept in _KEPT:
        for key, values in (getattr(optimizer, kept) or {}).items():
            if key in names:
                tensors[f"{kept}/{names[key]}"] = torch.from_numpy(to_numpy(values))
    counts = {
        counted: {names[key]: n for key, n in getattr(optimizer, counted).items() if key in names}
        for counted in _COUNTED
    }
    # Copies: some share memory, which a safetensors file cannot.
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, counts


def restore(
    nlp: Language, optimizer: Optimizer, tensors: dict[str, Tensor], counts: dict[str, Any]
) -> None:
    """Put back what `capture` gave. ValueError where it is of another pipeline.

    Values are copied into what there is: memory that lies elsewhere would be added up otherwise.
    """
    expected, _ = capture(nlp, optimizer)
    shapes = {
        name: tensor.shape
        for name, tensor in tensors.items()
        if name.startswith(("parameters/", "optimizer/"))
    }
    if shapes != {name: tensor.shape for name, tensor in expected.items()}:
        raise ValueError("the checkpoint is of a pipeline of another shape")
    with torch.no_grad():
        for name, tensor in _module_tensors(nlp).items():
            tensor.copy_(tensors[f"parameters/{name}"])
        for prefix, shim in _shims(nlp):
            if isinstance(shim, TransferShim):
                for name, tensor in shim.optimizer_state(optimizer).items():
                    tensor.copy_(tensors[f"optimizer/{prefix}/{name}"])
    for prefix, node in _nodes(nlp):
        for parameter in node.param_names:
            if node.has_param(parameter):
                values = tensors[f"parameters/{prefix}/{parameter}"]
                node.set_param(parameter, node.ops.asarray(values.numpy()))
    optimized = _optimized(nlp)
    for name, tensor in tensors.items():
        kept, _, parameter = name.partition("/")
        if kept in _KEPT:
            key, ops = optimized[parameter]
            getattr(optimizer, kept)[key] = ops.asarray(tensor.numpy())
    for counted, numbers in counts.items():
        for name, n in numbers.items():
            key, _ = optimized[name]
            getattr(optimizer, counted)[key] = n


def random_states() -> dict[str, Any]:
    """The states of all global random numbers, in a form that JSON can hold."""
    # The one that thinc draws from.
    of_numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    assert isinstance(of_numpy, dict)
    state = of_numpy["state"]
    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states += torch.cuda.get_rng_state_all()
    return {
        "python": random.getstate(),
        "numpy": {**of_numpy, "state": {**state, "key": state["key"].tolist()}},
        "torch": [base64.b64encode(state.numpy().tobytes()).decode() for state in states],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put back what `random_states` gave."""
    version, values, gauss = states["python"]
    random.setstate((version, tuple(values), gauss))
    np.random.set_state(states["numpy"])  # noqa: NPY002
    of_cpu, *of_gpus = (
        torch.frombuffer(bytearray(base64.b64decode(state)), dtype=torch.uint8)
        for state in states["torch"]
    )
    torch.set_rng_state(of_cpu)
    for number, state in enumerate(of_gpus[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, number)


def _nodes(nlp: Language) -> Iterator[tuple[str, Model[Any, Any]]]:
    for name, pipe in nlp.pipeline:
        if isinstance(model := getattr(pipe, "model", None), Model):
            for number, node in enumerate(model.walk()):
                yield f"{name}/{number}", node


def _shims(nlp: Language) -> Iterator[tuple[str, PyTorchShim]]:
    for prefix, node in _nodes(nlp):
        yield from _shims_of(prefix, node)


def _shims_of(prefix: str, node: Model[Any, Any]) -> Iterator[tuple[str, PyTorchShim]]:
    for number, shim in enumerate(node.shims):
        if isinstance(shim, PyTorchShim) and shim._model is not None:
            yield f"{prefix}/{number}", shim


def _optimized(nlp: Language) -> dict[str, tuple[tuple[int, str], Ops]]:
    """The key of each parameter in an optimizer of thinc, and the arrays that it computes with, by
    a name that holds in another process."""
    found = {}
    for prefix, node in _nodes(nlp):
        for parameter in node.param_names:
            found[f"{prefix}/{parameter}"] = (node.id, parameter), node.ops
        for of_shim, shim in _shims_of(prefix, node):
            for parameter, _ in shim._model.named_parameters():
                found[f"{of_shim}/{parameter}"] = (shim.id, parameter), node.ops
    return found


def _module_tensors(nlp: Language) -> dict[str, Tensor]:
    """Parameters and buffers of torch modules, not copied."""
    return {
        f"{prefix}/{name}": tensor
        for prefix, shim in _shims(nlp)
        for name, tensor in shim._model.state_dict().items()
    }
