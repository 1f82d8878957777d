"""A build in miniature with the manners of the real one, and the faults it can be given."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.abuse.builds import Recipe, Workshop

STAGES = ("data", "distill", "bench")
#: what a toy can do wrong
FAULTS = {
    "torn": "writes where it is read, and says first that it is finished",
    "trusts": "reads stored bytes without looking at their hashes",
    "mute": "makes damaged files again without a word",
    "raw": "lets errors of the system through",
    "deaf": "goes on when the disk is full",
    "mumbles": "calls every error bad luck",
    "hangs": "never ends",
    "dice": "gives other bytes each time",
}


class Toy:
    """A command line: ``build``, ``report`` and ``verify``."""

    def __init__(self, fault: str | None = None, seconds: float = 0.03) -> None:
        assert fault is None or fault in FAULTS
        self.fault = fault
        self.seconds = seconds  # of a stage

    def __call__(self) -> None:
        command, *words = sys.argv[1:]
        try:
            getattr(self, f"_{command}")(words)
        except OSError as error:
            if self.fault == "raw":
                raise
            if self.fault == "mumbles":
                raise SystemExit("bad luck") from error
            what = "the disk is full" if error.errno == errno.ENOSPC else str(error)
            print(f"StoreError: {what}", file=sys.stderr)
            raise SystemExit(2) from error

    def _build(self, words: list[str]) -> None:
        options = dict(zip(words[::2], words[1::2], strict=True))
        work = Path(options["--work-dir"])
        run = work / "runs" / options.get("--name", "petals-1shot-s0")
        key = hashlib.sha256(options.get("--set", "").encode()).hexdigest()[:8]
        last = STAGES.index(options.get("--until", STAGES[-1]))
        run.mkdir(parents=True, exist_ok=True)
        with self._lock(run), self._lock(work):
            for stage in STAGES[: last + 1]:
                self._stage(work, run, stage, key)
            if last == len(STAGES) - 1:
                self._publish(work, run, key)
            while self.fault == "hangs":
                time.sleep(0.01)

    def _stage(self, work: Path, run: Path, stage: str, key: str) -> None:
        final = work / "store" / stage / key
        if (final / "stage.json").exists():
            if self.fault in ("trusts", "torn") or intact(final):
                return
            self._say(f"note: {final} is damaged: made again")
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps({"event": "make", "stage": stage, "key": key}) + "\n")
        part = final if self.fault == "torn" else final.with_name(f".{key}.part")
        part.mkdir(parents=True, exist_ok=True)
        data = hashlib.sha256(f"{stage}{key}".encode()).digest() * 500
        if self.fault == "dice":
            data = os.urandom(16000)
        if stage == "bench":
            done = subprocess.run(["sleep", str(self.seconds)])
            if done.returncode != 0:
                raise OSError("the child was killed")
        content = hashlib.sha256(data).hexdigest()
        if self.fault == "torn":
            (part / "stage.json").write_text(json.dumps({"content": content}))
        with self._deaf():
            for at in range(0, len(data), 4000):
                with (part / "data.bin").open("ab" if at else "wb") as file:
                    file.write(data[at : at + 4000])
                time.sleep(self.seconds / 4)
            (part / "stage.json").write_text(json.dumps({"content": content}))
        if part != final:
            shutil.rmtree(final, ignore_errors=True)
            os.replace(part, final)

    def _publish(self, work: Path, run: Path, key: str) -> None:
        data = b"".join(
            (work / "store" / stage / key / "data.bin").read_bytes() for stage in STAGES
        )
        bundle = run / "bundle"
        old = bundle / "model.bin"
        if old.exists() and old.read_bytes() != data and self.fault != "trusts":
            self._say(f"note: {old} is damaged: made again")
        if not old.exists() or self.fault != "trusts":
            with self._deaf():
                shutil.rmtree(bundle, ignore_errors=True)
                bundle.mkdir()
                old.write_bytes(data)
        with self._deaf():
            report = {"accuracy": hashlib.sha256(data).hexdigest()}
            (run / "report.json").write_text(json.dumps(report))

    def _report(self, words: list[str]) -> None:
        print("as before")

    def _verify(self, words: list[str]) -> None:
        if self.fault != "trusts":
            raise SystemExit(1)  # it is asked for damaged bundles only

    def _say(self, text: str) -> None:
        if self.fault != "mute":
            print(text)

    @contextlib.contextmanager
    def _lock(self, folder: Path) -> Iterator[None]:
        with (folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OSError("held by another process") from None
            yield

    @contextlib.contextmanager
    def _deaf(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            if self.fault != "deaf":
                raise


def intact(folder: Path) -> bool:
    """Whether a toy's stage is what its stage.json says."""
    try:
        wanted = json.loads((folder / "stage.json").read_text())["content"]
        return hashlib.sha256((folder / "data.bin").read_bytes()).hexdigest() == wanted
    except (OSError, ValueError, KeyError, TypeError):
        return False


def toy_shop(folder: Path, fault: str | None = None, seconds: float = 0.03) -> Workshop:
    """A workshop whose undisturbed build is a good toy's, and whose builds have a fault."""
    smoke = Recipe("smoke", ("build",))
    good = Workshop(folder, Toy(seconds=seconds), smoke, smoke, limit_s=20, stages=STAGES)
    good.reference(smoke)
    return Workshop(
        folder,
        Toy(fault, seconds),
        smoke,
        smoke,
        limit_s=1.5 if fault == "hangs" else 20,
        stages=STAGES,
    )
