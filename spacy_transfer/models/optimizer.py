"""AdaGrad as the papers use it (Duchi et al. 2011)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from thinc.api import Optimizer
from thinc.backends import get_array_ops
from thinc.types import FloatsXd


class Adagrad(Optimizer):  # type: ignore[misc]
    """AdaGrad for thinc parameters; for a torch module it carries the settings.

    A `TransferShim` steps a `ModuleAdagrad` with these settings over its own module.
    """

    def __init__(
        self, learn_rate: Any, *, initial_accumulator: float, grad_clip: float, eps: float
    ) -> None:
        super().__init__(learn_rate, L2=0.0, eps=eps, grad_clip=grad_clip, use_averages=False)
        self.initial_accumulator = initial_accumulator

    def __call__(
        self, key: tuple[int, str], weights: FloatsXd, gradient: FloatsXd, *, lr_scale: float = 1.0
    ) -> tuple[FloatsXd, FloatsXd]:
        """Update a thinc parameter in place, clipped by its own norm, and zero its gradient."""
        ops = get_array_ops(weights)
        if self.grad_clip:
            gradient = ops.clip_gradient(gradient, self.grad_clip)
        if key not in self.mom2:
            self.mom2[key] = ops.alloc(weights.shape) + self.initial_accumulator
        self.mom2[key] += gradient * gradient
        weights -= lr_scale * self.learn_rate * gradient / (self.mom2[key] ** 0.5 + self.eps)
        gradient *= 0
        return weights, gradient


def adagrad(
    learn_rate: Any = 0.1,
    initial_accumulator: float = 0.01,
    grad_clip: float = 5.0,
    eps: float = 1e-8,
) -> Adagrad:
    """`spacy_transfer.Adagrad.v1`.

    Args:
        learn_rate: a number or a thinc schedule (Yang et al. use 0.01, Wang et al. 0.03).
        initial_accumulator: what the sum of squared gradients starts from (0 in Yang's code, 0.1
            in Wang's).
        grad_clip: largest norm of the gradient of all parameters of a module together; 0 for none.
        eps: added to the root of the accumulator.
    """
    return Adagrad(
        learn_rate, initial_accumulator=initial_accumulator, grad_clip=grad_clip, eps=eps
    )


_FUSED = "fused" in inspect.signature(torch.optim.Adagrad).parameters


class ModuleAdagrad:
    """AdaGrad over a torch module: fused for dense gradients, by row for sparse ones.

    The rows of an embedding table that a batch did not use cost nothing; the result is that of the
    dense update.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], settings: Adagrad) -> None:
        self.settings = settings
        self._parameters = list(parameters)
        # Fused AdaGrad is for the CPU, from torch 2.5 on; torch chooses well elsewhere.
        fused = {"fused": True} if _FUSED and all(p.is_cpu for p in self._parameters) else {}
        self._dense = torch.optim.Adagrad(
            self._parameters,
            initial_accumulator_value=settings.initial_accumulator,
            eps=settings.eps,
            **fused,
        )

    @property
    def state(self) -> list[dict[str, torch.Tensor]]:
        """What is kept of each parameter, in their order; to be read, or copied to."""
        return [self._dense.state[parameter] for parameter in self._parameters]

    def step(self) -> None:
        """Clip by the global norm, update the parameters that have gradients, clear those."""
        settings = self.settings
        rows = []
        for parameter in self._parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                rows.append((parameter, parameter.grad.coalesce()))
                parameter.grad = None
        if settings.grad_clip:
            dense = [p.grad for p in self._parameters if p.grad is not None]
            clip_global_norm([*dense, *(g.values() for _, g in rows)], settings.grad_clip)
        for parameter, gradient in rows:
            self._step_rows(parameter, gradient)
        for group in self._dense.param_groups:
            group["lr"] = settings.learn_rate
        self._dense.step()
        self._dense.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _step_rows(self, parameter: torch.nn.Parameter, gradient: torch.Tensor) -> None:
        rows, values = gradient.indices()[0], gradient.values()
        accumulator = self._dense.state[parameter]["sum"]
        sums = accumulator[rows].addcmul_(values, values)
        accumulator[rows] = sums
        step = values / sums.sqrt_().add_(self.settings.eps)
        parameter.index_add_(0, rows, step, alpha=-self.settings.learn_rate)


@torch.no_grad()
def clip_global_norm(gradients: list[torch.Tensor], limit: float) -> None:
    """Scale gradients in place so that their common norm is at most `limit`."""
    if not gradients:
        return
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    scale = torch.clamp(limit / (norm + 1e-6), max=1.0)
    # A look at the scale is free on a CPU, and would hold up a GPU.
    if not norm.is_cpu or scale < 1:
        for gradient in gradients:
            gradient.mul_(scale)
