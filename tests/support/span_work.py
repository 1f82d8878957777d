"""Work in spans that does next to nothing, and fails where a file in its folder says so."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.engine.config import HostSettings, Settings
from compress.engine.errors import DataError
from compress.engine.executors.fleet import environment
from compress.engine.executors.work import Advance, write_span
from compress.engine.stage import StageContext

#: what happens to a span, by the word in its file ``<start>.fault``
FAULTS = {"die": lambda: os.kill(os.getpid(), signal.SIGKILL), "raise": lambda: 1 / 0}


@dataclass(frozen=True)
class Counting:
    """Writes the numbers of a span. ``<start>.fault`` holds ``die 2``: the first two attempts."""

    ctx: StageContext

    name = "count"
    unit = "number"

    def spans(self) -> list[range]:
        return [range(start, start + 3) for start in range(0, 15, 3)]

    def for_worker(self) -> Counting:
        return Counting(self.ctx.silent)

    def path(self, span: range) -> Path:
        return self.ctx.partial / f"count_{span.start:03d}.safetensors"

    def units(self, span: range) -> int:
        return len(span)

    def about(self, span: range) -> str:
        return f"numbers {span.start}..{span.stop - 1}"

    def environment(self) -> dict[str, str]:
        return environment(self.ctx.host.device)

    def load(self, span: range) -> list[int]:
        return list(span)

    def make(self, span: range, loaded: list[int], advance: Advance) -> None:
        fault = self.ctx.folder / f"{span.start}.fault"
        if fault.exists():
            word, left = fault.read_text().split()
            if word == "refuse":
                raise DataError("these numbers are wrong", got=span, expected=7, remedy="add one")
            if int(left):
                fault.write_text(f"{word} {int(left) - 1}")
                FAULTS[word]()
        write_span(self, span, {"numbers": np.array(loaded)})
        advance(len(span), 0.0)


def counting(folder: Path, **host: object) -> Counting:
    folder.mkdir(parents=True, exist_ok=True)
    return Counting(StageContext(Settings(), {}, folder, host=HostSettings(**host)))
