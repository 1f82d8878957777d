"""How long work reports itself: stages, and tasks with rate, ETA and the time lost to data."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from runtime.errors import harmless

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

BAR = 24  # columns of a bar, where there is room
NARROWEST = 88  # columns of a terminal from which a bar is shown
TITLE = 21  # columns of a task's name, at least
ETA = len(" eta 0:00:00 ")
LOG_EVERY_S = 30.0  # between two lines of a task in a log


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

    def stage(self, name: str, number: int, count: int) -> None:
        """Says that a stage is made, the ``number``-th of ``count``."""


class SilentProgress:
    """Reports nothing, and is its own task: for tests, notebooks and pipes."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        yield self

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        return

    def note(self, text: str) -> None:
        return

    def stage(self, name: str, number: int, count: int) -> None:
        return


SILENT = SilentProgress()


@dataclass
class Pace:
    """How fast a task goes, in words that fit a line."""

    unit: str
    done: int = 0
    wait_s: float = 0.0
    start: float = field(default_factory=lambda: time.perf_counter())

    def advance(self, amount: int, wait_s: float) -> None:
        """Counts units done by this process, and what they waited for data."""
        self.done += amount
        self.wait_s += wait_s

    @property
    def seconds(self) -> float:
        """Since the task was opened."""
        return max(time.perf_counter() - self.start, 1e-9)

    def words(self, values: dict[str, float]) -> list[str]:
        """Rate, share of the time that waited for data, values; the first matter most."""
        rate = self.done / self.seconds
        words = [f"{rate:,.0f} {self.unit}/s" if rate >= 100 else f"{rate:.1f} {self.unit}/s"]
        if self.wait_s:
            words.append(f"data wait {100 * self.wait_s / self.seconds:.0f} %")
        return words + [f"{key} {value:.3g}" for key, value in values.items()]


def fitting(words: Sequence[str], width: int) -> str:
    """As many of the first words as ``width`` columns hold, each of them whole."""
    text = ""
    for word in words:
        longer = f"{text} · {word}" if text else word
        if len(longer) > width:
            break
        text = longer
    return text


@dataclass
class _BarTask:
    """A bar on a terminal."""

    bars: Bars
    id: TaskID
    pace: Pace
    width: int

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        self.pace.advance(amount, wait_s)
        info = fitting(self.pace.words(values), self.width)
        self.bars.update(self.id, advance=amount, info=info)


@dataclass
class _LogTask:
    """Lines of a log: one every ``LOG_EVERY_S``, and one at the end."""

    progress: RichProgress
    name: str
    total: int
    done: int
    pace: Pace
    last: float = field(default_factory=lambda: time.perf_counter())
    values: dict[str, float] = field(default_factory=dict)

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        self.pace.advance(amount, wait_s)
        self.done += amount
        self.values = values
        if time.perf_counter() - self.last >= LOG_EVERY_S and self.done < self.total:
            self.say(f"eta {clock((self.total - self.done) * self.pace.seconds / self.pace.done)}")

    def say(self, when: str) -> None:
        """One line: the task, its count, when it ends or how long it took, and its pace."""
        self.last = time.perf_counter()
        words = [f"{self.done:,}/{self.total:,}", when, *self.pace.words(self.values)]
        self.progress.note(f"{self.name}: {fitting(words, 200)}")


def clock(seconds: float) -> str:
    """75 -> "1:15", 7275 -> "2:01:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class RichProgress:
    """Bars on a terminal; in a log one line every half minute, and one per finished task."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        if not total:  # nothing to show, e.g. of a split without images
            yield SILENT
        elif self.console.is_terminal or self.console.is_jupyter:
            with self._bars() as bars:
                task = bars.add_task(name, total=total, completed=done, info="")
                yield _BarTask(bars, task, Pace(unit), self._room(name, total))
        else:
            lines = _LogTask(self, name, total, done, Pace(unit))
            yield lines
            if lines.pace.done:
                lines.say(f"in {clock(lines.pace.seconds)}")

    def _bars(self) -> Bars:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        title = f"[bold]{{task.description:>{TITLE}}}"
        bar = [BarColumn(bar_width=BAR)] if self.console.width >= NARROWEST else []
        return Bars(
            TextColumn(title),
            *bar,
            MofNCompleteColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[info]}"),
            console=self.console,
            transient=False,
        )

    def _room(self, name: str, total: int) -> int:
        """Columns that a task's name, bar, count and ETA leave for its pace."""
        bar = BAR + 1 if self.console.width >= NARROWEST else 0
        count = len(f" {total}/{total}")
        return self.console.width - max(TITLE, len(name)) - bar - count - ETA

    def note(self, text: str) -> None:
        self.console.print(
            harmless(text),
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=not self.console.is_terminal,  # a log keeps a line whole
        )

    def stage(self, name: str, number: int, count: int) -> None:
        self.note(f"stage {number} of {count}: {name}")


class QuietProgress(RichProgress):
    """No progress bars; notes are shown, for what they tell is not progress."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        yield SILENT

    def stage(self, name: str, number: int, count: int) -> None:
        return


def default_progress() -> Progress:
    """Bars in a notebook, where somebody waits and looks; nothing in a program."""
    shell = getattr(builtins, "get_ipython", None)
    in_notebook = shell is not None and hasattr(shell(), "kernel")
    return RichProgress() if in_notebook else SILENT
