from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from spacy.util import registry
from thinc.api import Linear
from torch import Tensor, nn

from spacy_transfer.models.optimizer import ModuleAdagrad, adagrad, clip_global_norm


class Network(nn.Module):
    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 3, sparse=sparse)
        self.layer = nn.Linear(3, 2)
        self.unused = nn.Linear(2, 2)

    def forward(self, rows: Tensor) -> Tensor:
        return torch.tanh(self.layer(self.embedding(rows))).pow(2).sum()


def twins() -> tuple[Network, Network]:
    ours, theirs = Network(sparse=True).double(), Network(sparse=False).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def batches(count: int) -> Iterator[Tensor]:
    """Rows of the embedding, some of them twice; row 7 never."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield torch.randint(0, 7, (5,), generator=generator)


@pytest.mark.parametrize("initial", [0.0, 0.1])
@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_many_steps_equal_dense_adagrad_of_torch(initial: float, clip: float) -> None:
    ours, theirs = twins()
    settings = adagrad(0.05, initial_accumulator=initial, grad_clip=clip, eps=1e-8)
    optimizer = ModuleAdagrad(ours.parameters(), settings)
    reference = torch.optim.Adagrad(
        theirs.parameters(), lr=0.05, initial_accumulator_value=initial, eps=1e-8
    )
    clipped, before = 0, ours(torch.arange(7)).item()
    for rows in batches(60):
        ours(rows).backward()
        assert ours.embedding.weight.grad is not None
        assert ours.embedding.weight.grad.is_sparse
        optimizer.step()
        assert all(parameter.grad is None for parameter in ours.parameters())
        reference.zero_grad()
        theirs(rows).backward()
        if clip:
            clipped += int(nn.utils.clip_grad_norm_(theirs.parameters(), clip) > clip)
        reference.step()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)
    assert clipped or not clip
    assert ours(torch.arange(7)).item() < before / 2


def test_what_a_batch_does_not_use_stays() -> None:
    ours, _ = twins()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    optimizer = ModuleAdagrad(ours.parameters(), adagrad(0.1))
    ours(torch.tensor([2, 5])).backward()
    optimizer.step()
    changed = (ours.embedding.weight != before["embedding.weight"]).any(1)
    assert changed.nonzero().flatten().tolist() == [2, 5]
    assert torch.equal(ours.unused.weight, before["unused.weight"])
    assert not torch.equal(ours.layer.weight, before["layer.weight"])


def test_step_without_gradients_does_nothing() -> None:
    ours, theirs = twins()
    ModuleAdagrad(ours.parameters(), adagrad()).step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("limit", [0.01, 1.0, 1e6])
def test_global_norm(limit: float) -> None:
    gradients = [torch.randn(5, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64)]
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_(parameters, limit)
    clip_global_norm(gradients, limit)
    for parameter, found in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_thinc_parameters(clip: float) -> None:
    rng = np.random.default_rng(0)
    layer = Linear(2, 3)
    layer.initialize()
    theirs = {name: torch.tensor(np.array(layer.get_param(name))) for name in ("W", "b")}
    parameters = {name: nn.Parameter(value.clone()) for name, value in theirs.items()}
    ours = adagrad(0.1, initial_accumulator=0.2, grad_clip=clip, eps=1e-8)
    reference = torch.optim.Adagrad(
        parameters.values(), lr=0.1, initial_accumulator_value=0.2, eps=1e-8
    )
    for _ in range(20):
        for name, parameter in parameters.items():
            gradient = rng.normal(size=parameter.shape).astype("float32")
            layer.inc_grad(name, gradient)
            parameter.grad = torch.tensor(gradient)
            if clip:  # thinc clips each parameter by itself
                nn.utils.clip_grad_norm_([parameter], clip)
        layer.finish_update(ours)
        reference.step()
        for name, parameter in parameters.items():
            np.testing.assert_allclose(
                layer.get_param(name), parameter.detach().numpy(), rtol=1e-4, atol=1e-6
            )
            assert not np.any(layer.get_grad(name))


def test_learn_rate_may_be_a_schedule() -> None:
    block = {
        "@optimizers": "spacy_transfer.Adagrad.v1",
        "learn_rate": {
            "@schedules": "warmup_linear.v1",
            "initial_rate": 0.1,
            "warmup_steps": 2,
            "total_steps": 4,
        },
        "initial_accumulator": 0.5,
        "grad_clip": 0.0,
    }
    settings = registry.resolve({"optimizer": block})["optimizer"]
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = ModuleAdagrad([parameter], settings)
    rates = [0.0, 0.05, 0.1, 0.05]
    expected, accumulated = 0.0, 0.5
    for rate in rates:
        parameter.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
        settings.step_schedules()
        accumulated += 1.0
        expected -= rate / (accumulated**0.5 + 1e-8)
        assert parameter.item() == pytest.approx(expected, rel=1e-12)
