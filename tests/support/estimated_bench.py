"""A bench.json whose times follow from estimates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from report_devices import bench_json

from compress.budgets.costs import costs_of
from compress.budgets.devices import device
from compress.budgets.roofline import estimate
from compress.engine.store import sha256_file


def write_bench(bundle: Path, folder: Path, host: dict[str, Any], factor: float, name: str) -> Path:
    """bench.json with medians that are ``factor`` times the estimates of the bundle's files."""
    bench = bench_json(bundle, host)
    for row in bench["rows"]:
        if row["model"] != "teacher" and row["includes"] == "compute":
            file = bundle / f"model.{row['precision']}.onnx"
            row["p50_ms"] = factor * estimate(costs_of(file), device(name), row["precision"]).p50_ms
            row["file_sha256"] = sha256_file(file)
    path = folder / "bench.json"
    path.write_text(json.dumps(bench))
    return path
