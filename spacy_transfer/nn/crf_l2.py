"""Parameter transfer between two CRFs: the squared distance of their scores for matched labels."""

from __future__ import annotations

from torch import Tensor, nn

from spacy_transfer.nn.crf import CRF


def crf_l2(
    source_emission: nn.Linear,
    source_crf: CRF,
    target_emission: nn.Linear,
    target_crf: CRF,
    matched: Tensor,
) -> Tensor:
    """L_p of Wang et al. 2018, section 4.4, over the matched labels only: a scalar.

    The emission layers map hidden states to labels; matched is [pairs, 2] int64, (source label,
    target label). The sum of squared differences of the emission rows, the biases and the
    transitions between matched labels, without a factor 1/2. The paper has no start and end
    scores; ours are transitions from and to the sentence boundary, which is the same in both
    tasks, and the bound on the KL divergence (Eq. 6) needs them, so they count too. 0 when no
    label is matched.
    """
    source, target = matched.unbind(1)

    # Not by indexing, whose gradients threads add up in any order.
    def distance(of_source: Tensor, of_target: Tensor, dims: int = 1) -> Tensor:
        for dim in range(dims):
            of_source = of_source.index_select(dim, source)
            of_target = of_target.index_select(dim, target)
        return (of_source - of_target).square().sum()

    return (
        distance(source_emission.weight, target_emission.weight)
        + distance(source_emission.bias, target_emission.bias)
        + distance(source_crf.transitions, target_crf.transitions, dims=2)
        + distance(source_crf.start, target_crf.start)
        + distance(source_crf.end, target_crf.end)
    )
