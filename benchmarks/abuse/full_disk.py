"""Full disks: at every write of a build in turn, then the same command again with space.

Every stage begins with what the stages before it left, so that also writes after something was
removed meet a full disk. The disk fills up before a write; once more so that the last write before
the next one, perhaps a native library's, fails in its middle; and once by the number of files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.abuse.builds import Workshop, compare, contents, copy_work
from benchmarks.abuse.cells import LOST, SILENT, Cell, Fault, Outcome, run_cells, spread
from benchmarks.abuse.disk import PAGE, CannotMount, Watch, Write, mounted, read_record

PART = "full_disk"
FULL = "disk is full"  # what the error must say
TO_THE_END = 10  # one case in so many builds on to the bundle; the others to the end of the stage
BEFORE, WITHIN, FILES = "before", "within", "files"


def cells(shop: Workshop, scale: float) -> Iterator[Cell]:
    """A cell per stage, write and way to be full; the undisturbed stages are made first."""
    try:
        stages = _stages(shop)
    except CannotMount as error:
        reason = str(error)
        yield Cell(PART, "all", lambda _: Outcome(skipped=reason))
        return
    cases = [[(stage, *way) for way in each] for stage in stages for each in ways(stages[stage])]
    if scale < 1.0:  # one way for each of a share of the writes, in turn
        cases = [[each[index % len(each)]] for index, each in enumerate(spread(cases, scale))]
    flat = (case for each in cases for case in each)
    for index, (stage, write, way, leave) in enumerate(flat):
        name = f"{stage}-{write.number:03d}-{way}"
        whole = index % TO_THE_END == 0
        yield Cell(PART, name, partial(run, shop, stage, write, way, leave, whole))


def ways(writes: list[Write]) -> Iterator[list[tuple[Write, str, int]]]:
    """For each write the ways in which the disk can be full there, and the bytes left then."""
    for write, after in zip(writes, [*writes[1:], writes[-1]], strict=True):
        each = [(write, BEFORE, 0)]
        if (growth := after.used - write.used) > PAGE:
            each.append((write, WITHIN, growth - PAGE))
        if write.event != "os.rename":
            each.append((write, FILES, 0))
        yield each


def run(
    shop: Workshop, stage: str, write: Write, way: str, leave: int, whole: bool, folder: Path
) -> Outcome:
    """One full disk, and the same command with space."""
    case = f"{stage}, write {write.number}, {write.event} {Path(write.path).name}, {way}"
    outcome = Outcome(cases=1, facts={"write": write.path, "event": write.event, "leave": leave})
    try:
        with mounted(_disk(shop), _megabytes(shop)) as disk:
            _prepare(shop, stage, disk)
            watch = Watch(disk, disk / "work", write.number, leave, way == FILES)
            _fill_and_repeat(shop, stage, watch, whole, case, folder, outcome)
    except CannotMount as error:
        outcome.skipped = str(error)
    return outcome


def _fill_and_repeat(
    shop: Workshop, stage: str, watch: Watch, whole: bool, case: str, folder: Path, outcome: Outcome
) -> None:
    command = shop.smoke.command(watch.work, "--until", stage)
    ended = shop.run(command, folder / "full.txt", watch.begin)
    outcome.facts |= {"said": ended.last[:300], "code": ended.code}
    if not watch.filler.exists():  # the number of writes can depend on time
        outcome.cases = 0
    shutil.rmtree(watch.filler, ignore_errors=True)
    faults = ended.faults(case)
    if not faults and ended.code == 0 and not _is_whole(shop, stage, watch.work):
        faults = [Fault(SILENT, f"{case}: exit code 0, but the result is not whole")]
    elif not faults and ended.code != 0 and not (ended.code == 2 and FULL in ended.last):
        faults = [Fault(SILENT, f"{case}: exit code {ended.code}: {ended.last[:200]}")]
    outcome.faults += faults
    again = shop.run(command, folder / "again.txt")
    outcome.faults += again.faults(f"{case}, again")
    if again.code != 0:
        outcome.faults.append(Fault(LOST, f"{case}, again: {again.last[:200]}"))
    elif not _is_whole(shop, stage, watch.work):
        outcome.faults.append(Fault(LOST, f"{case}, again: another result"))
    elif whole:
        last = shop.run(shop.smoke.command(watch.work), folder / "whole.txt")
        outcome.faults += last.faults(f"{case}, to the end")
        outcome.faults += compare(shop.smoke.folder(watch.work), shop.finished(shop.smoke), case)


def _is_whole(shop: Workshop, stage: str, work: Path) -> bool:
    """Whether a stage holds what it holds undisturbed; at the last one, also bundle and figures."""
    if contents(work).get(stage) != contents(_snapshot(shop, stage)).get(stage):
        return False
    finished = shop.finished(shop.smoke)
    return stage != shop.stages[-1] or not compare(shop.smoke.folder(work), finished, stage)


def _stages(shop: Workshop) -> dict[str, list[Write]]:
    """Every stage's writes; what the undisturbed stage leaves is kept. In a process of its own."""
    wanted = [stage for stage in shop.stages if not _record(shop, stage).is_file()]
    if wanted:
        made = run_cells(
            [Cell("full_disk.writes", "all", partial(_make_snapshots, shop))], shop.folder, 1
        )
        for outcome in made.values():
            if outcome.skipped:
                raise CannotMount(outcome.skipped)
    return {stage: read_record(_record(shop, stage)) for stage in shop.stages}


def _make_snapshots(shop: Workshop, folder: Path) -> Outcome:
    try:
        with mounted(_disk(shop), _megabytes(shop)) as disk:
            _prepare(shop, shop.stages[0], disk)
            for stage in shop.stages:
                record = folder / f"{stage}.tsv"
                watch = Watch(disk, disk / "work", record=record)
                command = shop.smoke.command(disk / "work", "--until", stage)
                ended = shop.run(command, folder / f"{stage}.txt", watch.begin)
                if ended.code != 0:
                    raise SystemExit(f"the undisturbed stage {stage} failed: {ended.last}")
                shutil.rmtree(_snapshot(shop, stage), ignore_errors=True)
                copy_work(disk / "work", _snapshot(shop, stage))
                shutil.copyfile(record, _record(shop, stage))
    except CannotMount as error:
        return Outcome(1, skipped=str(error))
    return Outcome(1)


def _prepare(shop: Workshop, stage: str, disk: Path) -> None:
    """The disk as the stages before ``stage`` left it; temporary files lie on it, too."""
    (disk / "tmp").mkdir()
    _use_temporary_folder(disk / "tmp")
    index = shop.stages.index(stage)
    if index:
        copy_work(_snapshot(shop, shop.stages[index - 1]), disk / "work")


def _use_temporary_folder(folder: Path) -> None:
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # read the variable again


def _disk(shop: Workshop) -> Path:
    """Where the disk is mounted: the same place in every cell, each sees its own."""
    return shop.folder / PART / "disk"


def _snapshot(shop: Workshop, stage: str) -> Path:
    return shop.folder / PART / "snapshots" / stage


def _record(shop: Workshop, stage: str) -> Path:
    return shop.folder / PART / f"{stage}.tsv"


def _megabytes(shop: Workshop) -> int:
    """Twice what an undisturbed build needs."""
    work = shop.reference(shop.smoke).work
    size = sum(path.lstat().st_size for path in work.rglob("*"))
    return 16 + size * 2 // 2**20
