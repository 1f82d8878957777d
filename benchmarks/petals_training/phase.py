"""One training phase while it runs: device, precision, and the log kept with the weights."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from compress.engine.arithmetic import bf16_pays

Module = TypeVar("Module", bound=nn.Module)


class Phase:
    """A named, seeded phase; it logs one JSON line about every ``every`` seconds."""

    def __init__(self, name: str, seed: int, device: str, log: Path, every: float = 30.0) -> None:
        self.name = name
        self.seed = seed
        self.device = torch.device(device)
        self.log_file = log
        self.every = every
        self._start = self._last_line = time.perf_counter()
        self._pending: list[Mapping[str, float]] = []

    def autocast(self) -> torch.autocast:
        """bf16 where it is faster."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16_pays(self.device))

    def place(self, module: Module) -> Module:
        """The module on the phase's device, its convolution weights in channels-last memory."""
        networks: Any = module.to(self.device)
        return networks.to(memory_format=torch.channels_last)

    def channels_last(self, images: Tensor) -> Tensor:
        """The batch in channels-last memory, where CPU convolutions are faster."""
        return images.contiguous(memory_format=torch.channels_last)

    def step(self, step: int, steps: int, batch: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of one step; logs their mean every ``every`` seconds and at the end."""
        self._pending.append(metrics)
        now = time.perf_counter()
        if now - self._last_line < self.every and step + 1 < steps:
            return
        means = {
            name: round(float(np.mean([row[name] for row in self._pending])), 4) for name in metrics
        }
        rate = round(len(self._pending) * batch / (now - self._last_line), 1)
        samples = {"samples": (step + 1) * batch, "of": steps * batch}
        self.log({**samples, "images_per_s": rate, **means})
        self._last_line = now
        self._pending = []

    def log(self, facts: Mapping[str, object]) -> None:
        """Writes one line of facts to the log and the screen."""
        seconds = round(time.perf_counter() - self._start, 1)
        line = json.dumps({"phase": self.name, "s": seconds, **facts})
        print(line, flush=True)
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
