"""The CRF against pytorch-crf: loss with its gradient, and Viterbi decoding.

    python benchmarks/speed/crf.py [--shapes 10x30x9 ...] [--rounds 30]

Run it in an environment with spacy-transfer and its extra `fast`. With `pip install pytorch-crf`
there (or in a folder on PYTHONPATH) there are ratios as well. A shape is batch x tokens x labels,
the labels those of BIOES: 1 + 4 for each type. Lengths are drawn from a third of the tokens up to
all.

Times are those of one processor, in use: what else the machine does meanwhile is not in them. A
round runs every variant once, one after the other; the time of small ones is that of several calls.
A cell is the median over the rounds and, in brackets, the least and the largest; a ratio is taken
within a round. `compiled` are the loops of `nn/kernels`, `torch` is what runs without them,
and `constrained` decodes, or sums over, only what BIOES allows.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator

import torch
from report import layout, spread
from torch import Tensor

from spacy_transfer.corpus.schemes import allowed, tags_of
from spacy_transfer.nn.crf import CRF, Constraints

try:
    from torchcrf import CRF as Peer
except ImportError:
    Peer = None

SHAPES = ["10x30x9", "32x50x17", "32x40x45", "128x60x121"]
PEER = "pytorch-crf"
CALL_AT_LEAST = 0.005
"""Seconds: faster variants are called several times in a round."""

Variant = Callable[[], object]


def constraints(labels: int) -> Constraints:
    """What BIOES allows."""
    tags = tags_of([f"type{number}" for number in range(labels // 4)], "BIOES")
    if len(tags) != labels:
        raise SystemExit(f"expected a number of labels that is 1 + 4 for each type, got {labels}")
    return Constraints(*map(torch.from_numpy, allowed(tags, "BIOES")))


def switched(kernel: str, call: Variant) -> Variant:
    """The call with the compiled loops switched on or off."""

    def run() -> object:
        os.environ["SPACY_TRANSFER_KERNEL"] = kernel
        return call()

    return run


def variants(batch: int, steps: int, labels: int) -> Iterator[tuple[str, str, Variant]]:
    """What is measured: the operation, the name, and the call."""
    torch.manual_seed(0)
    lengths = torch.randint(steps // 3, steps + 1, (batch,))
    lengths[0] = steps
    mask = torch.arange(steps) < lengths[:, None]
    emissions = torch.randn(batch, steps, labels)
    allowed = constraints(labels)
    crf = CRF(labels)
    tags = crf.decode(torch.randn(batch, steps, labels), lengths, allowed)
    leaf = emissions.clone().requires_grad_()

    def trained(loss: Callable[[], Tensor]) -> Variant:
        def run() -> None:
            for tensor in (leaf, *crf.parameters()):
                tensor.grad = None
            loss().sum().backward()  # type: ignore[no-untyped-call]

        return run

    for kernel, name in ("on", "compiled"), ("off", "torch"):
        for only, suffix in (None, ""), (allowed, ", constrained"):

            def loss(only: Constraints | None = only) -> Tensor:
                return crf.loss(leaf, tags, lengths, constraints=only)

            def decode(only: Constraints | None = only) -> Tensor:
                return crf.decode(emissions, lengths, only)

            yield "loss and gradient", name + suffix, switched(kernel, trained(loss))
            yield "Viterbi", name + suffix, switched(kernel, decode)
    if Peer is not None:
        peer = Peer(labels, batch_first=True)
        yield "loss and gradient", PEER, trained(lambda: -peer(leaf, tags, mask, reduction="none"))
        yield "Viterbi", PEER, lambda: peer.decode(emissions, mask)


def calls_in_a_round(call: Variant) -> int:
    """How many calls last long enough to be timed, after one that compiles and one that warms."""
    call()
    call()
    start = time.process_time()
    call()
    return max(1, round(CALL_AT_LEAST / (time.process_time() - start)))


def measure(shape: str, rounds: int) -> list[list[str]]:
    """The lines of a shape in the table."""
    measured = list(variants(*map(int, shape.split("x"))))
    calls = [calls_in_a_round(call) for _, _, call in measured]
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for (operation, name, call), count in zip(measured, calls, strict=True):
            start = time.process_time()
            for _ in range(count):
                call()
            passed = 1000 * (time.process_time() - start) / count
            times.setdefault((operation, name), []).append(passed)
    lines = []
    for (operation, name), own in sorted(times.items()):
        peers = times.get((operation, PEER), [])
        ratios = [peer / one for peer, one in zip(peers, own, strict=False)]
        lines.append([shape, operation, name, spread(own, ".3f"), spread(ratios, ".1f")])
    return lines


def main() -> None:
    """Measure all shapes and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [line for shape in arguments.shapes for line in measure(shape, arguments.rounds)]
    print(layout(["shape", "operation", "variant", "ms", f"{PEER} / it"], lines))
    if Peer is None:
        print(f"\n{PEER} is not installed here, so there are no ratios to it.")


if __name__ == "__main__":
    main()
