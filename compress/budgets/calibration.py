"""Factors that correct a device's estimates, fitted to a ``bench.json`` of that device.

A factor is measured / estimated p50 of the very files that were measured, identified by their
SHA-256: one per precision, the geometric mean over several rows. A precision that was not measured
takes the geometric mean of the others, and says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from compress.budgets.costs import costs_of
from compress.budgets.devices import device, matching
from compress.budgets.roofline import estimate
from compress.engine.errors import BudgetError
from compress.engine.store import sha256_file, write_json
from compress.engine.text import read_text

SCHEMA = 1
KIND = "clip2edge-bench"
COMPUTE = "compute"  # rows that time the network alone


@dataclass(frozen=True)
class Calibration:
    """Factors of a device (precision -> measured / estimated), and where they come from."""

    device: str
    factors: Mapping[str, float]
    source: Mapping[str, Any]

    def factor(self, precision: str) -> tuple[float, Mapping[str, Any]]:
        """The factor of a precision, and where it comes from."""
        if precision in self.factors:
            return self.factors[precision], {**self.source, "measured": precision}
        basis = f"not {precision}: the mean of {', '.join(sorted(self.factors))}"
        return geometric_mean(self.factors.values()), {**self.source, "measured": basis}

    def save(self, path: Path) -> None:
        """Writes it as a JSON file that ``budget.calibration`` accepts."""
        write_json(path, {"schema": SCHEMA, **vars(self)})


def load_calibration(path: Path) -> Calibration:
    """Reads a file of ``compress estimate --save``; raises BudgetError if it is none."""
    try:
        plain = json.loads(read_text(path, BudgetError))
        schema = plain["schema"]
        name = str(plain["device"])
        source = dict(plain["source"])
        factors = {str(key): float(value) for key, value in plain["factors"].items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        what = "the calibration is not a file of compress estimate --save"
        raise BudgetError(what, got=f"{path}: {error}") from error
    if schema != SCHEMA or not factors or not all(0 < v < math.inf for v in factors.values()):
        expected = f"schema {SCHEMA} and positive factors"
        raise BudgetError("the calibration is wrong", got=str(path), expected=expected)
    device(name)
    return Calibration(name, factors, source)


def calibrate(bench_path: Path, models: Iterable[Path], name: str | None = None) -> Calibration:
    """Fits the factors of a device to its bench.json.

    Args:
        models: ONNX files, those of the measured bundle among them.
        name: the profile; None to recognize it by the board's own name.

    Raises:
        BudgetError: no row of the bench measured one of the files.
    """
    bench = _read_bench(bench_path)
    profile = device(_device_of(bench, bench_path, name))
    by_hash = {sha256_file(path): path for path in models}
    ratios: dict[str, list[float]] = {}
    rows = []
    for row in bench["rows"]:
        path = by_hash.get(str(row.get("file_sha256")))
        is_network = row.get("includes") == COMPUTE and row.get("batch") == 1
        if path is None or not is_network or not row.get("p50_ms"):
            continue
        precision = str(row["precision"]).partition(".")[0]
        estimated_ms = estimate(costs_of(path), profile, precision).p50_ms
        ratios.setdefault(precision, []).append(row["p50_ms"] / estimated_ms)
        about = {key: row.get(key) for key in ("model", "threads", "backend", "verdict")}
        times = {"measured_ms": row["p50_ms"], "estimated_ms": estimated_ms}
        rows.append({"precision": precision, **about, **times})
    if not rows:
        raise BudgetError(
            "the bench measured none of these files",
            got=f"{bench_path} and {len(by_hash)} ONNX files",
            remedy="measure this bundle: compress bench BUNDLE --out bench.json, on the device",
        )
    host = bench.get("host", {})
    source = {
        "bench": bench_path.name,
        "sha256": sha256_file(bench_path),
        "host": host.get("device"),
        "power_mode": host.get("power_mode"),
        "started": bench.get("started"),
        "rows": rows,
    }
    factors = {key: geometric_mean(values) for key, values in ratios.items()}
    return Calibration(profile.name, factors, source)


def _read_bench(path: Path) -> Mapping[str, Any]:
    try:
        loaded = json.loads(read_text(path, BudgetError))
    except (ValueError, RecursionError) as error:
        raise BudgetError("the bench cannot be read", got=f"{path}: {error}") from error
    bench: Mapping[str, Any] = loaded if isinstance(loaded, dict) else {}
    kind = bench.get("kind")
    schema = bench.get("schema")
    if kind != KIND or schema != 1 or not isinstance(bench.get("rows"), list):
        raise BudgetError(
            "this is not a bench of clip2edge",
            got=f"{path}: kind {kind!r}, schema {schema!r}",
            remedy="compress bench BUNDLE --out bench.json",
        )
    return bench


def _device_of(bench: Mapping[str, Any], path: Path, name: str | None) -> str:
    """The profile of a bench: the one its board matches, or ``name`` if that is one of them."""
    board = bench.get("host", {}).get("device")
    fitting = matching(board)
    if name is None and len(fitting) == 1:
        return fitting[0]
    # profiles without a board's name, this machine and phones, accept any bench
    if name is not None and (name in fitting or not device(name).matches):
        return name
    raise BudgetError(
        "the bench is not of this device" if name else "its board fits no profile, or several",
        got=f"{path}: board {board!r}",
        expected=f"a bench of {name}" if name else "one profile",
        remedy=f"name the profile as NAME=bench.json; fitting: {', '.join(fitting) or 'none'}",
    )
