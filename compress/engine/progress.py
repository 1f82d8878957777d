"""How long work reports itself: tasks with rate, ETA and the share of time spent on data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from runtime.errors import harmless

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Task(Protocol):
    """One unit of long work, e.g. the steps of a training run."""

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        """Reports ``amount`` units done, which waited ``wait_s`` seconds for data."""


class Progress(Protocol):
    """What a stage reports to."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        """Opens a task of ``total`` units; a resumed one has ``done`` of them finished."""
        ...

    def note(self, text: str) -> None:
        """Shows one line to the user."""


class SilentProgress:
    """Reports nothing, and is its own task: for tests, notebooks and pipes."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        yield self

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        return

    def note(self, text: str) -> None:
        return


SILENT = SilentProgress()


@dataclass
class _RichTask:
    bars: Bars
    id: TaskID
    unit: str
    start: float = field(default_factory=time.perf_counter)
    wait_s: float = 0.0
    done: int = 0

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        self.wait_s += wait_s
        self.done += amount
        elapsed = max(time.perf_counter() - self.start, 1e-9)
        shown = [f"{self.done / elapsed:,.1f} {self.unit}/s"]
        shown += [f"{key} {value:.3g}" for key, value in values.items()]
        if self.wait_s:
            shown.append(f"data wait {100 * self.wait_s / elapsed:.0f} %")
        self.bars.update(self.id, advance=amount, info=" · ".join(shown))


class RichProgress:
    """Progress bars on a terminal; elsewhere one plain line per finished task."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("[bold]{task.description:>22}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[info]}"),
        )
        with Bars(*columns, console=self.console, transient=False) as bars:
            yield _RichTask(bars, bars.add_task(name, total=total, completed=done, info=""), unit)

    def note(self, text: str) -> None:
        self.console.print(harmless(text), highlight=False, markup=False, emoji=False)


class QuietProgress(RichProgress):
    """No progress bars; notes are shown, for what they tell is not progress."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        yield SILENT
