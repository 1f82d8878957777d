"""Java in tests: the compiler, JUnit, and the Android app's core as a program."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from paths import ROOT

HARNESS = ROOT / "tests" / "jvm" / "Harness.java"
CORE = "core/src/main/java"
# where Debian has JUnit 4 and its matchers, and where Maven keeps them
DEBIAN = [Path("/usr/share/java/junit4.jar"), Path("/usr/share/java/hamcrest.jar")]
MAVEN = Path.home() / ".m2" / "repository"
FROM_MAVEN = ["junit/junit/4.13.2/junit-4.13.2.jar"]
FROM_MAVEN += ["org/hamcrest/hamcrest-core/1.3/hamcrest-core-1.3.jar"]


class Runs(Protocol):
    """A runner of the runtime."""

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]: ...


def java(program: str = "java") -> str:
    """A program of the JDK, or the test is skipped."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program}: apt install default-jdk-headless")
    return found


def junit() -> str:
    """The class path of JUnit 4, or the test is skipped."""
    for jars in (DEBIAN, [MAVEN / name for name in FROM_MAVEN]):
        if all(jar.exists() for jar in jars):
            return os.pathsep.join(map(str, jars))
    pytest.skip("no JUnit: apt install junit4")


def sources_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.java"))


def compiled(
    sources: Iterable[Path], out: Path, *classes: str | Path, release: int = 8
) -> subprocess.CompletedProcess[str]:
    """Compiles with every warning an error; ``classes`` is the class path.

    Java 8's library and not a newer one: what the oldest supported Android has.
    """
    path = os.pathsep.join(map(str, classes))
    how = [
        "-encoding",
        "UTF-8",
        "--release",
        str(release),
        "-Xlint:all,-options,-serial",
        "-Werror",
    ]
    command = [java("javac"), *how, "-d", str(out), "-cp", path, *map(str, sources)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def build_core(app: Path, out: Path) -> Path:
    """The core of an app by itself, then the harness beside it; returns the classes."""
    done = compiled(sources_in(app / CORE), out)
    assert done.returncode == 0, done.stderr
    done = compiled([HARNESS], out, out, release=11)
    assert done.returncode == 0, done.stderr
    return out


def harness(classes: Path, *arguments: str | Path, given: bytes = b"") -> list[str]:
    """The lines that the harness prints."""
    command = _command(classes, arguments)
    done = subprocess.run(command, input=given, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def classify(classes: Path, assets: Path, images: Sequence[Path], runner: Runs) -> list[list[str]]:
    """Index, probability, known and label of each image; the model runs in ``runner``."""
    size = getattr(runner, "input_size", None)
    assert size is not None
    command = _command(classes, ["classify", assets, *images])
    rows = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        while tag := process.stdout.read(1):
            if tag == b"A":
                rows.append(process.stdout.readline().decode().strip().split(" ", 3))
                continue
            data = process.stdout.read(4 * 3 * size * size)
            batch = np.frombuffer(data, "<f4").reshape(1, 3, size, size)
            outputs = runner.run_all(np.ascontiguousarray(batch), ("logits", "features"))
            for name in ("logits", "features"):
                row = outputs[name][0].astype("<f4")
                process.stdin.write(len(row).to_bytes(4, "little") + row.tobytes())
            process.stdin.flush()
    assert process.returncode == 0
    return rows


def _command(classes: Path, arguments: Sequence[str | Path]) -> list[str]:
    options = ["-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    options += ["-Djava.awt.headless=true", "-Dfile.encoding=UTF-8"]
    program = "com.example.classifier.Harness"
    return [java(), *options, "-cp", str(classes), program, *map(str, arguments)]
