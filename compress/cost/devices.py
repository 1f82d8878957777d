"""Devices that images are generated and students trained on: peaks, and the share assumed of them.

Profiles of edge devices are another matter, ``compress/budgets/devices``: they say what a network
of batch 1 reaches in an inference engine. This machine's peak comes from there, for all its cores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compress.budgets import devices as edge
from compress.budgets.variants import HOST

FILE = Path(__file__).parent / "devices.yaml"
HOST_UTILIZATION = 0.25  # ours: of all cores at the clock that the kernel states


@dataclass(frozen=True)
class Trainer:
    """A device, or this machine.

    Attributes:
        name: as lines show it.
        peak: arithmetic ("fp32", "fp16", "bf16") -> dense FLOP/s.
        utilization: the share of the peak that is assumed to be reached.
        sources: where the numbers come from.
    """

    name: str
    title: str
    peak: Mapping[str, float]
    utilization: float
    sources: Mapping[str, str]

    def peak_in(self, arithmetic: str) -> float:
        """FLOP/s of an arithmetic; of fp32 where it is not accelerated."""
        return self.peak.get(arithmetic, self.peak["fp32"])

    def rate(self, arithmetic: str) -> float:
        """FLOP/s that are assumed."""
        return self.utilization * self.peak_in(arithmetic)


@cache
def trainers() -> tuple[Trainer, ...]:
    """Every device of ``devices.yaml``, and this machine last."""
    import yaml

    rows: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    named = (
        Trainer(
            name,
            row["title"],
            {key: value * 1e12 for key, value in row["peak_tflops"].items()},
            row["utilization"],
            row["sources"],
        )
        for name, row in rows.items()
    )
    return (*named, this_machine())


def this_machine() -> Trainer:
    """The CPU cores of this machine, in fp32."""
    profile = edge.device(HOST)
    cores = os.cpu_count() or 1
    return Trainer(
        HOST,
        f"{profile.title}, {cores} cores",
        {"fp32": cores * profile.peak["fp32"]},
        HOST_UTILIZATION,
        {
            **profile.sources,
            "utilization": "ours: a quarter of the peak of all cores; small networks reach less",
        },
    )
