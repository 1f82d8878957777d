"""bench.json files of other devices -> report.json["devices"], if they measured this bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compress.engine.errors import BenchFileError
from compress.engine.store import sha256_file
from compress.report.model.report import ReportDevice, refusal
from compress.report.sections.devices import device_name
from runtime.bench import file as bench_file
from runtime.bundle import MANIFEST
from runtime.errors import EdgeError, ExplainedError

WINDOWS = 240  # of a sustained run that are kept
DIGITS = 5  # significant ones of a kept quantile: finer than any clock here repeats

DEVICE = TypeAdapter(ReportDevice)


def merge(report: Mapping[str, Any], files: Iterable[Path], bundle: Path) -> dict[str, object]:
    """The report with the devices of ``files``; a run that is already there is replaced.

    Raises: BenchFileError: an unreadable file, or one that did not measure the run's ``bundle``.
    """
    manifest, files = bundle / MANIFEST, list(files)
    if files and not manifest.is_file():
        what = "there is no bundle to compare the measurements with"
        remedy = "run this where the run was built, or copy its bundle folder beside report.json"
        raise BenchFileError(what, got=str(bundle), remedy=remedy)
    known = {_run_of(DEVICE.validate_python(plain)): plain for plain in report.get("devices", [])}
    for file in files:
        plain = read(file)
        device = DEVICE.validate_python(plain)
        check(device, manifest, file)
        known[_run_of(device)] = shortened(plain)
    return {**report, "devices": [known[run] for run in sorted(known)]}


def read(file: Path) -> dict[str, object]:
    """A bench.json that keeps its contract.

    Raises: BenchFileError: not what ``compress bench --out`` writes.
    """
    why: ExplainedError
    try:
        plain = bench_file.read(file)
        DEVICE.validate_python(plain)
        return plain
    except EdgeError as error:
        why = error
    except ValidationError as error:
        why = refusal(f"{file} is not a bench.json that a report can show", error)
    raise BenchFileError(why.what, got=why.got, expected=why.expected, remedy=why.remedy) from why


def check(device: ReportDevice, manifest: Path, file: Path) -> None:
    """Refuses measurements of another bundle; another target beside the same files does no harm.

    Raises: BenchFileError: a file that was timed is not this run's; or none is known by its hash,
        and the manifest is not this run's.
    """
    own, measured = sha256_file(manifest), device.bundle.manifest_sha256
    listed = json.loads(manifest.read_text(encoding="utf-8"))["files"].values()
    shipped = {entry["sha256"] for entry in listed}
    timed = [row for row in device.rows if row.model != "teacher"]
    foreign = [row for row in timed if row.file_sha256 and row.file_sha256 not in shipped]
    known = bool(timed) and all(row.file_sha256 for row in timed) and not foreign
    if measured != own and not known:
        raise BenchFileError(
            f"{file} measured another bundle",
            got=f"{device.bundle.name}, manifest sha256 {measured[:16]}…",
            expected=f"{own[:16]}… ({manifest})",
            remedy="copy this run's bundle folder to the device, and run compress bench there",
        )
    for row in foreign:
        what = f"{file} timed a file that is not in this bundle"
        got = f"{row.precision}, sha256 {(row.file_sha256 or '')[:16]}…"
        raise BenchFileError(what, got=got, remedy="compress verify the bundle on the device")


def shortened(device: Mapping[str, Any]) -> dict[str, object]:
    """A bench.json for report.json: rounded quantiles of single images, fewer windows."""
    rows = []
    for row in device["rows"]:
        kept = dict(row)
        curve = kept.pop("quantiles_ms", None)
        if curve and kept["batch"] == 1:
            kept["quantiles_ms"] = [float(f"{value:.{DIGITS}g}") for value in curve]
        rows.append(kept)
    windows = device.get("sustained")
    thinned = windows and windows[:: -(-len(windows) // WINDOWS)]
    return {**device, "rows": rows, "sustained": thinned}


def _run_of(device: ReportDevice) -> tuple[str, str]:
    return device_name(device.host), device.started
