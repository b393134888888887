"""The bidirectional layer, on torch's kernels and on the compiled loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from spacy_transfer.nn.kernels.recurrence import compiled
from spacy_transfer.nn.recurrent import BiRecurrent, Cell

CELLS: list[Cell] = ["gru", "gru-reset-before", "lstm"]
RAGGED = [4, 1, 7, 7, 2]


@pytest.fixture(params=["torch", "compiled"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test on both paths, and make sure that it is on the path it says."""
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", "off" if request.param == "torch" else "on")
    if request.param == "compiled":
        pytest.importorskip("numba", reason="the compiled loops need numba")
    layer = BiRecurrent("gru", 2, 2)
    loops = compiled("gru", torch.zeros(1, 2), list(layer.parameters()))
    if request.param == "compiled" and loops is None:
        pytest.skip("torch's BLAS cannot be called on this platform")
    assert (loops is None) == (request.param == "torch")


def packed(lengths: list[int], width: int, dtype: torch.dtype = torch.float64) -> PackedSequence:
    torch.manual_seed(sum(lengths))
    sequences = [torch.randn(length, width, dtype=dtype) for length in lengths]
    return pack_sequence(sequences, enforce_sorted=False)


def by_equation(layer: BiRecurrent, sequence: Tensor) -> tuple[Tensor, Tensor]:
    """Yang et al. (2017), §3.4, step by step for one sequence."""
    size, outputs, finals = layer.hidden_size, [], []
    for suffix in ("", "_reverse"):
        w = {name: getattr(layer, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh")}
        bias = getattr(layer, f"bias_ih_l0{suffix}") + getattr(layer, f"bias_hh_l0{suffix}")
        (w_rx, w_zx, w_hx), (w_rh, w_zh, w_hh) = (w[name].split(size) for name in w)
        b_r, b_z, b_h = bias.split(size)
        h, states = torch.zeros(size, dtype=sequence.dtype), []
        for x in sequence.flip(0) if suffix else sequence:
            r = torch.sigmoid(w_rx @ x + w_rh @ h + b_r)
            z = torch.sigmoid(w_zx @ x + w_zh @ h + b_z)
            candidate = torch.tanh(w_hx @ x + w_hh @ (r * h) + b_h)
            h = z * h + (1 - z) * candidate
            states.append(h)
        finals.append(h)
        outputs.append(torch.stack(states[::-1] if suffix else states))
    return torch.cat(outputs, dim=1), torch.cat(finals)


@pytest.mark.parametrize("lengths", [RAGGED, [1], [1, 1, 1], [6], [3, 3]])
def test_reset_before_follows_the_equation(lengths: list[int]) -> None:
    layer, inputs = BiRecurrent("gru-reset-before", 3, 5).double(), packed(lengths, 3)
    outputs, final = layer(inputs.data, inputs.batch_sizes)
    expected = [by_equation(layer, s) for s in nn.utils.rnn.unpack_sequence(inputs)]
    order = inputs.sorted_indices
    torch.testing.assert_close(final, torch.stack([e[1] for e in expected])[order])
    torch.testing.assert_close(
        outputs, pack_sequence([e[0] for e in expected], enforce_sorted=False).data
    )


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("lengths", [RAGGED, [1], [6], [3, 3]])
def test_equals_torch_with_the_same_state_dict(cell: Cell, lengths: list[int]) -> None:
    inputs, layer = packed(lengths, 3), BiRecurrent(cell, 3, 5).double()
    reference = (nn.LSTM if cell == "lstm" else nn.GRU)(3, 5, bidirectional=True).double()
    reference.load_state_dict(layer.state_dict())
    layer.load_state_dict(reference.state_dict())

    data, data_too = (inputs.data.clone().requires_grad_() for _ in range(2))
    outputs, final = layer(data, inputs.batch_sizes)
    # Sorted already: torch's wrapper would put the final states back into the given order.
    expected, last = reference(PackedSequence(data_too, inputs.batch_sizes))
    hidden = last[0] if cell == "lstm" else last
    torch.testing.assert_close(outputs, expected.data)
    torch.testing.assert_close(final, torch.cat([hidden[0], hidden[1]], dim=1))

    (outputs.sin().sum() + final.cos().sum()).backward()
    (expected.data.sin().sum() + hidden.cos().sum()).backward()
    torch.testing.assert_close(data.grad, data_too.grad)
    for (name, weight), other in zip(layer.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad, msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_final_states_are_the_ends_of_each_sequence(cell: Cell) -> None:
    inputs, layer = packed(RAGGED, 3), BiRecurrent(cell, 3, 4).double()
    outputs, final = layer(inputs.data, inputs.batch_sizes)
    for rank, length in enumerate(sorted(RAGGED, reverse=True)):
        starts = inputs.batch_sizes.cumsum(0) - inputs.batch_sizes
        torch.testing.assert_close(final[rank, :4], outputs[starts[length - 1] + rank, :4])
        torch.testing.assert_close(final[rank, 4:], outputs[rank, 4:])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [[3, 1, 2, 2], [1]])
def test_first_and_second_derivatives(cell: Cell, lengths: list[int]) -> None:
    inputs, layer = packed(lengths, 2), BiRecurrent(cell, 2, 3).double()
    names = [name for name, _ in layer.named_parameters()]

    def run(data: Tensor, *weights: Tensor) -> Any:
        values = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(layer, values, (data, inputs.batch_sizes))

    arguments = (inputs.data.requires_grad_(), *layer.parameters())
    assert torch.autograd.gradcheck(run, arguments)
    assert torch.autograd.gradgradcheck(run, arguments, fast_mode=True)


@pytest.mark.parametrize("cell", CELLS)
def test_frozen_parts_get_no_gradient(cell: Cell) -> None:
    inputs, layer = packed(RAGGED, 3), BiRecurrent(cell, 3, 4).double()
    layer(inputs.data, inputs.batch_sizes)[0].sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in layer.parameters())
    assert inputs.data.grad is None

    layer.zero_grad()
    layer.requires_grad_(False)
    data = inputs.data.clone().requires_grad_()
    layer(data, inputs.batch_sizes)[1].sum().backward()
    assert data.grad is not None
    assert data.grad.any()
    assert all(weight.grad is None for weight in layer.parameters())


@pytest.mark.parametrize(
    "sizes",
    [
        torch.tensor([2, 3]),  # rising
        torch.tensor([3, 1]),  # one row too few
        torch.tensor([4, 1, 0]),
        torch.tensor([], dtype=torch.int64),
        torch.tensor([3, 2], dtype=torch.int32),
    ],
)
def test_wrong_batch_sizes_are_refused(sizes: Tensor) -> None:
    with pytest.raises(ValueError, match="batch_sizes must be int64 on the CPU"):
        BiRecurrent("gru", 3, 4)(torch.zeros(5, 3), sizes)
