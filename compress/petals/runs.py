"""One training phase while it runs: device, precision, and the log that is kept with the
weights.
"""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def bf16_pays(device: torch.device) -> bool:
    """Whether bf16 is faster: on a GPU, and on a CPU that computes in it (Zen 4, these networks:
    1.3 to 3.8 times).
    """
    return device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()


class Run:
    """Names the phase, seeds it, and writes one JSON line to the log about every ``every``
    seconds.
    """

    def __init__(self, phase: str, seed: int, device: str, log: Path, every: float = 30.0) -> None:
        self.phase, self.seed, self.device, self.log, self.every = (
            phase,
            seed,
            torch.device(device),
            log,
            every,
        )
        self._began = self._told = time.perf_counter()
        self._numbers: list[dict[str, float]] = []

    def autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16_pays(self.device))

    def place(self, module: Module) -> Module:
        """The module on the run's device, its convolution weights in channels-last memory."""
        module.to(self.device)
        return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def laid_out(self, images: Tensor) -> Tensor:
        """The batch in channels-last memory, which is what CPU convolutions want."""
        return images.contiguous(memory_format=torch.channels_last)

    def step(self, step: int, steps: int, batch: int, numbers: dict[str, float]) -> None:
        """Takes the numbers of one step; tells their mean since the last line when it is time, and
        at the end.
        """
        self._numbers.append(numbers)
        now = time.perf_counter()
        if now - self._told < self.every and step + 1 < steps:
            return
        means = {
            name: round(float(np.mean([n[name] for n in self._numbers])), 4) for name in numbers
        }
        rate = round(len(self._numbers) * batch / (now - self._told), 1)
        self.tell(
            {"samples": (step + 1) * batch, "of": steps * batch, "images_per_s": rate, **means}
        )
        self._told, self._numbers = now, []

    def tell(self, facts: dict[str, object]) -> None:
        """One line of facts to the log and the screen."""
        line = json.dumps(
            {"phase": self.phase, "s": round(time.perf_counter() - self._began, 1), **facts}
        )
        print(line, flush=True)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
