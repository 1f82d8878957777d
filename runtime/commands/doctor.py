"""What this machine can run and measure, what is missing, and the command that mends it: ``python
-m runtime doctor``.

Nothing is timed, built or downloaded here; a gain is stated in words, for only a measurement gives
a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.errors import BackendError
from runtime.host import sensors, telemetry
from runtime.host.support import MATRIX, Platform, platform_of, table
from runtime.host.sysfs import ROOT

OK, PARTLY, MISSING, NOTE = "ok", "partly", "missing", "note"
MIN_PYTHON = (3, 10)
MIN_FREE_BYTES = 200e6  # a bundle, its engines and room for a temporary copy
MIN_MEMORY_BYTES = 256e6
ORT_PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-directml",
)
TRT_PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11")
LABEL, STATE, WIDTH = 15, 9, 79


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: "machine", "run", "measure", "build" or "apps".
        name: what it is.
        state: "ok", "partly" (works with a loss), "missing" or "note".
        detail: what was found, with its version.
        remedy: a command or a sentence, where there is a gap.
        needed: whether the group's base function is impossible without it.
    """

    group: str
    name: str
    state: str
    detail: str
    remedy: str | None = None
    needed: bool = False


def device_findings(root: Path = ROOT) -> list[Finding]:
    """The machine, what runs on it, and what can be measured on it."""
    host = telemetry.host(root)
    nvidia = has_nvidia(host, root)
    place = platform_of(host.jetson_linux, host.arch, nvidia)
    return [*_machine(host), *_run(host, place, nvidia, root), *_measure(host, root)]


def works(findings: Iterable[Finding], group: str) -> bool:
    """Whether nothing that ``group`` needs is missing."""
    return not any(f.group == group and f.needed and f.state == MISSING for f in findings)


def has_nvidia(host: telemetry.Host, root: Path = ROOT) -> bool:
    """Whether the machine shows an NVIDIA GPU."""
    return bool(host.jetson_linux or host.gpu) or (root / "proc/driver/nvidia/version").exists()


def version_of(*packages: str) -> tuple[str, str] | None:
    """The first of ``packages`` that is installed, with its version; without importing it."""
    for package in packages:
        try:
            return package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def at_least(version: str, floor: str) -> bool:
    """Whether a version is ``floor`` or newer, by its leading numbers."""

    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", re.split(r"[+a-z-]", text, maxsplit=1)[0])]

    return numbers(version) >= numbers(floor)


def _machine(host: telemetry.Host) -> list[Finding]:
    cores = f"{host.cores_usable} usable of {host.cores_logical} processors"
    found = [
        Finding("machine", "processor", NOTE, f"{host.cpu or 'unknown'}, {host.arch}, {cores}")
    ]
    if host.device:
        found.insert(0, Finding("machine", "board", NOTE, host.device))
    if host.gpu:
        found.append(
            Finding(
                "machine",
                "GPU",
                NOTE,
                f"{host.gpu}{f', driver {host.gpu_driver}' if host.gpu_driver else ''}",
            )
        )
    if host.cpu_quota and host.cores_logical and host.cpu_quota < host.cores_usable:
        found.append(
            Finding(
                "machine",
                "quota",
                PARTLY,
                f"this container may use {host.cpu_quota:g} processors",
                "docker run --cpus with as many as the device has",
            )
        )
    found.append(
        _enough(
            "machine",
            "memory",
            host.memory_available_bytes,
            MIN_MEMORY_BYTES,
            "close other programs",
        )
    )
    free = shutil.disk_usage(tempfile.gettempdir()).free
    found.append(
        _enough("machine", "disk (temp)", free, MIN_FREE_BYTES, "free some space, or set TMPDIR")
    )
    return found


def _enough(group: str, name: str, value: float | None, floor: float, remedy: str) -> Finding:
    if value is None:
        return Finding(group, name, NOTE, "the system does not tell")
    state = OK if value >= floor else PARTLY
    return Finding(group, name, state, f"{_bytes(value)} free", None if state == OK else remedy)


def _run(host: telemetry.Host, place: Platform, nvidia: bool, root: Path) -> list[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info[:2] < MIN_PYTHON
    found = [
        Finding(
            "run",
            "Python",
            MISSING if old else OK,
            python,
            "a Python of 3.10 or newer, e.g. uv venv --python 3.10" if old else None,
            needed=True,
        ),
        package_finding("run", "numpy", "1.24", needed=True),
        package_finding("run", "pillow", "10.0", needed=True),
    ]
    engines = [_onnxruntime(), *_tensorrt(nvidia, root)]
    usable = any(f.name in ("onnxruntime", "TensorRT") and f.state in (OK, PARTLY) for f in engines)
    found += engines
    if not usable:
        found.append(
            Finding(
                "run",
                "engine",
                MISSING,
                "neither onnxruntime nor TensorRT is usable",
                "pip install 'clip2edge[ort]'",
                needed=True,
            )
        )
    found.append(Finding("run", "int8", NOTE, int8_words(host.isa, host.arch)))
    files = " or ".join(place.files)
    found.append(Finding("run", "file to use", NOTE, f"{place.name}: {files}; {place.how}"))
    return found


def package_finding(
    group: str, package: str, floor: str, remedy: str | None = None, needed: bool = False
) -> Finding:
    """Whether a package is there and new enough."""
    have = version_of(package)
    remedy = remedy or f"pip install '{package}>={floor}'"
    if have is None:
        return Finding(group, package, MISSING, "not installed", remedy, needed)
    if not at_least(have[1], floor):
        return Finding(
            group, package, MISSING, f"{have[1]}, {floor} or newer is needed", remedy, needed
        )
    return Finding(group, package, OK, have[1], None, needed)


def _onnxruntime() -> Finding:
    installed = [found for found in map(version_of, ORT_PACKAGES) if found]
    listed = ", ".join(f"{name} {version}" for name, version in installed)
    if len(installed) > 1:
        names = " ".join(name for name, _ in installed)
        return Finding(
            "run",
            "onnxruntime",
            PARTLY,
            f"{listed}: they overwrite each other's files",
            f"pip uninstall -y {names}, then pip install the one you want",
        )
    try:
        from runtime.backends.onnxruntime import import_onnxruntime as import_ort

        ort = import_ort()
    except BackendError as error:
        return Finding(
            "run",
            "onnxruntime",
            MISSING,
            str(error.got or error),
            error.remedy or "pip install 'clip2edge[ort]'",
        )
    providers = ", ".join(
        name.removesuffix("ExecutionProvider") for name in ort.get_available_providers()
    )
    build = listed.removeprefix("onnxruntime ") or ort.__version__
    return Finding("run", "onnxruntime", OK, f"{build}; providers {providers}")


def _tensorrt(nvidia: bool, root: Path) -> list[Finding]:
    """TensorRT and CUDA without loading their libraries, which takes seconds on a small device."""
    from runtime.tensorrt.api import GENERATIONS, install_hint

    spec = find_spec("tensorrt")
    have = version_of(*TRT_PACKAGES) or _stated(spec.origin if spec else None)
    if have is None and spec is None:
        state = MISSING if nvidia else NOTE
        detail = "not installed" if nvidia else "not installed, and no NVIDIA GPU to run it"
        return [Finding("run", "TensorRT", state, detail, install_hint(root) if nvidia else None)]
    version = have[1] if have else "of unknown version"
    known = version.partition(".")[0] in map(str, GENERATIONS)
    if not known:
        return [
            Finding(
                "run",
                "TensorRT",
                MISSING,
                f"{version}; 10.x or 11.x is needed",
                "upgrade to JetPack 6.2 or later",
            )
        ]
    if not nvidia:
        return [
            Finding(
                "run",
                "TensorRT",
                MISSING,
                f"{version}, but no NVIDIA GPU to run it",
                "use onnxruntime here",
            )
        ]
    from runtime.tensorrt.cuda import open_cuda

    try:
        cuda = open_cuda(root)
        return [
            Finding(
                "run",
                "TensorRT",
                OK,
                f"{version}, CUDA runtime {cuda.runtime_version()} (not run by this check)",
            )
        ]
    except BackendError as error:
        return [Finding("run", "TensorRT", MISSING, f"{version}, but {error.what}", error.remedy)]


def _stated(origin: str | None) -> tuple[str, str] | None:
    """The version that a module's own file states, where no package tells it."""
    file = Path(origin) if origin else None
    match = (
        re.search(r"""^__version__ = ["']([\w.]+)""", file.read_text(), re.MULTILINE)
        if file and file.exists()
        else None
    )
    return (file.parent.name, match[1]) if file and match else None


# Instruction sets with what they mean for int8, the first that is present counts.
_INT8 = (
    (
        ("amx-int8",),
        "the processor multiplies int8 tiles (AMX): int8 pays for ReLU networks, hardly for "
        "SiLU and "
        "squeeze-and-excite",
    ),
    (
        ("avx512-vnni", "avx-vnni"),
        "the processor has int8 dot products (VNNI): int8 pays for ReLU networks, hardly for "
        "SiLU and squeeze-and-excite",
    ),
    (("i8mm",), "the processor multiplies int8 matrices (i8mm): int8 pays for ReLU networks"),
    (("dotprod",), "the processor has int8 dot products (dotprod): int8 pays for ReLU networks"),
)


def int8_words(isa: Sequence[str], arch: str) -> str:
    """What to expect of int8 on this processor, in words."""
    for names, words in _INT8:
        if set(names) & set(isa):
            return f"{words}; compress bench measures it"
    lacks = "dotprod" if arch in ("aarch64", "arm64", "armv7l") else "VNNI"
    return (
        f"no int8 dot products ({lacks}) are shown: int8 makes the file smaller, and gains "
        "little time or none"
    )


def _measure(host: telemetry.Host, root: Path) -> list[Finding]:
    jetson = host.jetson_linux is not None
    found = [
        Finding(
            "measure", "latency", OK, "compress bench BUNDLE, or python -m runtime bench BUNDLE"
        )
    ]
    clock = f"{host.clock_mhz:.0f} MHz now" if host.clock_mhz else None
    found.append(
        Finding(
            "measure",
            "clock",
            OK,
            f"{clock}{f' of {host.clock_max_mhz:.0f}' if host.clock_max_mhz else ''}",
        )
        if clock
        else Finding(
            "measure",
            "clock",
            PARTLY,
            "cannot be read: throttling shows only as drift of the latency",
        )
    )
    if host.power_mode or jetson:
        found.append(
            Finding(
                "measure",
                "power mode",
                NOTE,
                host.power_mode or "unknown",
                "sudo nvpmodel -m 0 sets the largest; sudo nvpmodel -q tells",
            )
        )
    if jetson:
        locked = host.clocks_locked
        found.append(
            Finding(
                "measure",
                "clocks",
                OK if locked else PARTLY,
                "locked" if locked else "not locked: latency varies with the governor",
                None if locked else "sudo jetson_clocks",
            )
        )
    elif host.governor and host.governor != "performance":
        found.append(
            Finding(
                "measure",
                "governor",
                PARTLY,
                f"{host.governor}: clocks change while measuring",
                "sudo cpupower frequency-set -g performance",
            )
        )
    elif host.governor:
        found.append(Finding("measure", "governor", OK, host.governor))
    heat = host.temperature_c
    found.append(
        Finding(
            "measure",
            "temperature",
            OK if heat else PARTLY,
            f"{heat:.0f} °C" if heat else "no sensor",
        )
    )
    return [*found, *_energy(host, root)]


def _energy(host: telemetry.Host, root: Path) -> list[Finding]:
    known = {unit: sensors.sensor(unit, root) for unit in ("cpu", *(["gpu"] if host.gpu else []))}
    found = []
    for unit, sensor in known.items():
        if sensor is not None:
            found.append(Finding("measure", f"energy, {unit.upper()}", OK, sensor.source))
    if found:
        return found
    blocked = sensors.obstacles(root)
    if blocked:
        detail, _, remedy = blocked[0].partition(": ")
        return [Finding("measure", "energy", PARTLY, detail, remedy)]
    return [
        Finding(
            "measure",
            "energy",
            PARTLY,
            "no power sensor that can be read: energy is left out of reports",
        )
    ]


def lines(
    findings: Sequence[Finding], groups: Sequence[tuple[str, str]], matrix: bool = True
) -> list[str]:
    """The findings as text, at most 79 columns wide (commands may be longer).

    Args:
        groups: (group, heading) in the order to show.
    """
    out: list[str] = []
    for group, heading in groups:
        out += [heading, *(line for f in findings if f.group == group for line in _lines_of(f)), ""]
    if matrix:
        out += [
            "Support matrix (NVIDIA rows were not run by this project)",
            *(f"  {row}" for row in table()),
        ]
    return out[:-1] if out and not out[-1] else out


def _lines_of(finding: Finding) -> list[str]:
    indent = 2 + STATE + LABEL
    head = f"  {finding.state:{STATE}}{finding.name:{LABEL}}"
    body = textwrap.wrap(
        finding.detail, WIDTH - indent, break_long_words=False, break_on_hyphens=False
    ) or [""]
    out = [head + body[0], *(" " * indent + line for line in body[1:])]
    if finding.remedy:
        more = textwrap.wrap(
            finding.remedy, WIDTH - indent - 3, break_long_words=False, break_on_hyphens=False
        )
        out += [
            " " * indent + ("-> " if index == 0 else "   ") + line
            for index, line in enumerate(more)
        ]
    return out


DEVICE_GROUPS = (("machine", "This machine"), ("run", "Run a bundle"), ("measure", "Measure"))


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    parser = commands.add_parser(
        "doctor", help="what this machine can run and measure, and the remedy for each gap"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace, look: Callable[[], list[Finding]] = device_findings) -> int:
    """Prints the findings; exit code 1 where no bundle can be run here."""
    findings = look()
    if args.json:
        print(json.dumps(to_json(findings), indent=1))
    else:
        print("\n".join(lines(findings, DEVICE_GROUPS)))
        print(f"\n{verdict('runs bundles', works(findings, 'run'))}")
    return 0 if works(findings, "run") else 1


def verdict(what: str, possible: bool) -> str:
    """The last line."""
    return (
        f"This machine {what}."
        if possible
        else f"This machine cannot yet: {what}. See 'missing' above."
    )


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The public form: ``{"schema": 1, "kind": "clip2edge-doctor", "can": {...}, "findings": [...],
    "support": [...]}``.
    """
    groups = {finding.group for finding in findings}
    return {
        "schema": 1,
        "kind": "clip2edge-doctor",
        "can": {
            group: works(findings, group)
            for group in ("run", "measure", "build", "apps")
            if group in groups
        },
        "host": telemetry.host().to_json(),
        "findings": [asdict(finding) for finding in findings],
        "support": [row.to_json() for row in MATRIX],
    }


def _bytes(value: float) -> str:
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in ``folder``, or in its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
