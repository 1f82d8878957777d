"""bench.json files of other devices -> report.json["devices"]. A file is believed only where it
measured this very bundle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compress.engine.errors import BenchFileError
from compress.engine.store import sha256_file
from compress.report.model.device import Device
from compress.report.model.report import refusal
from compress.report.sections.devices import device_name
from runtime.bench import file as bench_file
from runtime.errors import EdgeError

WINDOWS = 240  # of a sustained run that are kept
DIGITS = 5  # significant ones of a kept quantile: finer than any clock here repeats


def merge(report: Mapping[str, Any], files: Iterable[Path], bundle: Path) -> dict[str, Any]:
    """The report with the devices of ``files``; a run that is already there is replaced.

    Args:
        bundle: the run's bundle, whose manifest every file has to name.

    Raises:
        BenchFileError: an unreadable file, or one that measured another bundle.
    """
    manifest = bundle / "manifest.json"
    files = list(files)
    if files and not manifest.is_file():
        raise BenchFileError(
            "there is no bundle to compare the measurements with",
            got=str(bundle),
            expected="the run's bundle folder",
            remedy="run this where the run was built, or copy its bundle folder beside report.json",
        )
    known = {_run_of(device): device for device in report.get("devices", [])}
    for file in files:
        device = shortened(read(file))
        check(device, manifest, file)
        known[_run_of(device)] = device
    return {
        **report,
        "devices": sorted(known.values(), key=lambda d: (device_name(d["host"]), d["started"])),
    }


def read(file: Path) -> dict[str, Any]:
    """A bench.json that keeps its contract.

    Raises:
        BenchFileError: not what ``compress bench --out`` writes.
    """
    try:
        told = bench_file.read(file)
        Device.model_validate(told)
    except EdgeError as error:
        raise BenchFileError(
            error.what, got=error.got, expected=error.expected, remedy=error.remedy
        ) from error
    except ValidationError as error:
        said = refusal(f"{file} is not a bench.json that a report can show", error)
        raise BenchFileError(
            said.what, got=said.got, expected=said.expected, remedy=said.remedy
        ) from error
    return told


def check(device: Mapping[str, Any], manifest: Path, file: Path) -> None:
    """Refuses measurements of another bundle.

    Raises:
        BenchFileError: the manifest, or a file that was timed, is not this run's.
    """
    own, told = sha256_file(manifest), device["bundle"]["manifest_sha256"]
    if told != own:
        raise BenchFileError(
            f"{file} measured another bundle",
            got=f"{device['bundle']['name']}, manifest sha256 {told[:16]}…",
            expected=f"{own[:16]}… ({manifest})",
            remedy="copy this run's bundle folder to the device as it is, and run compress "
            "bench there again",
        )
    shipped = {entry["sha256"] for entry in json.loads(manifest.read_text())["files"].values()}
    for row in device["rows"]:
        sha = row.get("file_sha256")
        if row["model"] != "teacher" and sha is not None and sha not in shipped:
            raise BenchFileError(
                f"{file} timed a file that is not in this bundle",
                got=f"{row['precision']}, sha256 {sha[:16]}…",
                expected="one of the files that the manifest lists",
                remedy="compress verify the bundle on the device",
            )


def shortened(device: Mapping[str, Any]) -> dict[str, Any]:
    """A bench.json as the report keeps it: rounded quantiles of single images, a thinned sustained
    run.
    """
    rows = []
    for row in device["rows"]:
        kept = dict(row)
        curve = kept.pop("quantiles_ms", None)
        if curve and kept["batch"] == 1:
            kept["quantiles_ms"] = [float(f"{value:.{DIGITS}g}") for value in curve]
        rows.append(kept)
    windows = device.get("sustained")
    if windows:
        windows = windows[:: -(-len(windows) // WINDOWS)]
    return {**device, "rows": rows, "sustained": windows}


def _run_of(device: Mapping[str, Any]) -> tuple[str, str]:
    return device_name(device["host"]), device["started"]
