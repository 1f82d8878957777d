"""Fuzzed files: 10,000 odd images, bundles, models, lists and settings, read or refused.

A worker reads them one after the other, with a limit on its memory. When it dies or is silent for
too long, the file it was at is kept, and another worker goes on behind it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.abuse.builds import Ended, Workshop, kill_group, start, wait
from benchmarks.abuse.cells import HANG, SILENT, TRACEBACK, Cell, Fault, Outcome
from benchmarks.abuse.mutations import mutated
from benchmarks.abuse.readers import KINDS, Kind, Readers, WrongAnswer
from runtime.errors import ExplainedError

PART = "fuzz"
A_CELL = 250
MEMORY = 2**31  # bytes beyond what the worker has at the beginning
SILENCE_S = 20.0  # longest time for one file
ORDER = struct.Struct("<i")


def cells(shop: Workshop, scale: float) -> Iterator[Cell]:
    """Cells of up to 250 files of a kind."""
    shop.reference(shop.smoke)
    for kind in KINDS:
        count = max(1, round(kind.cases * scale))
        for first in range(0, count, A_CELL):
            last = min(count, first + A_CELL)
            yield Cell(
                PART, f"{kind.name}-{first:05d}-{last:05d}", partial(run, shop, kind, first, last)
            )


def run(shop: Workshop, kind: Kind, first: int, last: int, folder: Path) -> Outcome:
    """Files number ``first`` to ``last`` of a kind."""
    found = shop.folder / PART
    readers = Readers(shop.finished(shop.smoke), folder)
    return supervise(Worker(readers, kind, found), first, last, folder)


def supervise(worker: Worker, first: int, last: int, folder: Path) -> Outcome:
    """Starts workers until every file was read or refused, or ended one of them."""
    outcome = Outcome(facts={"read": 0, "refused": 0})
    while first < last:
        results = folder / "results.jsonl"
        results.unlink(missing_ok=True)
        reached, ended = _one_worker(worker, first, last, results, folder / "worker.txt")
        for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else ():
            kind, what = json.loads(line)
            if kind in outcome.facts:
                outcome.facts[kind] += 1
            else:
                outcome.faults.append(Fault(kind, what))
        outcome.cases += min(reached + 1, last) - first
        if ended is not None:
            case = f"{worker.kind.name} {reached}: {worker.keep(reached)}"
            died = Fault(TRACEBACK, f"{case}: the process ended with {ended.code}")
            outcome.faults.append(Fault(HANG, case) if ended.hung else died)
        first = reached + 1
    return outcome


@dataclass
class Worker:
    """Reads files; each is made of the kind and its number alone."""

    readers: Readers
    kind: Kind
    found: Path  # where files with a fault are kept

    def case(self, number: int) -> tuple[str, bytes]:
        """The name and the bytes of a file."""
        seeds = self.readers.seeds(self.kind.name)
        seed = f"{self.kind.name}/{number}"
        name = random.Random(seed).choice(sorted(seeds))
        others = [seeds[name], *seeds.values()]
        return name, mutated(seeds[name], others, self.kind.mutations, seed)

    def keep(self, number: int) -> Path:
        """Keeps a file, to be looked at."""
        name, data = self.case(number)
        self.found.mkdir(parents=True, exist_ok=True)
        path = self.found / f"{self.kind.name}-{number}-{name.replace('/', '_')}"
        path.write_bytes(data)
        return path

    def one(self, number: int) -> tuple[str, str]:
        """What became of a file: "read", "refused" or a kind of fault, and the evidence."""
        name, data = self.case(number)
        try:
            self.readers.read(self.kind.name, name, data)
        except ExplainedError as error:
            str(error).encode()  # the reason can be printed
            return "refused", ""
        except WrongAnswer as error:
            return SILENT, f"{self.kind.name} {number}: {self.keep(number)}: {error}"
        except Exception as error:
            what = f"{type(error).__name__}: {error}"[:200]
            return TRACEBACK, f"{self.kind.name} {number}: {self.keep(number)}: {what}"
        return "read", ""

    def all(self, first: int, last: int, results: Path, pipe: int) -> None:
        """Reads them; the number of each is written to ``pipe`` before."""
        warnings.simplefilter("ignore")
        _ = self.readers.answers  # loads the engine before the limit
        limit = _virtual_bytes() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with results.open("w", encoding="utf-8", buffering=1) as file:
            for number in range(first, last):
                os.write(pipe, ORDER.pack(number))
                file.write(json.dumps(self.one(number)) + "\n")
            os.write(pipe, ORDER.pack(last))


def _one_worker(
    worker: Worker, first: int, last: int, results: Path, log: Path
) -> tuple[int, Ended | None]:
    """The last number that a worker reached, and how it ended if that was not at the end."""
    log.unlink(missing_ok=True)
    reading, writing = os.pipe()
    pid = start(lambda: worker.all(first, last, results, writing), [], log)
    os.close(writing)
    reached, hung = first, False
    try:
        while True:
            ready, _, _ = select.select([reading], [], [], SILENCE_S)
            if not ready:
                hung = True
                break
            data = os.read(reading, ORDER.size)
            if not data:
                break
            (reached,) = ORDER.unpack(data)
    finally:
        os.close(reading)
    if reached < last:
        kill_group(pid)
    ended = wait(pid, log, SILENCE_S)
    return reached, None if reached == last else Ended(ended.code, ended.text, hung)


def _virtual_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
