"""Claim: keeping freed memory makes a network at 224 px at least 1.2 times as fast on a CPU.

    python -m benchmarks.kept_memory

The same network, forward and as a training step, in turns with and without ``kept_memory`` (what
every stage of a build runs in). The outputs of both are compared bit by bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import timm
import torch
from torch import Tensor, nn

from benchmarks import page
from compress.engine.memory import kept_memory

STUDENT, EDGE, ROUNDS = "tf_efficientnet_lite0", 224, 9
CASES = (("forward", 1), ("forward", 8), ("forward", 32), ("training step", 32))  # what, batch
LIMIT = 1.2
Work = Callable[[], Tensor]


def work(what: str, batch: int) -> Work:
    """One pass or step; gives logits."""
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(STUDENT)
    network.eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, EDGE, EDGE).contiguous(memory_format=torch.channels_last)

    def step() -> Tensor:
        with nullcontext() if what == "training step" else torch.no_grad():
            logits: Tensor = network(images)
        if logits.requires_grad:
            network.zero_grad(set_to_none=True)
            logits.square().mean().backward()  # type: ignore[no-untyped-call]
        return logits.detach().clone()

    return step


def timed(step: Work, *, kept: bool) -> tuple[float, Tensor]:
    """Seconds of the second of two calls, and its logits."""
    with kept_memory() if kept else nullcontext():
        step()
        begin = time.perf_counter()
        logits = step()
        return time.perf_counter() - begin, logits


def measure() -> list[tuple[object, ...]]:
    """A row per case: images a second with and without, their ratio, whether bits are equal."""
    rows = []
    for what, batch in CASES:
        step = work(what, batch)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        equal = True
        for _ in range(ROUNDS):
            found = {kept: timed(step, kept=kept) for kept in (False, True)}
            equal &= torch.equal(found[False][1], found[True][1])
            for kept, (taken, _) in found.items():
                seconds[kept].append(taken)
        ratios = np.divide(seconds[False], seconds[True])
        rates = [f"{batch / float(np.median(seconds[kept])):.1f}" for kept in (False, True)]
        low, high = float(ratios.min()), float(ratios.max())
        same = "yes" if equal else "**NO**"
        rows.append((what, batch, *rates, float(np.median(ratios)), low, high, same))
    return rows


def report(rows: list[tuple[object, ...]]) -> str:
    """The page."""
    worst = min(float(str(row[4])) for row in rows if row[1] != 1)
    shown = [(*row[:4], f"{row[4]:.2f}× ({row[5]:.2f}–{row[6]:.2f})", row[7]) for row in rows]
    head = "what | batch | images/s before | images/s kept | ratio, median (least–most of rounds)"
    return f"""# Freed memory that stays with the process

`python -m benchmarks.kept_memory`

- batches are at least {LIMIT:g} times as fast: {"holds" if worst >= LIMIT else "**FAILS**"}

{page.table(f"{head} | same bits", shown)}

{STUDENT}, {EDGE} px, random weights, {torch.get_num_threads()} threads, {ROUNDS} rounds in turns.
How much it is depends on what a page fault costs: more on a virtual machine.

Commit {page.commit()}; {page.cpu()}; {page.library_versions()}.
"""


def main() -> None:
    """Measures and writes the page."""
    args = page.options("kept_memory", __doc__).parse_args()
    page.write(args.out, report(measure()))


if __name__ == "__main__":
    main()
