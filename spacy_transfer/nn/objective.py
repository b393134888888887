"""What is minimised: CRF losses of source and target, and the ties between them.

L = sum of CRF losses + alpha * MMD + beta * CRF-L2 + gamma * L2      (Wang et al. 2018, §4.2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spacy_transfer.nn.mmd import AUTHOR_WIDTHS

MMDName = Literal["label-aware", "marginal"]


@dataclass(frozen=True)
class ObjectiveSettings:
    """Weights of the terms of the loss; the defaults leave the CRF likelihood alone.

    ValueError for a weight below 0, a share that is none, or kernels without a positive width.

    Attributes:
        cost: Hamming cost of the softmax-margin loss (Yang §3.4; 5 in the authors' code); 0 gives
            the plain likelihood.
        constrained: whether the CRF losses are of valid tag sequences alone, as decoding always is.
        mmd: `label-aware` (Wang Eq. 5) or `marginal` (their MMD-CRF-L2 ablation).
        alpha: weight of the MMD between source and target hidden states.
        beta: weight of the squared distance between matched CRF parameters (Wang §4.4).
        gamma: weight of the squared norm of all parameters but the embeddings.
        epsilon: share of the source in the CRF loss when both tasks are in a batch (Wang §4.2);
            None adds both losses up as they are.
        widths: widths of the RBF kernels of the MMD, summed.
        mmd_tokens: at most so many tokens of each label (of all together, where it is marginal)
            on each side are compared by the MMD, drawn anew at each step; None compares all.
    """

    cost: float = 0.0
    constrained: bool = False
    mmd: MMDName = "label-aware"
    alpha: float = 0.0
    beta: float = 0.0
    gamma: float = 0.0
    epsilon: float | None = None
    widths: tuple[float, ...] = AUTHOR_WIDTHS
    mmd_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("cost", "alpha", "beta", "gamma"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} must be at least 0; found {getattr(self, name)}")
        if self.epsilon is not None and not 0.0 <= self.epsilon <= 1.0:
            raise ValueError(f"epsilon must be between 0 and 1; found {self.epsilon}")
        if not self.widths or not min(self.widths) > 0.0:
            raise ValueError(f"widths must be positive numbers; found {self.widths}")
        if self.mmd_tokens is not None and self.mmd_tokens < 1:
            raise ValueError(f"mmd_tokens must be at least 1; found {self.mmd_tokens}")

    def crf_weights(self, sources: int, target: bool) -> tuple[float, float]:
        """Weights of each source's and of the target's CRF loss in a batch with these tasks."""
        if self.epsilon is None or not sources or not target:
            return 1.0, 1.0
        return self.epsilon / sources, 1.0 - self.epsilon
