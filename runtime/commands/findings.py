"""What this machine can run and measure, what is missing, and the command that mends it.

Nothing is timed, built or downloaded here. A gain is stated in words: only a measurement gives a
figure.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from runtime.backends import BACKENDS
from runtime.errors import BackendError
from runtime.host import sensors, telemetry
from runtime.host.support import Platform, platform_of
from runtime.host.sysfs import ROOT

OK = "ok"
PARTLY = "partly"
MISSING = "missing"
NOTE = "note"
MIN_PYTHON = (3, 10)
MIN_FREE_BYTES = 200e6  # a bundle, its engines and room for a temporary copy
MIN_MEMORY_BYTES = 256e6
INSTALL_ORT = "pip install 'clip2edge[ort]'"


@dataclass(frozen=True)
class Finding:
    """One checked thing."""

    group: str  # "machine", "run", "measure", "build" or "apps"
    name: str
    state: str  # "ok", "partly" (works with a loss), "missing" or "note"
    detail: str  # the evidence, with its version
    remedy: str | None = None  # a command or a sentence, for a gap
    needed: bool = False  # the group does not work without it


def device_findings(root: Path = ROOT) -> list[Finding]:
    """The machine, what runs on it, and what can be measured on it."""
    host = telemetry.host(root)
    driver = root / "proc/driver/nvidia/version"
    nvidia = bool(host.jetson_linux or host.gpu) or driver.exists()
    platform = platform_of(host.jetson_linux, host.arch, nvidia)
    return [*_machine(host), *_run(host, platform, nvidia, root), *_measure(host, root)]


def works(findings: Iterable[Finding], group: str) -> bool:
    """Whether nothing that ``group`` needs is missing."""
    return not any(f.group == group and f.needed and f.state == MISSING for f in findings)


def version_of(*packages: str) -> tuple[str, str] | None:
    """The first installed one of ``packages``, with its version; imports nothing."""
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            return package, metadata.version(package)
    return None


def at_least(version: str, floor: str) -> bool:
    """Whether a version is ``floor`` or newer, by its leading numbers."""
    leading = (re.split(r"[+a-z-]", text, maxsplit=1)[0] for text in (version, floor))
    have, least = ([int(part) for part in re.findall(r"\d+", text)] for text in leading)
    return have >= least


def package_finding(
    group: str, package: str, floor: str, remedy: str | None = None, needed: bool = False
) -> Finding:
    """Whether a package is installed and new enough."""
    have = version_of(package)
    if have and at_least(have[1], floor):
        return Finding(group, package, OK, have[1], None, needed)
    detail = f"{have[1]}, {floor} or newer is needed" if have else "not installed"
    remedy = remedy or f"pip install '{package}>={floor}'"
    return Finding(group, package, MISSING, detail, remedy, needed)


def is_writable(folder: Path) -> bool:
    """Whether ``folder``, or its nearest existing parent, takes new files."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _machine(host: telemetry.Host) -> Iterator[Finding]:
    fact = partial(Finding, "machine")
    if host.device:
        yield fact("board", NOTE, host.device)
    cores = f"{host.cores_usable} usable of {host.cores_logical} processors"
    yield fact("processor", NOTE, f"{host.cpu or 'unknown'}, {host.arch}, {cores}")
    if host.gpu:
        driver = f", driver {host.gpu_driver}" if host.gpu_driver else ""
        yield fact("GPU", NOTE, f"{host.gpu}{driver}")
    if host.cpu_quota and host.cores_logical and host.cpu_quota < host.cores_usable:
        detail = f"this container may use {host.cpu_quota:g} processors"
        yield fact("quota", PARTLY, detail, "docker run --cpus with as many as the device has")
    yield _free("memory", host.memory_available_bytes, MIN_MEMORY_BYTES, "close other programs")
    disk = shutil.disk_usage(tempfile.gettempdir()).free
    yield _free("disk (temp)", disk, MIN_FREE_BYTES, "free some space, or set TMPDIR")


def _free(name: str, value: float | None, floor: float, remedy: str) -> Finding:
    if value is None:
        return Finding("machine", name, NOTE, "not reported by the system")
    amount = f"{value / 1e9:.1f} GB free" if value >= 1e9 else f"{value / 1e6:.0f} MB free"
    enough = value >= floor
    return Finding("machine", name, OK if enough else PARTLY, amount, None if enough else remedy)


def _run(host: telemetry.Host, platform: Platform, nvidia: bool, root: Path) -> Iterator[Finding]:
    fact = partial(Finding, "run")
    old = sys.version_info[:2] < MIN_PYTHON
    remedy = "a Python of 3.10 or newer, e.g. uv venv --python 3.10" if old else None
    version = ".".join(map(str, sys.version_info[:3]))
    yield fact("Python", MISSING if old else OK, version, remedy, needed=True)
    yield package_finding("run", "numpy", "1.24", needed=True)
    yield package_finding("run", "pillow", "10.0", needed=True)
    further = [name for name in BACKENDS if name not in ("onnxruntime", "tensorrt")]
    engines = [_onnxruntime(), *map(_engine, further), _tensorrt(nvidia, root)]
    yield from engines
    if not any(engine.state in (OK, PARTLY) for engine in engines):
        detail = f"none of {', '.join(BACKENDS)} is usable"
        yield fact("engine", MISSING, detail, INSTALL_ORT, needed=True)
    yield fact("int8", NOTE, int8_words(host.isa, host.arch))
    files = " or ".join(platform.files)
    yield fact("file to use", NOTE, f"{platform.name}: {files}; {platform.how}")


def _onnxruntime() -> Finding:
    fact = partial(Finding, "run", "onnxruntime")
    packages = BACKENDS["onnxruntime"].packages
    installed = [build for build in map(version_of, packages) if build]
    listed = ", ".join(f"{name} {version}" for name, version in installed)
    if len(installed) > 1:
        names = " ".join(name for name, _ in installed)
        remedy = f"pip uninstall -y {names}, then pip install the one you want"
        return fact(PARTLY, f"{listed}: they overwrite each other's files", remedy)
    try:
        from runtime.backends.onnxruntime import import_onnxruntime

        ort = import_onnxruntime()
    except BackendError as error:
        return fact(MISSING, str(error.got or error), error.remedy or INSTALL_ORT)
    present = ort.get_available_providers()
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in present)
    build = listed.removeprefix("onnxruntime ") or ort.__version__
    return fact(OK, f"{build}; providers {names}")


def _engine(name: str) -> Finding:
    """An engine that is one package, without loading it; an absent one is no gap by itself."""
    row = BACKENDS[name]
    package = version_of(*row.packages)
    if package is None or find_spec(row.library) is None:
        return Finding("run", name, NOTE, "not installed", f"pip install 'clip2edge[{row.extra}]'")
    return Finding("run", name, OK, package[1])


def _tensorrt(nvidia: bool, root: Path) -> Finding:
    """TensorRT and CUDA, without TensorRT's libraries, which load for seconds on a small device."""
    from runtime.tensorrt.api import GENERATIONS, install_hint
    from runtime.tensorrt.cuda import open_cuda

    fact = partial(Finding, "run", "TensorRT")
    row = BACKENDS["tensorrt"]
    spec = find_spec(row.library)
    package = version_of(*row.packages)
    version = package[1] if package else _stated_version(spec.origin if spec else None)
    if version is None and spec is None:
        if nvidia:
            return fact(MISSING, "not installed", install_hint(root))
        return fact(NOTE, "not installed, and no NVIDIA GPU to run it")
    version = version or "of unknown version"
    if version.partition(".")[0] not in map(str, GENERATIONS):
        detail = f"{version}; 10.x or 11.x is needed"
        return fact(MISSING, detail, "upgrade to JetPack 6.2 or later")
    if not nvidia:
        return fact(MISSING, f"{version}, but no NVIDIA GPU to run it", "use onnxruntime here")
    try:
        cuda = open_cuda(root).runtime_version()
    except BackendError as error:
        return fact(MISSING, f"{version}, but {error.what}", error.remedy)
    return fact(OK, f"{version}, CUDA runtime {cuda} (not run by this check)")


def _stated_version(origin: str | None) -> str | None:
    """The version in a module's own file, for one that no package brought."""
    text = Path(origin).read_text(encoding="utf-8") if origin and Path(origin).exists() else ""
    match = re.search(r"""^__version__ = ["']([\w.]+)""", text, re.MULTILINE)
    return match[1] if match else None


# Instruction sets and what they mean for int8; the first present one counts.
_PAYS = "int8 pays for ReLU networks"
_HARDLY = f"{_PAYS}, hardly for SiLU and squeeze-and-excite"
_INT8 = (
    ({"amx-int8"}, f"the processor multiplies int8 tiles (AMX): {_HARDLY}"),
    ({"avx512-vnni", "avx-vnni"}, f"the processor has int8 dot products (VNNI): {_HARDLY}"),
    ({"i8mm"}, f"the processor multiplies int8 matrices (i8mm): {_PAYS}"),
    ({"dotprod"}, f"the processor has int8 dot products (dotprod): {_PAYS}"),
)


def int8_words(isa: Sequence[str], arch: str) -> str:
    """What to expect of int8 on this processor."""
    words = next((words for names, words in _INT8 if names & set(isa)), None)
    if words:
        return f"{words}; compress bench measures it"
    absent = "dotprod" if arch in ("aarch64", "arm64", "armv7l") else "VNNI"
    gain = "int8 makes the file smaller, and gains little time or none"
    return f"no int8 dot products ({absent}) are shown: {gain}"


def _measure(host: telemetry.Host, root: Path) -> Iterator[Finding]:
    fact = partial(Finding, "measure")
    yield fact("latency", OK, "compress bench BUNDLE, or python -m runtime bench BUNDLE")
    if host.clock_mhz:
        limit = f" of {host.clock_max_mhz:.0f}" if host.clock_max_mhz else ""
        yield fact("clock", OK, f"{host.clock_mhz:.0f} MHz now{limit}")
    else:
        yield fact("clock", PARTLY, "cannot be read: throttling shows only as drift of the latency")
    is_jetson = host.jetson_linux is not None
    if host.power_mode or is_jetson:
        remedy = "sudo nvpmodel -m 0 sets the largest; sudo nvpmodel -q shows it"
        yield fact("power mode", NOTE, host.power_mode or "unknown", remedy)
    if is_jetson and host.clocks_locked:
        yield fact("clocks", OK, "locked")
    elif is_jetson:
        varies = "not locked: latency varies with the governor"
        yield fact("clocks", PARTLY, varies, "sudo jetson_clocks")
    elif host.governor and host.governor != "performance":
        remedy = "sudo cpupower frequency-set -g performance"
        yield fact("governor", PARTLY, f"{host.governor}: clocks change while measuring", remedy)
    elif host.governor:
        yield fact("governor", OK, host.governor)
    heat = host.temperature_c
    yield fact("temperature", OK if heat else PARTLY, f"{heat:.0f} °C" if heat else "no sensor")
    units = (sensors.CPU, sensors.GPU) if host.gpu else (sensors.CPU,)
    meters = {unit: meter for unit in units if (meter := sensors.sensor(unit, root))}
    yield from (fact(f"energy, {unit.upper()}", OK, meter.source) for unit, meter in meters.items())
    if not meters and (blocked := sensors.obstacles(root)):
        detail, _, remedy = blocked[0].partition(": ")
        yield fact("energy", PARTLY, detail, remedy)
    elif not meters:
        unreadable = "no power sensor that can be read: energy is left out of reports"
        yield fact("energy", PARTLY, unreadable)
