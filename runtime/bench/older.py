"""Measurements that older versions wrote, in today's shape: a schema only grows.

What they left out is null or empty, and an entry without a value is no entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN = (None, None)  # a reading before and after a series
NOT_NULL = ("arch", "cores_usable", "kernel", "python")  # of the host
ROW = {"p95_ms": None, "p999_ms": None, "warmup": None}


def completed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a bench.json, or the same fields of a report, with today's fields."""
    out = dict(content)
    for name in ("rows", "latency"):
        if isinstance(rows := out.get(name), list):
            out[name] = [_row(row) if isinstance(row, dict) else row for row in rows]
    for name in ("host", "environment"):
        if isinstance(host := out.get(name), dict):
            unset = [key for key in NOT_NULL if host.get(key, "") is None]
            out[name] = {key: value for key, value in host.items() if key not in unset}
    _each(out, "speedups", _speedup)
    _each(
        out, "breakdown", lambda part: {**_none("bare_ms", "over_bare", "over_bare_ci95"), **part}
    )
    _each(out, "cold", lambda start: {**_none("process_ms"), **start})
    if isinstance(windows := out.get("sustained"), list):
        empty = _none("clock_mhz", "temperature_c", "watts", "n")
        out["sustained"] = [
            {**empty, **window} if isinstance(window, dict) else window
            for window in windows
            if not isinstance(window, dict) or window.get("p50_ms", 0) is not None
        ]
    return out


def completed_bench(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a bench.json with today's fields."""
    tables: dict[str, Any] = {name: {} for name in ("cold", "breakdown", "kernels")}
    return completed({**tables, "states": [], "sustained": None, **content})


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    out = {**ROW, "reason": "", "provider": "", **row}
    out["provider"] = out["provider"] or ""
    for name in ("clock_mhz", "temperature_c"):
        if name in out:
            out[name] = out[name] or UNKNOWN
    energy = out.get("energy")
    if isinstance(energy, dict):
        measured = energy.get("mj_per_inference") is not None and energy.get("watts") is not None
        out["energy"] = {**_none("idle_watts", "seconds", "calls"), **energy} if measured else None
    return out


def _speedup(ratio: Mapping[str, Any]) -> dict[str, Any] | None:
    known = ratio.get("p50", 0) is not None and ratio.get("ci95", 0) is not None
    return {**_none("rounds"), **ratio} if known else None


def _each(content: dict[str, Any], name: str, change: Any) -> None:
    """Changes the objects of a table; None takes one out."""
    if isinstance(table := content.get(name), dict):
        rows = {k: change(v) if isinstance(v, dict) else v for k, v in table.items()}
        content[name] = {key: row for key, row in rows.items() if row is not None}


def _none(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)
