"""bench.json: one device, one run. Written in one piece, read as the work of a stranger.

    {"schema": 1, "kind": "clip2edge-bench", "mode", "command", "started", "host": {}, "bundle": {},
    "teacher": {} | null,
     "rows": [{LatencyRow}], "speedups": {}, "cold": {}, "breakdown": {}, "sustained": [] | null,
     "kernels": {}, "states": []}

Fields are only added within a schema, so unknown ones are kept; known ones must have their type and
a possible value.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runtime.errors import BundleError
from runtime.files.strict_json import read_json

SCHEMA, KIND = 1, "clip2edge-bench"
MAX_ROWS, MAX_NAMES, MAX_TEXT, MAX_WINDOWS = 4096, 256, 4096, 100_000
QUANTILES = 101
LARGEST = 1e15  # of any figure in it: memory in bytes is the largest
STAMPS = frozenset({"VALID", "DRIFTING", "THROTTLED", "NOISY_HOST", "TOO_FEW"})
UNSEEN = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u2028-\u202e\u2066-\u2069]"
)  # a terminal would obey them, or hide text
REMEDY = "measure again with compress bench BUNDLE --out bench.json"

Problem = str


def write(path: str | Path, content: dict[str, Any]) -> Path:
    """Writes bench.json so that a reader sees the old file or the new one, never half of it.

    Raises:
        BundleError: the folder cannot be written, or ``content`` is no valid bench.json.
    """
    target = Path(path)
    for problem in _problems(content):
        raise BundleError(
            "bench.json", got=problem, expected="what runtime.bench.run.BenchReport.to_json gives"
        )
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(content, stream, indent=1, allow_nan=False)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o644)  # mkstemp keeps it to its owner
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BundleError(f"cannot write {target}", got=error.strerror or error) from error
    return target


def read(path: str | Path) -> dict[str, Any]:
    """The content of a bench.json.

    Raises:
        BundleError: absent, too large, no such JSON (NaN, repeated keys), of a newer schema, or
            with a value that no measurement can have; the message names the field.
    """
    file = Path(path)
    content = read_json(file)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise BundleError(
            f"{file} is not a bench.json",
            expected=f'an object with "kind": "{KIND}"',
            remedy=REMEDY,
        )
    schema = content.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise BundleError(
            f"{file} has no schema version", got=repr(schema)[:100], expected=SCHEMA, remedy=REMEDY
        )
    if schema > SCHEMA:
        raise BundleError(
            f"{file} was made by a newer clip2edge",
            got=f"schema {schema}",
            expected=f"at most {SCHEMA}",
            remedy="pip install --upgrade clip2edge",
        )
    for problem in _problems(content):
        raise BundleError(f"{file} is not usable", got=problem, remedy=REMEDY)
    return content


Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and UNSEEN.search(value) is None


def _figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _count(value: Any) -> bool:
    return _whole(value) and value >= 1


def _size(value: Any) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    )  # memory may shrink


def _degrees(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and -273.15 <= value <= 1000
    )


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check, longest: int, length: int | None = None) -> Check:
    return lambda value: (
        isinstance(value, list)
        and len(value) <= longest
        and (length is None or len(value) == length)
        and all(map(check, value))
    )


def _table(check: Check) -> Check:
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= MAX_NAMES
        and all(_text(k) and check(v) for k, v in value.items())
    )


def _ascending(value: Any) -> bool:
    return _list(_figure, QUANTILES, QUANTILES)(value) and all(
        a <= b for a, b in zip(value, value[1:], strict=False)
    )


def _object(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= MAX_NAMES


# Field -> (is it required, what it may be). What is not named here may be anything that strict JSON
# can hold.
ROW: dict[str, tuple[bool, Check]] = {
    **dict.fromkeys(
        ("model", "precision", "backend", "provider", "includes", "reason"), (True, _text)
    ),
    "verdict": (True, lambda value: value in STAMPS if isinstance(value, str) else False),
    "batch": (True, _count),
    "threads": (True, _count),
    "n": (True, _whole),
    "warmup": (False, _whole),
    **{
        name: (True, _maybe(_figure))
        for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms")
    },
    **{
        name: (False, _maybe(_figure))
        for name in ("load_ms", "first_ms", "images_per_second", "device_p50_ms")
    },
    "quantiles_ms": (False, _maybe(_ascending)),
    "kernels": (False, _table(_whole)),
    "nodes": (False, _maybe(_table(_whole))),
    "versions": (False, _table(_text)),
    "clock_mhz": (False, _list(_maybe(_figure), 2, 2)),
    "gpu_clock_mhz": (False, _list(_maybe(_figure), 2, 2)),
    "temperature_c": (False, _list(_maybe(_degrees), 2, 2)),
    "peak_rss_bytes": (False, _maybe(_whole)),
    "resident_bytes": (False, _maybe(_size)),
    "file_sha256": (False, _maybe(_sha256)),
    "image": (False, _maybe(_text)),
    "energy": (False, _maybe(_object)),
    "early_stopping_ms": (False, _maybe(_table(_maybe(_figure)))),
}
ENERGY: dict[str, tuple[bool, Check]] = {
    "mj_per_inference": (True, _figure),
    "watts": (True, _figure),
    "source": (True, _text),
    "idle_watts": (False, _maybe(_figure)),
}
SPEEDUP: dict[str, tuple[bool, Check]] = {
    "p50": (True, _figure),
    "ci95": (True, _list(_figure, 2, 2)),
    "rounds": (True, _count),
}
COLD: dict[str, tuple[bool, Check]] = {
    **dict.fromkeys(("import_ms", "load_ms", "first_ms", "process_ms"), (True, _figure)),
    "peak_rss_bytes": (True, _maybe(_whole)),
}
STAGES = ("decode_ms", "geometry_ms", "normalise_ms", "compute_ms", "post_ms", "end_to_end_ms")
BREAKDOWN: dict[str, tuple[bool, Check]] = {
    **dict.fromkeys(STAGES, (True, _figure)),
    "n": (True, _count),
}
WINDOW: dict[str, tuple[bool, Check]] = {
    "t_s": (True, _figure),
    "p50_ms": (True, _figure),
    "n": (True, _count),
    "clock_mhz": (True, _maybe(_figure)),
    "temperature_c": (True, _maybe(_degrees)),
    "watts": (True, _maybe(_figure)),
}
BUNDLE: dict[str, tuple[bool, Check]] = {
    "name": (True, _text),
    "manifest_sha256": (True, _sha256),
    "default": (True, _text),
}
HOST: dict[str, tuple[bool, Check]] = {
    **{
        name: (False, _maybe(_text))
        for name in (
            "device",
            "cpu",
            "arch",
            "governor",
            "power_mode",
            "jetson_linux",
            "kernel",
            "python",
            "gpu",
            "gpu_driver",
        )
    },
    **{
        name: (False, _maybe(_whole))
        for name in ("cores_logical", "cores_physical", "cores_usable", "memory_bytes")
    },
    **{
        name: (False, _maybe(_figure))
        for name in ("clock_mhz", "clock_max_mhz", "gpu_clock_mhz", "gpu_clock_max_mhz")
    },
    "isa": (False, _list(_text, MAX_NAMES)),
    "temperature_c": (False, _maybe(_degrees)),
}
TEACHER: dict[str, tuple[bool, Check]] = {
    "name": (True, _text),
    **dict.fromkeys(("manifest_sha256", "file_sha256"), (False, _sha256)),
    "default": (False, _text),
}
TOP: dict[str, tuple[bool, Check]] = {
    "mode": (True, lambda value: value in ("quick", "mlperf")),
    "command": (True, _text),
    "started": (True, _text),
    "host": (True, _object),
    "bundle": (True, _object),
    "affinity": (False, _maybe(_list(_whole, MAX_ROWS))),
    "teacher": (False, _maybe(_object)),
    "rows": (True, _list(_object, MAX_ROWS)),
    "speedups": (True, _table(_object)),
    "cold": (True, _table(_object)),
    "breakdown": (True, _table(_object)),
    "slowest": (False, _text),
    "sustained_of": (False, _maybe(_text)),
    "sustained": (True, _maybe(_list(_object, MAX_WINDOWS))),
    "kernels": (True, _table(_table(_whole))),
    "states": (True, _list(_text, MAX_ROWS)),
}
PARTS = {"speedups": SPEEDUP, "cold": COLD, "breakdown": BREAKDOWN}


def _problems(content: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with a file of this schema, one by one."""
    yield from _fields(content, TOP, "")
    yield from _fields(content["host"], HOST, "host.")
    yield from _fields(content["bundle"], BUNDLE, "bundle.")
    yield from _fields(content.get("teacher") or {"name": ""}, TEACHER, "teacher.")
    for index, row in enumerate(content["rows"]):
        yield from _fields(row, ROW, f"rows[{index}].")
        if row.get("energy"):
            yield from _fields(row["energy"], ENERGY, f"rows[{index}].energy.")
    for part, fields in PARTS.items():
        for name, values in content[part].items():
            yield from _fields(values, fields, f"{part}.{name}.")
    for index, window in enumerate(content["sustained"] or []):
        yield from _fields(window, WINDOW, f"sustained[{index}].")


def _fields(
    values: dict[str, Any], fields: dict[str, tuple[bool, Check]], prefix: str
) -> Iterator[Problem]:
    for name, (is_required, check) in fields.items():
        if name not in values:
            if is_required:
                yield f"{prefix}{name} is missing"
        elif not check(_plain(values[name])):
            yield f"{prefix}{name} is {json.dumps(values[name], default=str)[:120]}"


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON makes of them, so that what is written can be checked
    before.
    """
    return list(value) if isinstance(value, tuple) else value
