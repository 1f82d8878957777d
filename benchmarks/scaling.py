"""Claim: Ray workers make the bytes of one process, nearly as much faster as there are of them.

    python -m benchmarks.scaling speed --work DIR
    python -m benchmarks.scaling kills --work DIR

``speed``: generate and label of the default job, with workers of one thread each, from a work
folder whose stages before are finished; the engines alternate. Ray's start and the loading of
models count. ``kills``: SIGKILL to a worker, the raylet or the driver at a random moment of a whole
build on a cluster of this machine; what was killed is started again, and so is the same command
until it ends.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import page
from benchmarks.abuse.builds import compare, contents
from compress.engine.runs import RunFolder
from runtime.host import telemetry

DEFAULT = ("--offline",)
SMOKE = (
    *("--preset", "smoke", "--shots", "1", "--offline", "--name", "run"),
    *("--set", "generate.batch=16", "--set", "label.batch=32", "--set", "bench.seconds=0.05"),
    *("--set", "data.test_limit=64", "--set", "export.parity_images=8"),
)
ENGINES = {
    "local": (),
    "Ray, 1 worker": ("--engine", "ray", "--jobs", "1"),
    "Ray, 2 workers": ("--engine", "ray", "--jobs", "2"),
}
STAGES = ("generate", "label")
VICTIMS = ("worker", "raylet", "driver")
KILLS = 10
LIMIT_S = 600.0  # of one command: beyond it counts as a hang
ATTEMPTS = 6
Row = dict[str, Any]


def environment() -> dict[str, str]:
    """One thread for each process: what a worker has."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "RAY_DEDUP_LOGS": "0"}


def command(*arguments: str) -> list[str]:
    """A command of the product."""
    return [sys.executable, "-m", "compress", *arguments]


def build(work: Path, *arguments: str) -> None:
    """A build to its end; CalledProcessError if it fails."""
    done = subprocess.run(
        command("build", "--work-dir", str(work), "--quiet", *arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    if done.returncode:
        raise SystemExit(f"a build failed: {done.stderr[-2000:]}")


def speed(work: Path, rounds: int) -> list[Row]:
    """Seconds of the stages on every engine, the median of some rounds, and whether bytes agree."""
    base = work / "speed" / "base"
    build(base, *DEFAULT, "--until", "teacher")
    measured: dict[str, list[tuple[dict[str, float], dict[str, list[str]], str]]] = {}
    for number in range(rounds):
        for name, engine in ENGINES.items():
            cell = work / "speed" / f"{name.replace(' ', '_')}-{number}.json"
            if not cell.is_file():
                copy = work / "speed" / "work"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(base, copy, symlinks=True)
                shutil.rmtree(copy / "views", ignore_errors=True)
                build(copy, *DEFAULT, "--until", "label", *engine)
                made = [seconds(copy), contents(copy), page.commit()]
                cell.write_text(json.dumps(made), encoding="utf-8")
            measured.setdefault(name, []).append(json.loads(cell.read_text(encoding="utf-8")))
    wanted = measured["local"][0][1]
    rows = []
    for name, cells in measured.items():
        each = {stage: statistics.median(one[0][stage] for one in cells) for stage in STAGES}
        total = statistics.median(sum(one[0].values()) for one in cells)
        same = all(one[1] == wanted for one in cells)
        row = {"engine": name, **each, "total": total, "rounds": rounds, "same_bytes": same}
        rows.append({**row, "commits": sorted({one[2] for one in cells})})
    return rows


def seconds(work: Path) -> dict[str, float]:
    """What the stages took."""
    found = {}
    for stage in STAGES:
        (manifest,) = work.glob(f"store/{stage}/[!.]*/stage.json")
        found[stage] = float(json.loads(manifest.read_text(encoding="utf-8"))["seconds"])
    return found


@contextmanager
def cluster() -> Iterator[None]:
    """A Ray cluster of this machine, two workers of one thread."""
    start_cluster()
    try:
        yield
    finally:
        stop_cluster()


def start_cluster() -> None:
    """Starts it, or starts it anew."""
    stop_cluster()
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--num-cpus=2"]
    quiet = ["--include-dashboard=false", "--disable-usage-stats"]
    subprocess.run([*ray, *quiet], env=environment(), check=True, capture_output=True, timeout=120)


def stop_cluster() -> None:
    """Stops whatever is left of it."""
    ray = [str(Path(sys.executable).parent / "ray"), "stop", "--force"]
    subprocess.run(ray, capture_output=True, timeout=120)


@dataclass(frozen=True)
class Killed:
    """A build that was killed at, and its end."""

    victim: str
    after_s: float
    struck: bool
    commands: int  # until it ended
    seconds: float
    hangs: int
    faults: tuple[str, ...]
    commit: str


def kills(work: Path, count: int) -> list[Row]:
    """Builds with one kill each; a finished one has a file."""
    folder = work / "kills"
    reference = folder / "reference"
    begin = time.monotonic()
    build(reference, *SMOKE)
    span = folder / "seconds.json"
    if not span.is_file():
        span.write_text(json.dumps(time.monotonic() - begin), encoding="utf-8")
    whole_s = float(json.loads(span.read_text(encoding="utf-8")))
    rows = []
    for number in range(count):
        cell = folder / f"{number:02d}.json"
        if not cell.is_file():
            rng = random.Random(number)
            victim = VICTIMS[number % len(VICTIMS)]
            with cluster():
                told = one_kill(folder / "work", reference, victim, rng.uniform(4, whole_s))
            cell.write_text(json.dumps(asdict(told)), encoding="utf-8")
            print(cell.read_text(encoding="utf-8"), flush=True)
        rows.append(json.loads(cell.read_text(encoding="utf-8")))
    return rows


def one_kill(work: Path, reference: Path, victim: str, after_s: float) -> Killed:
    """A build, killed at ``after_s``, to its end."""
    shutil.rmtree(work, ignore_errors=True)
    log = work.with_suffix(".log")
    arguments = ["--work-dir", str(work), *SMOKE, "--engine", "ray", "--address", "auto"]
    begin = time.monotonic()
    struck, hangs = False, 0
    for attempt in range(1, ATTEMPTS + 1):
        with log.open("ab") as output:
            driver = subprocess.Popen(
                command("build", *arguments), env=environment(), stdout=output, stderr=output
            )
            if attempt == 1:
                struck = strike(driver, victim, after_s)
                if struck and victim == "raylet":
                    with suppress(subprocess.TimeoutExpired):
                        driver.wait(LIMIT_S)
                    start_cluster()
            try:
                driver.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                hangs += 1
                driver.kill()
                driver.wait()
        if driver.returncode == 0:
            break
    found, wanted = (RunFolder.of(place, "run").path for place in (work, reference))
    faults = [fault.what for fault in compare(found, wanted, f"{victim} killed")]
    if "Traceback (most recent call last)" in log.read_text(encoding="utf-8", errors="replace"):
        faults.append("a traceback")
    took = round(time.monotonic() - begin, 1)
    return Killed(
        victim, round(after_s, 1), struck, attempt, took, hangs, tuple(faults), page.commit()
    )


def strike(driver: subprocess.Popen[bytes], victim: str, after_s: float) -> bool:
    """SIGKILL to the victim after some seconds; whether there was one before the build's end."""
    end = time.monotonic() + after_s
    while time.monotonic() < end:
        if driver.poll() is not None:
            return False
        time.sleep(0.01)
    find: dict[str, Callable[[psutil.Process], bool]] = {
        "worker": lambda process: process.name().startswith("ray::"),
        "raylet": lambda process: process.name() == "raylet",
        "driver": lambda process: process.pid == driver.pid,
    }
    while driver.poll() is None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if find[victim](process):
                    process.send_signal(signal.SIGKILL)
                    return True
        time.sleep(0.05)  # until the first worker is there
    return False


def markdown(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    parts = [f"# Several workers\n\n`{record['command']}`"]
    if rows := record.get("speed"):
        alone, two = (one for one in rows if one["engine"].startswith("Ray"))
        local = next(one for one in rows if one["engine"] == "local")
        table = page.table(
            "engine | generate, s | label, s | both, s | against local | same bytes",
            [
                (
                    one["engine"],
                    f"{one['generate']:.1f}",
                    f"{one['label']:.1f}",
                    f"{one['total']:.1f}",
                    f"{local['total'] / one['total']:.2f}×",
                    "yes" if one["same_bytes"] else "NO",
                )
                for one in rows
            ],
        )
        ratio, cost = alone["total"] / two["total"], alone["total"] / local["total"] - 1
        parts.append(
            f"Two workers of one thread are {ratio:.2f}× as fast as one; one worker costs "
            f"{100 * cost:+.0f} % against no Ray at all. Rounds of each: {local['rounds']}."
            f"\n\n{table}"
        )
    if rows := record.get("kills"):
        table = page.table(
            "killed | after, s | struck | commands until the end | seconds | hangs | faults",
            [
                (
                    one["victim"],
                    one["after_s"],
                    "yes" if one["struck"] else "ended before",
                    one["commands"],
                    one["seconds"],
                    one["hangs"],
                    "; ".join(one["faults"]) or "none",
                )
                for one in rows
            ],
        )
        parts.append(
            "SIGKILL at a random moment of a whole build on a Ray cluster of this machine, then "
            f"the same command until it ends; the bundle is compared byte for byte.\n\n{table}"
        )
    commits = {one for row in record.get("speed", ()) for one in row["commits"]}
    commits |= {row["commit"] for row in record.get("kills", ())}
    parts.append(
        f"Commits {', '.join(sorted(commits))}; {record['host']['cpu']}, {record['versions']}."
    )
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts, keeps what the page has of the others; 1 if something was lost."""
    parser = page.options("scaling", __doc__, "scaling.json")
    parser.add_argument("parts", nargs="*", metavar="PART", help="speed, kills")
    parser.add_argument("--work", type=Path, required=True, help="builds and finished cells")
    parser.add_argument("--rounds", type=int, default=3, help="of each engine")
    parser.add_argument("--kills", type=int, default=KILLS)
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[], list[Row]]] = {
        "speed": lambda: speed(options.work, options.rounds),
        "kills": lambda: kills(options.work, options.kills),
    }
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    record = {
        **{part: known[part] for part in parts if part in known},
        "command": "python -m benchmarks.scaling --work DIR",
        "host": asdict(telemetry.host()),
        "versions": page.library_versions(),
    }
    options.work.mkdir(parents=True, exist_ok=True)
    for part in options.parts or parts:
        record[part] = parts[part]()
    page.write_record(options.out, record, markdown(record))
    lost = any(one["faults"] or one["hangs"] for one in record.get("kills", ()))
    return int(lost or not all(one["same_bytes"] for one in record.get("speed", ())))


if __name__ == "__main__":
    raise SystemExit(main())
