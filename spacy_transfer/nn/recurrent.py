"""A bidirectional recurrent layer over packed sequences: GRU, LSTM, and the GRU of Yang et al.

On the CPU the layer runs on compiled loops (`nn/kernels`) where numba is installed: the same values
and gradients up to rounding, and in training two to four times the speed of torch on packed
batches. Elsewhere, and with SPACY_TRANSFER_KERNEL=off in the environment, it runs on torch's own
kernels, which on CUDA are cuDNN's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from spacy_transfer.nn.kernels.recurrence import Recurrence, compiled

Cell = Literal["gru", "gru-reset-before", "lstm"]


class BiRecurrent(nn.RNNBase):
    """One bidirectional recurrent layer over a packed batch.

    `gru` and `lstm` are the cells of `nn.GRU` and `nn.LSTM`. `gru-reset-before` is the GRU of Yang
    et al. (2017), §3.4, whose reset gate acts on the state before the recurrent product:

        r = σ(W_rx x + W_rh h)    z = σ(W_zx x + W_zh h)    h̃ = tanh(W_hx x + W_hh (r ⊙ h))
        h ← z ⊙ h + (1 - z) ⊙ h̃

    Parameters have the names, shapes and gate order (r, z, n or i, f, g, o) of a one-layer
    bidirectional `nn.GRU` or `nn.LSTM`, so that a state dict moves between them.

    `precision` is what torch's kernels compute in, between inputs and outputs of one type; None for
    that type. (Autocast would have cuDNN compute in float16, whatever type it is set to.)
    """

    precision: torch.dtype | None = None

    def __init__(self, cell: Cell, input_size: int, hidden_size: int) -> None:
        mode = "LSTM" if cell == "lstm" else "GRU"
        super().__init__(mode, input_size, hidden_size, bidirectional=True)
        self.cell: Cell = cell

    def reset_parameters(self) -> None:
        """Start each gate from Glorot's uniform distribution for inputs, an orthogonal matrix for
        states and no bias. Torch's own start is narrower, and wide layers learn less from it where
        labels are few."""
        for name, parameter in self.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
                continue
            for gate in torch.split(parameter, self.hidden_size):
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(gate)
                else:
                    nn.init.xavier_uniform_(gate)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.cell}, {self.input_size}, {self.hidden_size}"

    def forward(self, inputs: Tensor, batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Run both directions over sequences packed as in `torch.nn.utils.rnn.PackedSequence`.

        `inputs` [tokens, input_size] is time-major, sequences sorted by falling length;
        `batch_sizes` [time], int64 on the CPU, counts the sequences that reach each step.
        Returns the outputs [tokens, 2 * hidden_size], packed the same way, and the final states
        [batch, 2 * hidden_size]: the forward direction after a sequence's last step, the
        backward direction after its first. Raises `ValueError` where `batch_sizes` does not
        describe `inputs`.
        """
        _check_packing(inputs, batch_sizes)
        weights = [getattr(self, name) for name in self._flat_weights_names]
        loops = compiled(self.cell, inputs, weights)
        if loops is None:
            low = self.precision or inputs.dtype
            weights = [weight.to(low) for weight in weights]
            outputs, final = _layer(self.cell, inputs.to(low), batch_sizes, weights)
            return outputs.to(inputs.dtype), final.to(inputs.dtype)
        outputs, final = Recurrence.apply(  # type: ignore[no-untyped-call]
            loops, _layer, self.cell, batch_sizes, inputs, *weights
        )
        return outputs, final


def _check_packing(inputs: Tensor, batch_sizes: Tensor) -> None:
    if batch_sizes.dtype is torch.int64 and batch_sizes.is_cpu and len(batch_sizes):
        sizes = batch_sizes.numpy()
        if sizes[-1] > 0 and (sizes[1:] <= sizes[:-1]).all() and sizes.sum() == len(inputs):
            return
    raise ValueError(
        "batch_sizes must be int64 on the CPU, positive, falling, and sum to the "
        f"{len(inputs)} rows of inputs; it is {batch_sizes}"
    )


def _layer(
    cell: str, inputs: Tensor, batch_sizes: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The layer in torch; see `BiRecurrent.forward`."""
    if cell == "gru-reset-before":
        sizes = batch_sizes.tolist()
        forward, forward_final = _reset_before(inputs, sizes, *weights[:4], reverse=False)
        backward, backward_final = _reset_before(inputs, sizes, *weights[4:], reverse=True)
        return (
            torch.cat([forward, backward], dim=1),
            torch.cat([forward_final, backward_final], dim=1),
        )
    start = inputs.new_zeros(2, int(batch_sizes[0]), weights[1].shape[1])
    # With biases, one layer, no dropout, in training mode if there may be gradients, bidirectional.
    options = (True, 1, 0.0, torch.is_grad_enabled(), True)
    if cell == "gru":
        outputs, final = torch._VF.gru(inputs, batch_sizes, start, list(weights), *options)
    else:
        outputs, final, _ = torch._VF.lstm(
            inputs, batch_sizes, (start, start), list(weights), *options
        )
    return outputs, final.transpose(0, 1).flatten(1)


def _reset_before(
    inputs: Tensor,
    sizes: list[int],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
    *,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    size = w_hh.shape[1]
    gates = torch.split(torch.addmm(b_ih + b_hh, inputs, w_ih.t()), sizes)
    states = inputs.new_zeros(sizes[0], size)
    outputs = []
    for gate in reversed(gates) if reverse else gates:
        state = states[: len(gate)]
        both = torch.addmm(gate[:, : 2 * size], state, w_hh[: 2 * size].t()).sigmoid()
        r, z = both[:, :size], both[:, size:]
        candidate = torch.addmm(gate[:, 2 * size :], r * state, w_hh[2 * size :].t()).tanh()
        outputs.append(candidate + z * (state - candidate))
        # A sequence that has ended, or not begun, keeps its state.
        states = torch.cat([outputs[-1], states[len(gate) :]])
    return torch.cat(outputs[::-1] if reverse else outputs), states
