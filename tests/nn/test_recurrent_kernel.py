"""The compiled loops against torch's kernels, and everything that can go wrong around them."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from spacy_transfer.nn.kernels import availability, recurrence
from spacy_transfer.nn.kernels.native import native
from spacy_transfer.nn.kernels.recurrence import compiled
from spacy_transfer.nn.recurrent import BiRecurrent, Cell

numba = pytest.importorskip("numba", reason="the compiled loops need numba")
if compiled("gru", torch.zeros(1, 1), []) is None:
    pytest.skip("torch's BLAS cannot be called on this platform", allow_module_level=True)

CELLS: list[Cell] = ["gru", "gru-reset-before", "lstm"]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def batch(lengths: list[int], width: int) -> tuple[Tensor, Tensor]:
    sizes = [sum(length > t for length in lengths) for t in range(max(lengths))]
    torch.manual_seed(sum(sizes))
    return torch.randn(sum(sizes), width), torch.tensor(sizes)


def gradients(layer: BiRecurrent) -> list[Tensor]:
    return [weight.grad for weight in layer.parameters() if weight.grad is not None]


def run(layer: BiRecurrent, inputs: Tensor, sizes: Tensor, use: str = "both") -> list[Tensor]:
    """Outputs, final states, and all gradients of a random combination of what is used of them."""
    layer.zero_grad()
    inputs = inputs.detach().requires_grad_()
    results = layer(inputs, sizes)
    used = {"outputs": results[:1], "final": results[1:], "both": results}[use]
    torch.manual_seed(0)
    torch.autograd.backward(used, [torch.randn(result.shape) for result in used])
    assert inputs.grad is not None
    return [*results, inputs.grad, *(grad.clone() for grad in gradients(layer))]


def assert_equal(found: list[Tensor], expected: list[Tensor], relative: float = 1e-5) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= relative * other.norm()


def reference(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> list[Tensor]:
    with monkeypatch.context() as patch:
        patch.setenv("SPACY_TRANSFER_KERNEL", "off")
        return run(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("lengths", "width", "hidden"),
    [
        ([20] * 3 + [9] * 100 + [4] * 150 + [1] * 47, 25, 80),  # the characters of a batch's words
        ([40, 31, 22, 22, 14, 9, 8, 5, 3, 1], 21, 300),  # its words
        ([7], 5, 33),
        ([1, 1, 1], 5, 1),
        ([1], 1, 17),
    ],
    ids=["characters", "words", "one sequence", "one step", "one token"],
)
def test_equals_torch(
    cell: Cell, lengths: list[int], width: int, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, (inputs, sizes) = BiRecurrent(cell, width, hidden), batch(lengths, width)
    assert_equal(run(layer, inputs, sizes), reference(monkeypatch, layer, inputs, sizes))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("use", ["outputs", "final"])
def test_either_result_alone_has_the_right_gradient(
    cell: Cell, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, (inputs, sizes) = BiRecurrent(cell, 4, 6), batch([5, 3, 3, 1], 4)
    expected = reference(monkeypatch, layer, inputs, sizes, use)
    assert_equal(run(layer, inputs, sizes, use), expected)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_threads(
    cell: Cell, count: int, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, (inputs, sizes) = BiRecurrent(cell, 5, 9), batch([9, 8, 8, 3, 2, 1, 1], 5)
    expected = reference(monkeypatch, layer, inputs, sizes)
    monkeypatch.setattr(recurrence, "_BLOCK", 2)  # five threads: two blocks of sequences
    torch.set_num_threads(count)
    assert_equal(run(layer, inputs, sizes), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_without_torchs_parallel_loop(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        """The library before torch 2.10."""

        def __init__(self, path: str) -> None:
            library = load(path)
            self.sgemm_, self.dgemm_ = library.sgemm_, library.dgemm_

    load = ctypes.CDLL
    with monkeypatch.context() as patch:
        patch.setattr(ctypes, "CDLL", Old)
        old = native.__wrapped__()
    layer, (inputs, sizes) = BiRecurrent(cell, 4, 6), batch([5, 3, 3, 1], 4)
    expected = run(layer, inputs, sizes)
    monkeypatch.setattr(recurrence, "native", lambda: old)
    assert_equal(run(layer, inputs, sizes), expected, relative=1e-7)


def test_several_python_threads_at_once() -> None:
    jobs = [(BiRecurrent(cell, 12, 40), *batch(list(range(20, 0, -1)), 12)) for cell in CELLS * 2]
    expected = [layer(inputs, sizes)[0] for layer, inputs, sizes in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for _ in range(20):
            found = pool.map(lambda job: job[0](*job[1:])[0], jobs)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other)


@pytest.mark.parametrize("cell", CELLS)
def test_backward_twice_adds_the_same_gradient(cell: Cell) -> None:
    layer, (inputs, sizes) = BiRecurrent(cell, 4, 6), batch([5, 3, 3, 1], 4)
    outputs, final = layer(inputs, sizes)
    loss = outputs.square().sum() + final.sum()
    loss.backward(retain_graph=True)
    once = [grad.clone() for grad in gradients(layer)]
    loss.backward()
    torch.testing.assert_close(gradients(layer), [2 * grad for grad in once])


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_share_no_memory(cell: Cell) -> None:
    layer, (inputs, sizes) = BiRecurrent(cell, 4, 6), batch([5, 3, 3, 1], 4)
    layer(inputs, sizes)[0].sum().backward()
    storages = {grad.untyped_storage().data_ptr() for grad in gradients(layer)}
    assert len(storages) == 8  # clipping in place would scale a shared one twice


@pytest.mark.parametrize("cell", CELLS)
def test_saturated_gates_and_numbers_that_are_none(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, (inputs, sizes) = BiRecurrent(cell, 4, 20), batch([5, 3, 3, 1], 4)
    for scale in (1e2, 1e5, 1e30):
        found = run(layer, inputs * scale, sizes)
        expected = reference(monkeypatch, layer, inputs * scale, sizes)
        assert_equal(found[:2], expected[:2])
        assert all(bool(tensor.isfinite().all()) for tensor in found)
    inputs[0] = torch.nan  # the first token of the longest sequence
    outputs, _ = layer(inputs, sizes)
    assert outputs[0].isnan().all()
    assert outputs[-1, :20].isnan().all()
    assert not outputs[1].isnan().any()


def test_elementary_functions_are_accurate_to_the_last_bits() -> None:
    loops = pytest.importorskip("spacy_transfer.nn.kernels.loops")
    sigmoid, tanh = loops._sigmoid, loops._tanh

    @numba.njit  # type: ignore[untyped-decorator]
    def both(x: np.ndarray) -> np.ndarray:
        y = np.empty((2, len(x)), x.dtype)
        for i in range(len(x)):
            y[0, i], y[1, i] = sigmoid(x[i]), tanh(x[i])
        return y

    size = np.concatenate([np.geomspace(1e-30, 80, 20001), [0.0, 0.29999, 0.3, 0.30001]])
    for dtype, tolerance in ((np.float32, 4e-7), (np.float64, 1e-15)):
        x = np.concatenate([size, -size]).astype(dtype)
        exact = x.astype(np.longdouble)
        np.testing.assert_allclose(both(x)[0], 1 / (1 + np.exp(-exact)), rtol=tolerance)
        np.testing.assert_allclose(both(x)[1], np.tanh(exact), rtol=tolerance)
        limits = both(np.array([np.inf, -np.inf], dtype))
        np.testing.assert_allclose(limits, [[1, 0], [1, -1]], atol=1e-37)
        assert np.isnan(both(np.array([np.nan], dtype))).all()


@pytest.mark.parametrize(
    ("inputs", "weight"),
    [
        (torch.zeros(1, 2).bfloat16(), torch.zeros(1).bfloat16()),
        (torch.zeros(1, 2), torch.zeros(1).double()),
        (torch.zeros(1, 2), torch.zeros(1, device="meta")),
        (torch.zeros(1, 2).to_sparse(), torch.zeros(1)),
    ],
    ids=["bfloat16", "mixed types", "mixed devices", "sparse"],
)
def test_other_tensors_are_left_to_torch(inputs: Tensor, weight: Tensor) -> None:
    assert compiled("gru", torch.zeros(1, 2), [torch.zeros(1)]) is not None
    assert compiled("gru", inputs, [weight]) is None


def test_half_precision_tracing_and_the_switch_leave_it_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = torch.zeros(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        half = torch.mm(inputs, torch.zeros(2, 2))
        assert half.dtype is torch.bfloat16
        assert compiled("gru", half, [torch.zeros(1)]) is None
        outputs, _ = BiRecurrent("gru-reset-before", 2, 3)(inputs, torch.tensor([1]))
        assert outputs.isfinite().all()
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(compiled("gru", x, []))
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(look, inputs)  # type: ignore[no-untyped-call]
    assert seen[0] is None
    monkeypatch.setenv("SPACY_TRANSFER_KERNEL", "off")
    assert compiled("gru", inputs, []) is None


@pytest.mark.parametrize("missing", ["numba", "sgemm"])
def test_falls_back_and_says_so_once(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_blas() -> None:
        raise LookupError("torch exports no BLAS")

    if missing == "numba":
        monkeypatch.setitem(sys.modules, "spacy_transfer.nn.kernels.loops", None)
        monkeypatch.delattr("spacy_transfer.nn.kernels.loops", raising=False)
    else:
        monkeypatch.setattr(recurrence, "native", no_blas)
    for cached in (recurrence._load, availability._say):
        cached.cache_clear()
    try:
        with caplog.at_level(logging.INFO):
            for _ in range(2):
                for cell in CELLS:
                    outputs, _ = BiRecurrent(cell, 2, 3)(torch.ones(1, 2), torch.tensor([1]))
                    assert outputs.shape == (1, 6)
                    assert compiled(cell, torch.zeros(1, 2), []) is None
        assert [record.levelname for record in caplog.records] == ["INFO"]
    finally:
        recurrence._load.cache_clear()


def python(code: str, **environment: str) -> str:
    """What a new interpreter prints; a hanging one fails."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_numba_is_imported_only_when_a_layer_runs() -> None:
    code = "import sys, spacy_transfer.nn.recurrent; print('numba' in sys.modules)"
    assert python(code).strip() == "False"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_can_run_it() -> None:
    code = """
import os, signal, torch
from spacy_transfer.nn.recurrent import BiRecurrent
torch.set_num_threads(2)
layer, x, sizes = BiRecurrent("gru", 64, 64), torch.randn(64, 64), torch.tensor([16] * 4)
expected = layer(x, sizes)[0]
torch.mm(torch.randn(512, 512), torch.randn(512, 512))  # torch's threads are up
child = os.fork()
if child == 0:
    signal.alarm(30)  # a hanging child must not outlive the test
    found = layer(x, sizes)[0]
    found.sum().backward()
    os._exit(0 if torch.allclose(found, expected, atol=1e-6) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(code).strip() == "0"
