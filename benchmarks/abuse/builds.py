"""Builds in processes of their own, and what they leave.

The process that asks has imported everything already and forks: a build costs its own work alone.
"""

from __future__ import annotations

import filecmp
import io
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.abuse.cells import HANG, LOST, TRACEBACK, Fault, forked
from compress.engine.runs import RunFolder
from compress.engine.store import MANIFEST
from compress.report.artifact import ReportArtifact

Main = Callable[[], None]  # a command line: reads sys.argv, raises SystemExit
TIMED = ("bench", "report")  # stages that hold times, so that two builds never agree
GROUP_S = 2.0  # longest wait for it; where nobody reaps orphans, they never go
REFERENCE = "reference.json"  # beside an undisturbed build: how it went


@dataclass(frozen=True)
class Recipe:
    """A command that builds, without its work folder."""

    name: str
    arguments: tuple[str, ...]
    run: str = "petals-1shot-s0"  # the run's name

    def command(self, work: Path, *more: str) -> list[str]:
        """The arguments of the command line."""
        return [*self.arguments, "--work-dir", str(work), *more]

    def varied(self, name: str, *more: str, run: str | None = None) -> Recipe:
        """The same with more arguments, and under another name of the run."""
        arguments = (*self.arguments, *more, *(("--name", run) if run else ()))
        return replace(self, name=name, arguments=arguments, run=run or self.run)

    def folder(self, work: Path) -> Path:
        """The run's folder."""
        return RunFolder.of(work, self.run).path

    def bundle(self, work: Path) -> Path:
        """What ships."""
        return RunFolder.of(work, self.run).bundle


@dataclass(frozen=True)
class Ended:
    """A process that ended: its exit code (-9: killed by signal 9), and all that it printed."""

    code: int
    text: str
    hung: bool = False  # stopped at the limit

    @property
    def last(self) -> str:
        """The last line that it printed."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else "no output"

    def faults(self, case: str) -> list[Fault]:
        """A hang, a traceback or a crash."""
        if self.hung:
            return [Fault(HANG, f"{case}: no end within the limit")]
        if "Traceback (most recent call last)" in self.text:
            return [Fault(TRACEBACK, f"{case}: {self.last[:200]}")]
        if self.code not in (0, 1, 2):
            return [Fault(TRACEBACK, f"{case}: ended with {self.code}: {self.last[:200]}")]
        return []


@dataclass(frozen=True)
class Reference:
    """An undisturbed build."""

    work: Path
    seconds: float
    child_seconds: tuple[float, ...]  # of each child process that it started, in their order


@dataclass(frozen=True)
class Workshop:
    """Where builds are made, and of what."""

    folder: Path
    main: Main
    smoke: Recipe
    default: Recipe
    limit_s: float = 600.0  # of one command
    stages: tuple[str, ...] = ()

    def run(
        self, arguments: list[str], log: Path, before: Callable[[], None] | None = None
    ) -> Ended:
        """A command, to its end or the limit; ``before`` is called in its process."""
        return wait(start(self.main, arguments, log, before), log, self.limit_s)

    def finished(self, recipe: Recipe) -> Path:
        """The run's folder of an undisturbed build."""
        return recipe.folder(self.reference(recipe).work)

    def reference(self, recipe: Recipe) -> Reference:
        """The undisturbed build of a recipe, made at the first call."""
        folder = self.folder / "reference" / recipe.name
        file, work, log = folder / REFERENCE, folder / "work", folder / "log.txt"
        if not file.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            begin = time.monotonic()
            pid = start(self.main, recipe.command(work), log)
            lives: dict[int, list[float]] = {}

            def look() -> None:
                for child in children(pid):
                    lives.setdefault(child, []).append(time.monotonic())

            ended = wait(pid, log, self.limit_s * 4, look)
            if ended.code != 0:
                raise SystemExit(f"the undisturbed build failed: {log}: {ended.last}")
            times = [time.monotonic() - begin, [seen[-1] - seen[0] for seen in lives.values()]]
            file.write_text(json.dumps(times), encoding="utf-8")
        seconds, child_seconds = json.loads(file.read_text(encoding="utf-8"))
        return Reference(work, seconds, tuple(child_seconds))


def start(
    main: Main, arguments: list[str], log: Path, before: Callable[[], None] | None = None
) -> int:
    """Starts a command line in a new process and session; its output goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)

    def run() -> None:
        os.setsid()
        _redirect(log)
        sys.argv = ["compress", *arguments]
        if before:
            before()
        main()

    return forked(run)


def wait(
    pid: int, log: Path, limit_s: float, meanwhile: Callable[[], object] | None = None
) -> Ended:
    """Waits for a process; at the limit its whole group is killed."""
    end = time.monotonic() + limit_s
    hung = False
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end:
            hung = True
            kill_group(pid)
        if meanwhile:
            meanwhile()
        time.sleep(0.01)
    _wait_for_group(pid)
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), text, hung)


def _wait_for_group(pid: int) -> None:
    """Waits for what a killed process had started: it can hold a lock a moment longer."""
    end = time.monotonic() + GROUP_S
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether a child of this process still runs; it stays to be waited for."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, pid, flags) is None


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run (Linux)."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:  # it has ended meanwhile
        pass
    return found


def kill_group(pid: int) -> None:
    """SIGKILL to a process and all that it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has no group yet
        os.kill(pid, signal.SIGKILL)


def differences(found: Path, wanted: Path) -> list[str]:
    """The files of two folders that are not the same, byte for byte."""
    names = {str(path.relative_to(top)) for top in (found, wanted) for path in _files(top)}
    return sorted(
        name
        for name in names
        if not (found / name).is_file()
        or not (wanted / name).is_file()
        or not filecmp.cmp(found / name, wanted / name, shallow=False)
    )


def figures(run: Path) -> Any:
    """What a run's report says of accuracy; None without a readable report."""
    try:
        return ReportArtifact(run).read()["accuracy"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def contents(work: Path) -> dict[str, list[str]]:
    """Stage -> the content hashes of what is finished, without those that hold times."""
    found: dict[str, list[str]] = {}
    for manifest in sorted((work / "store").glob(f"*/[!.]*/{MANIFEST}")):
        stage = manifest.parent.parent.name
        if stage not in TIMED:
            try:
                content = json.loads(manifest.read_text(encoding="utf-8"))["content"]
            except (ValueError, KeyError, TypeError):
                content = "unreadable"
            found.setdefault(stage, []).append(content)
    return found


def compare(run: Path, wanted: Path, case: str) -> list[Fault]:
    """What a finished run lost against the undisturbed one."""
    faults = []
    if names := differences(RunFolder(run).bundle, RunFolder(wanted).bundle):
        faults.append(Fault(LOST, f"{case}: the bundle differs in {', '.join(names[:5])}"))
    if figures(run) != figures(wanted):
        faults.append(Fault(LOST, f"{case}: the report has another accuracy"))
    return faults


def copy_work(source: Path, target: Path) -> Path:
    """A copy of a work folder; links stay links, times stay."""
    return Path(shutil.copytree(source, target, symlinks=True))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def _redirect(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, number in (("stdout", 1), ("stderr", 2)):  # whatever they were replaced by
        stream = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        setattr(sys, name, io.TextIOWrapper(stream, encoding="utf-8", line_buffering=True))
