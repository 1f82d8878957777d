"""Figures of other devices for the report: bench.json files, budgets, candidates, a sensitivity.

They are invented, not measured: with them the page and its contract are tested without the devices.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from manifests import manifest_of

ORIN = {
    "device": "NVIDIA Jetson Orin Nano Developer Kit",
    "cpu": "Cortex-A78AE",
    "arch": "aarch64",
    "cores_usable": 6,
    "power_mode": "15W",
    "governor": "schedutil",
}
PI = {
    "device": "Raspberry Pi 5 Model B Rev 1.0",
    "cpu": "Cortex-A76",
    "arch": "aarch64",
    "cores_usable": 4,
    "power_mode": None,
    "governor": "ondemand",
}
LAPTOP = {
    "device": None,
    "cpu": "AMD Ryzen 7 7840U",
    "arch": "x86_64",
    "cores_usable": 8,
    "power_mode": None,
}
QUANTIZED = {"QLinearConv": 16, "QGemm": 1, "QuantizeLinear": 2, "DequantizeLinear": 1}


def quantiles(p50_ms: float, tail: float, seed: int = 0) -> list[float]:
    """101 rising values around a median."""
    draws = np.random.default_rng(seed).lognormal(np.log(p50_ms), tail, 4000)
    return [float(value) for value in np.percentile(draws, np.arange(101))]


def row(
    model: str,
    precision: str,
    p50_ms: float,
    sha: str | None,
    *,
    includes: str = "compute",
    backend: str = "onnxruntime",
    provider: str = "CPUExecutionProvider",
    threads: int = 1,
    tail: float = 0.05,
    verdict: str = "VALID",
    n: int = 4000,
    mj: float | None = None,
    source: str = "ina3221 VDD_IN",
) -> dict[str, Any]:
    """A latency row of bench.json."""
    curve = quantiles(p50_ms, tail)
    energy = None
    if mj is not None:
        energy = {"mj_per_inference": mj, "watts": mj / p50_ms, "source": source}
        energy |= {"idle_watts": None, "seconds": 1.0, "calls": n}
    return {
        "model": model,
        "precision": precision,
        "backend": backend,
        "batch": 1,
        "threads": threads,
        "n": n,
        "p50_ms": curve[50],
        "p90_ms": curve[90],
        "p95_ms": curve[95],
        "p99_ms": curve[99],
        "p999_ms": None,
        "verdict": verdict,
        "reason": "spread 4.0%, drift +0.2%"
        if verdict == "VALID"
        else "clock fell from 2400 to 1500 MHz",
        "provider": provider,
        "includes": includes,
        "warmup": 12,
        "load_ms": 20.0,
        "first_ms": 4.0,
        "kernels": {},
        "versions": {"onnxruntime": "1.31.1"},
        "clock_mhz": [2400.0, 2400.0],
        "temperature_c": [51.0, 53.5],
        "quantiles_ms": curve,
        "energy": energy,
        "peak_rss_bytes": 70_000_000,
        "file_sha256": sha,
    }


def bench_json(
    bundle: Path, host: dict[str, Any], scale: float = 1.0, **more: Any
) -> dict[str, Any]:
    """A bench.json of a bundle: teacher, fp32 and int8, ``scale`` times as slow as 0.7, 0.12 and
    0.06 ms.
    """
    manifest = (bundle / "manifest.json").read_bytes()
    files = {name: entry["sha256"] for name, entry in json.loads(manifest)["files"].items()}
    fp32, int8, name = files["model.fp32.onnx"], files["model.int8.onnx"], bundle.name
    rows = [
        row("teacher", "fp32", 0.7 * scale, "ab" * 32, mj=more.get("mj") and 40 * more["mj"]),
        row(name, "fp32", 0.12 * scale, fp32, mj=more.get("mj") and 2 * more["mj"]),
        row(
            name,
            "int8",
            0.06 * scale,
            int8,
            verdict=more.get("verdict", "VALID"),
            tail=more.get("tail", 0.05),
            mj=more.get("mj"),
        ),
        row(
            name,
            "int8",
            0.2 * scale,
            int8,
            includes="decode + resize + normalize + compute + softmax",
        ),
        *more.get("rows", []),
    ]
    return {
        "schema": 1,
        "kind": "clip2edge-bench",
        "mode": "quick",
        "command": "compress bench bundle --out bench.json",
        "started": more.get("started", "2026-11-20T10:00:00+00:00"),
        "host": dict(host),
        "bundle": {
            "name": name,
            "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
            "default": "int8",
        },
        "rows": rows,
        "speedups": {
            "int8_vs_teacher": {"p50": 11.7, "ci95": [11.5, 11.9], "rounds": 200},
            "fp32_vs_teacher": {"p50": 5.8, "ci95": [5.7, 5.9], "rounds": 200},
            "int8_vs_fp32": {"p50": 2.0, "ci95": [1.95, 2.05], "rounds": 200},
        },
        "cold": {},
        "breakdown": {},
        "kernels": {
            "int8": QUANTIZED,
            "fp32": {"Conv": 16, "Gemm": 1},
            "int8.trt": {"int8 compute": 15, "fp16 compute": 1},
        },
        "sustained": more.get("sustained"),
        "states": more.get("states", []),
    }


def three_devices(bundle: Path) -> dict[str, dict[str, Any]]:
    """An Orin with TensorRT rows, energy and a sustained run; a Pi that throttled; a laptop."""
    unread = {"clock_mhz": None, "temperature_c": None, "watts": None}
    heat = [
        {"t_s": 10.0 * i, "p50_ms": 0.2 * (1 + 0.3 * (1 - np.exp(-i / 20))), "n": 100, **unread}
        for i in range(61)
    ]
    steady = [
        {"t_s": 10.0 * i, "p50_ms": 0.1 + 0.001 * (i % 3), "n": 100, **unread} for i in range(61)
    ]
    files, name = manifest_of(bundle)["files"], bundle.name
    fp32, trt = (files[file]["sha256"] for file in ("model.fp32.onnx", "model.int8.trt.onnx"))
    gpu = {"backend": "tensorrt", "provider": "tensorrt"}
    return {
        "orin": bench_json(
            bundle,
            ORIN,
            4.0,
            mj=1.6,
            sustained=steady,
            rows=[
                row(name, "fp16", 0.21, fp32, mj=0.9, **gpu),
                row(name, "int8.trt", 0.17, trt, mj=0.7, **gpu),
            ],
            states=["energy: VDD_IN covers the whole module"],
        ),
        "pi": bench_json(
            bundle,
            PI,
            12.0,
            verdict="THROTTLED",
            tail=0.2,
            sustained=heat,
            started="2026-11-20T11:00:00+00:00",
        ),
        "laptop": bench_json(bundle, LAPTOP, 1.1, started="2026-11-20T12:00:00+00:00"),
    }


BUDGETS: list[dict[str, Any]] = [
    {
        "what": "p50<=0.2ms@host",
        "metric": "p50",
        "device": "host",
        "limit": 0.2,
        "value": 0.114,
        "unit": "ms",
        "basis": "measured",
        "pass": True,
        "why": "row student fp32, 1 thread, VALID",
    },
    {
        "what": "p50<=0.5ms@xavier-nx",
        "metric": "p50",
        "device": "xavier-nx",
        "limit": 0.5,
        "value": 0.31,
        "unit": "ms",
        "basis": "estimate",
        "pass": True,
        "why": "roofline of xavier-nx, not calibrated",
    },
    {
        "what": "size<=400kB",
        "metric": "size",
        "device": None,
        "limit": 400e3,
        "value": 571e3,
        "unit": "bytes",
        "basis": "measured",
        "pass": False,
        "why": "model.fp32.onnx",
    },
    {
        "what": "drop<=4pt",
        "metric": "drop",
        "device": None,
        "limit": 4.0,
        "value": 3.2,
        "unit": "points",
        "basis": "measured",
        "pass": True,
        "why": "1,280 test images",
    },
    {
        "what": "energy<=5mJ@host",
        "metric": "energy",
        "device": "host",
        "limit": 5.0,
        "value": None,
        "unit": "mJ",
        "basis": "measured",
        "pass": None,
        "why": "no sensor on this machine",
    },
]


def candidate(
    student: str, precision: str, status: str, p50: float, size: float, top1: float | None
) -> dict[str, Any]:
    """A candidate as the search writes it: timed here, estimated for a device that is not here."""
    estimate = {
        "basis": "estimate",
        "device": "xavier-nx",
        "mode": "15W",
        "p50_ms": 2.7 * p50,
        "energy_mj": 30 * p50,
    }
    measured = {
        "basis": "measured",
        "device": "host",
        "untrained": top1 is None,
        "p50_ms": p50,
        "size_bytes": size,
    }
    return {
        "student": student,
        "size": 32,
        "precision": precision,
        "estimate": estimate,
        "size_bytes": size,
        "measured": None if precision == "fp16" else measured,
        "status": status,
        "top1": top1,
        "macs": 1_000_000,
        "why": "size<=400kB: 3.9 MB" if status == "pruned" else "",
    }


CANDIDATES: list[dict[str, Any]] = [
    candidate("petal_cnn", "fp32", "chosen", 0.11, 571e3, 0.935),
    candidate("petal_cnn", "int8", "trained", 0.075, 165e3, 0.934),
    candidate("mobilenetv4_conv_small_050", "int8", "trained", 0.31, 1.4e6, 0.948),
    candidate("mobilenetv4_conv_small", "int8", "pruned", 0.62, 3.9e6, None),
    candidate("efficientnet_b0", "int8", "pruned", 1.9, 5.9e6, None),
    candidate("resnet18", "int8", "pruned", 1.2, 11.8e6, None),
    candidate("mobilenetv3_small_050", "int8", "trained", 0.19, 0.9e6, 0.921),
]
SENSITIVITY: dict[str, Any] = {
    "blocks": [
        {
            "block": "stem",
            "nodes": 1,
            "drop_points": 0.31,
            "drop_ci95": [0.1, 0.5],
            "saved_ms": 0.002,
            "saved_ci95_ms": [0.001, 0.003],
            "kept": "fp32",
        },
        {"block": "blocks.0", "nodes": 1, "drop_points": 0.08, "saved_ms": 0.009, "kept": "int8"},
        {"block": "blocks.1", "nodes": 1, "drop_points": -0.08, "saved_ms": 0.014, "kept": "int8"},
        {"block": "head", "nodes": 1, "drop_points": 0.02, "saved_ms": -0.001, "kept": "fp32"},
    ],
    "front": [
        {"float_blocks": [], "top1": 0.931, "p50_ms": 0.0788, "size_bytes": 165_000},
        {"float_blocks": ["stem"], "top1": 0.9345, "p50_ms": 0.081, "size_bytes": 168_000},
        {"float_blocks": ["stem", "head"], "top1": 0.935, "p50_ms": 0.0805, "size_bytes": 190_000},
        {
            "float_blocks": ["stem", "head", "blocks.0"],
            "top1": 0.9352,
            "p50_ms": 0.09,
            "size_bytes": 260_000,
        },
    ],
    "chosen": 2,
    "verdict": "Two of four blocks stay float: int8 would cost them 0.33 points and save 0.001 ms.",
}
