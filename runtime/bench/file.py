"""bench.json: one device, one run. Written in one piece, read as the work of a stranger.

Its content is ``runtime.bench.report.BenchReport``, whose types and bounds are checked field by
field. Fields are only added within a schema, so unknown ones are kept.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from runtime.bench.older import completed_bench
from runtime.bench.report import KIND, MAX_TEXT, SCHEMA, UNSEEN, BenchReport
from runtime.errors import BundleError
from runtime.files.atomic import atomic
from runtime.files.strict_json import read_json

MAX_NAMES, MAX_ITEMS = 256, 100_000
LARGEST = 1e15  # of any figure in it: memory in bytes is the largest
REMEDY = "measure again with compress bench BUNDLE --out bench.json"

T = TypeVar("T")
_hints: Callable[[type], dict[str, Any]] = cache(get_type_hints)


def write(path: str | Path, content: dict[str, Any]) -> Path:
    """Writes bench.json so that a reader sees the old file or the new one, never half of it.

    Raises: BundleError: the folder cannot be written, or ``content`` is no valid bench.json.
    """
    target = Path(path)
    try:
        parse(BenchReport, content)
    except ValueError as error:
        raise BundleError("bench.json", got=error, expected="BenchReport.to_json()") from error
    try:
        with atomic(target) as temporary, temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise BundleError(f"cannot write {target}", got=error.strerror or error) from error
    return target


def read(path: str | Path) -> dict[str, Any]:
    """The checked content of a bench.json, unknown fields included.

    Raises:
        BundleError: absent, too large, no such JSON (NaN, repeated keys), of a newer schema, or
            with a value that no measurement can have; the message names the field.
    """
    file = Path(path)
    content = read_json(file)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        expected = f'an object with "kind": "{KIND}"'
        raise BundleError(f"{file} is not a bench.json", expected=expected, remedy=REMEDY)
    schema = content.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        what, got = f"{file} has no schema version", repr(schema)[:100]
        raise BundleError(what, got=got, expected=SCHEMA, remedy=REMEDY)
    if schema > SCHEMA:
        what, got = f"{file} comes from a newer clip2edge", f"schema {schema}"
        upgrade = "pip install --upgrade clip2edge"
        raise BundleError(what, got=got, expected=f"at most {SCHEMA}", remedy=upgrade)
    content = completed_bench(content)
    try:
        parse(BenchReport, content)
    except ValueError as error:
        raise BundleError(f"{file} is not usable", got=error, remedy=REMEDY) from error
    return content


def parse(kind: type[T], value: object, path: str = "") -> T:
    """JSON as a dataclass: each field by its type, and by the bounds in its metadata.

    Bounds have pydantic's names (ge, gt, pattern, min_length, max_length). A figure is at least 0
    (0 also for ``gt``: a clock may be coarse) unless ``lowest`` and ``highest`` say otherwise.

    Raises: ValueError: names the first field that is missing or impossible.
    """
    if not isinstance(value, dict) or len(value) > MAX_NAMES:
        raise _wrong(path, value)
    hints, prefix, values = _hints(kind), path and f"{path}.", {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in value:
            place = f"{prefix}{field.name}"
            values[field.name] = _typed(hints[field.name], value[field.name], place, field.metadata)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{prefix}{field.name} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from error


def _typed(kind: Any, value: Any, path: str, bounds: Mapping[str, Any]) -> Any:
    """A field's value, or an item of it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        some = next(part for part in inner if part is not NoneType)
        return None if value is None else _typed(some, value, path, bounds)
    if isinstance(kind, type) and is_dataclass(kind):
        return parse(kind, value, path)
    if origin in (list, tuple):
        each = inner[:1] if origin is list or inner[-1] is ... else inner
        length = len(each) if len(each) > 1 else None
        least = length or bounds.get("min_length", 0)
        most = length or bounds.get("max_length", MAX_ITEMS)
        if isinstance(value, (list, tuple)) and least <= len(value) <= most:
            items = enumerate(value)
            return origin(_typed(each[i % len(each)], v, f"{path}[{i}]", bounds) for i, v in items)
    elif origin is dict:
        if isinstance(value, dict) and len(value) <= MAX_NAMES and all(map(_is_text, value)):
            return {k: _typed(inner[1], v, f"{path}.{k}", bounds) for k, v in value.items()}
    elif _is_possible(kind, value, bounds):
        return value
    raise _wrong(path, value)


def _is_possible(kind: Any, value: Any, bounds: Mapping[str, Any]) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind is str:
        return _is_text(value) and re.fullmatch(bounds.get("pattern", ".*"), value) is not None
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    lowest = bounds.get("lowest", bounds.get("ge", 0))
    numbers = int if kind is int else (int, float)
    return isinstance(value, numbers) and lowest <= value <= bounds.get("highest", LARGEST)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and UNSEEN.search(value) is None


def _wrong(path: str, value: object) -> ValueError:
    return ValueError(f"{path or 'the file'} is {json.dumps(value, default=str)[:120]}")
