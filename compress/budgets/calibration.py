"""Estimates corrected by measurements: one factor per precision, fitted to a ``bench.json`` of the
device.

The factor is measured / estimated p50 of the very files that were measured, known by their SHA-256;
the geometric mean where there are several. A precision that was not measured takes the geometric
mean of those that were, and says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.budgets.costs import Costs, costs_of
from compress.budgets.devices import Device, device, matching
from compress.budgets.roofline import Estimate, estimate
from compress.engine.errors import BudgetError
from compress.engine.store import sha256_file, write_json

SCHEMA = 1
KIND = "clip2edge-bench"
COMPUTE = "compute"  # rows that time the network alone


@dataclass(frozen=True)
class Calibration:
    """Factors of a device, and the measurements they come from.

    Attributes:
        device: the profile they are for. mode: the power mode that the bench recorded, or None.
        factors: precision -> measured / estimated.
        source: file, its SHA-256, host, time, and the rows that were used.
    """

    device: str
    factors: Mapping[str, float]
    source: Mapping[str, Any]

    def factor(self, precision: str) -> tuple[float, dict[str, Any]]:
        """The factor of a precision, and where it comes from."""
        if precision in self.factors:
            return self.factors[precision], {**self.source, "measured": precision}
        mean = math.exp(sum(map(math.log, self.factors.values())) / len(self.factors))
        return mean, {
            **self.source,
            "measured": f"not {precision}: the mean of {', '.join(sorted(self.factors))}",
        }

    def save(self, path: Path) -> None:
        """Writes it as JSON, to be named with ``budget.calibration``."""
        write_json(
            path,
            {
                "schema": SCHEMA,
                "device": self.device,
                "factors": dict(self.factors),
                "source": dict(self.source),
            },
        )


def estimated(
    costs: Costs, where: Device, precision: str, known: Iterable[Calibration] = ()
) -> Estimate:
    """The estimate of a model, with the device's calibration where there is one."""
    found = next((calibration for calibration in known if calibration.device == where.name), None)
    if found is None:
        return estimate(costs, where, precision)
    factor, source = found.factor(precision)
    return estimate(costs, where, precision, factor=factor, calibration=source)


def read_bench(path: Path) -> dict[str, Any]:
    """A ``bench.json``.

    Raises:
        BudgetError: it is none, or of another schema.
    """
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BudgetError(
            "the bench cannot be read", got=f"{path}: {error}", expected="a bench.json"
        ) from error
    kind, schema = (
        (loaded.get("kind"), loaded.get("schema")) if isinstance(loaded, dict) else (None, None)
    )
    if kind != KIND or schema != 1 or not isinstance(loaded.get("rows"), list):
        raise BudgetError(
            "this is no bench of ours",
            got=f"{path}: kind {kind!r}, schema {schema!r}",
            expected=f"kind {KIND!r}, schema 1",
            remedy="compress bench BUNDLE --out bench.json",
        )
    return loaded


def device_of(bench: Mapping[str, Any], path: Path, wanted: str | None = None) -> str:
    """The profile that a bench belongs to: as its board calls itself, or ``wanted`` where that is
    one of them.

    Raises:
        BudgetError: the board is another one than ``wanted``, or fits no profile.
    """
    board = bench.get("host", {}).get("device")
    fitting = matching(board)
    if wanted is None and len(fitting) == 1:
        return fitting[0]
    if wanted is not None and (
        wanted in fitting or wanted == "host" or wanted.startswith("phone-")
    ):
        return wanted
    raise BudgetError(
        "the bench is not of this device"
        if wanted
        else "the bench's board fits no profile, or several",
        got=f"{path}: board {board!r}",
        expected=f"a bench of {wanted}" if wanted else "one profile",
        remedy=f"it fits {', '.join(fitting)}: say which"
        if fitting
        else "name the profile as NAME=bench.json",
    )


def calibrate(bench_path: Path, models: Iterable[Path], wanted: str | None = None) -> Calibration:
    """The factors of a device.

    Args:
        models: ONNX files, those of the measured bundle among them.
        wanted: the profile; None where the board tells.

    Raises:
        BudgetError: no row of the bench measured one of the files.
    """
    bench = read_bench(bench_path)
    name = device_of(bench, bench_path, wanted)
    where, by_hash = device(name), {sha256_file(path): path for path in models}
    ratios: dict[str, list[float]] = {}
    rows = []
    for row in bench["rows"]:
        path = by_hash.get(str(row.get("file_sha256")))
        if (
            path is None
            or row.get("includes") != COMPUTE
            or row.get("batch") != 1
            or not row.get("p50_ms")
        ):
            continue
        precision = str(row["precision"]).partition(".")[0]
        guess = estimate(costs_of(path), where, precision).p50_ms
        ratios.setdefault(precision, []).append(row["p50_ms"] / guess)
        rows.append(
            {
                "model": row.get("model"),
                "precision": precision,
                "threads": row.get("threads"),
                "backend": row.get("backend"),
                "measured_ms": row["p50_ms"],
                "estimated_ms": guess,
                "verdict": row.get("verdict"),
            }
        )
    if not rows:
        raise BudgetError(
            "the bench measured none of these files",
            got=f"{bench_path} and {len(by_hash)} ONNX files",
            expected="a bench.json of this very bundle",
            remedy="compress bench BUNDLE --out bench.json, on the device",
        )
    source = {
        "bench": bench_path.name,
        "sha256": sha256_file(bench_path),
        "host": bench.get("host", {}).get("device"),
        "power_mode": bench.get("host", {}).get("power_mode"),
        "started": bench.get("started"),
        "rows": rows,
    }
    factors = {
        key: math.exp(sum(map(math.log, values)) / len(values)) for key, values in ratios.items()
    }
    return Calibration(name, factors, source)


def load_calibration(path: Path) -> Calibration:
    """What ``compress estimate --save`` wrote.

    Raises:
        BudgetError: another file, or factors that are no positive numbers.
    """
    try:
        plain = json.loads(path.read_text())
        factors = {str(key): float(value) for key, value in plain["factors"].items()}
        name, source = str(plain["device"]), dict(plain["source"])
        right = (
            plain["schema"] == SCHEMA
            and factors
            and all(0 < v < math.inf for v in factors.values())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BudgetError(
            "the calibration cannot be read",
            got=f"{path}: {error}",
            expected="a file of compress estimate --save",
        ) from error
    if not right:
        raise BudgetError(
            "the calibration is wrong",
            got=str(path),
            expected=f"schema {SCHEMA} and positive factors",
        )
    device(name)
    return Calibration(name, factors, source)
