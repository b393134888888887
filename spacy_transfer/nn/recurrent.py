"""A bidirectional recurrent layer over packed sequences: GRU, LSTM, and the GRU of Yang et al."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["gru", "gru-reset-before", "lstm"]


class BiRecurrent(nn.RNNBase):
    """One bidirectional recurrent layer over a packed batch.

    `gru` and `lstm` are the cells of `nn.GRU` and `nn.LSTM`. `gru-reset-before` is the GRU of Yang
    et al. (2017), §3.4, whose reset gate acts on the state before the recurrent product:

        r = σ(W_rx x + W_rh h)    z = σ(W_zx x + W_zh h)    h̃ = tanh(W_hx x + W_hh (r ⊙ h))
        h ← z ⊙ h + (1 - z) ⊙ h̃

    Parameters have the names, shapes, gate order (r, z, n or i, f, g, o) and initial distribution
    of a one-layer bidirectional `nn.GRU` or `nn.LSTM`, so that a state dict moves between them.
    """

    def __init__(self, cell: Cell, input_size: int, hidden_size: int) -> None:
        mode = "LSTM" if cell == "lstm" else "GRU"
        super().__init__(mode, input_size, hidden_size, bidirectional=True)
        self.cell: Cell = cell

    def forward(self, inputs: Tensor, batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Run both directions over sequences packed as in `torch.nn.utils.rnn.PackedSequence`.

        `inputs` [tokens, input_size] is time-major, sequences sorted by falling length;
        `batch_sizes` [time], int64 on the CPU, counts the sequences that reach each step.
        Returns the outputs [tokens, 2 * hidden_size], packed the same way, and the final states
        [batch, 2 * hidden_size]: the forward direction after a sequence's last step, the
        backward direction after its first.
        """
        if self.cell == "gru-reset-before":
            return self._reset_before(inputs, batch_sizes)
        start = inputs.new_zeros(2, int(batch_sizes[0]), self.hidden_size)
        options = (True, 1, 0.0, self.training, True)
        if self.cell == "gru":
            outputs, last = torch._VF.gru(inputs, batch_sizes, start, self._flat_weights, *options)
        else:
            outputs, last, _ = torch._VF.lstm(
                inputs, batch_sizes, (start, start), self._flat_weights, *options
            )
        return outputs, last.transpose(0, 1).flatten(1)

    def _reset_before(self, inputs: Tensor, batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
        sizes = batch_sizes.tolist()
        weights = self._flat_weights
        forward, forward_last = _run_forward(inputs, sizes, *weights[:4])
        backward, backward_last = _run_backward(inputs, sizes, *weights[4:])
        return (
            torch.cat([forward, backward], dim=1),
            torch.cat([forward_last, backward_last], dim=1),
        )


def _step(gates: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """One step of the reset-before GRU: `gates` [n, 3H] holds the input's part and both biases."""
    size = hidden.shape[1]
    reset, update = (
        torch.addmm(gates[:, : 2 * size], hidden, weight[: 2 * size].t()).sigmoid().chunk(2, dim=1)
    )
    candidate = torch.addmm(gates[:, 2 * size :], reset * hidden, weight[2 * size :].t()).tanh()
    return candidate + update * (hidden - candidate)


def _run_forward(
    inputs: Tensor, sizes: list[int], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor]:
    gates = torch.addmm(b_ih + b_hh, inputs, w_ih.t()).split(sizes)
    hidden = inputs.new_zeros(sizes[0], w_hh.shape[1])
    outputs, ended = [], []
    for gate, size in zip(gates, sizes, strict=True):
        ended.append(hidden[size:])
        hidden = _step(gate, hidden[:size], w_hh)
        outputs.append(hidden)
    ended.append(hidden)
    return torch.cat(outputs), torch.cat(ended[::-1])


def _run_backward(
    inputs: Tensor, sizes: list[int], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor]:
    gates = torch.addmm(b_ih + b_hh, inputs, w_ih.t()).split(sizes)
    hidden = inputs.new_zeros(0, w_hh.shape[1])
    outputs = []
    for gate, size in zip(gates[::-1], sizes[::-1], strict=True):
        hidden = torch.cat([hidden, hidden.new_zeros(size - len(hidden), hidden.shape[1])])
        hidden = _step(gate, hidden, w_hh)
        outputs.append(hidden)
    return torch.cat(outputs[::-1]), hidden
