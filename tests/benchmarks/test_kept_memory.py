from __future__ import annotations

import torch

from benchmarks import kept_memory


def test_a_round_gives_the_same_bits_and_a_row() -> None:
    step = kept_memory.work("forward", 1)
    (_, before), (taken, kept) = (kept_memory.timed(step, kept=kept) for kept in (False, True))
    assert taken > 0 and torch.equal(before, kept) and kept.shape == (1, 1000)


def test_the_claim_is_of_batches() -> None:
    rows = [("forward", 1, "9.0", "9.0", 1.0, 0.9, 1.1, "yes")]
    rows += [("forward", 8, "9.0", "18.0", 2.0, 1.9, 2.1, "yes")]
    assert "holds" in kept_memory.report(rows) and "2.00× (1.90–2.10)" in kept_memory.report(rows)
    slow = [*rows, ("training step", 8, "9.0", "9.0", 1.1, 1.0, 1.2, "yes")]
    assert "**FAILS**" in kept_memory.report(slow)
