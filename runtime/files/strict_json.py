"""JSON from strangers: bounded in size and depth; no repeated keys, NaN or half surrogates.

And JSON for others: no NaN either.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from runtime.errors import BackendError, BundleError
from runtime.files.regular import COPY_AGAIN, read_regular

MAX_JSON_BYTES = 16 * 2**20  # labels.json of 22 000 classes is about 3 MB
MAX_DEPTH = 32  # a manifest needs 4; provenance.json about 8


def read_json(file: Path) -> Any:
    """The value in a UTF-8 JSON file.

    Raises: BundleError: absent, no regular file, too large, or not such JSON.
    """
    return parse_json(read_regular(file, MAX_JSON_BYTES), file)


def parse_json(text: bytes | str, name: object) -> Any:
    """``read_json`` for text in memory; ``name`` is for the message."""
    if len(text) > MAX_JSON_BYTES:
        got = f"{len(text):,} bytes"
        raise BundleError(f"{name} is too large", got=got, expected=f"at most {MAX_JSON_BYTES:,}")
    try:
        # Decoded here, because json.loads lets surrogates in bytes through.
        value = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_no_repeats,
            parse_constant=_no_constants,
            parse_float=_finite,
        )
        _check(value)
    except (ValueError, RecursionError) as error:
        got = str(error)[:200]
        raise BundleError(f"{name} is not valid JSON", got=got, remedy=COPY_AGAIN) from error
    return value


def to_text(value: object, indent: int | None = None, **how: Any) -> str:
    """``value`` as JSON that every reader takes: no NaN, no infinity; ``how`` is json.dumps's.

    Raises: BackendError: such a number in it.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False, **how)
    except ValueError as error:
        remedy = "report it, with the command: a measurement gave no number"
        raise BackendError("the result is no JSON", got=error, remedy=remedy) from error


def canonical(value: object) -> bytes:
    """``value`` as a file of a bundle holds it: sorted, indented, UTF-8; errors as ``to_text``."""
    return f"{to_text(value, indent=2, sort_keys=True, ensure_ascii=False)}\n".encode()


def _check(value: Any) -> None:
    """Refuses strings that are no UTF-8 and too deep nesting, level by level: no recursion."""
    level = [value]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode("utf-8")  # UnicodeEncodeError is a ValueError
            elif isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
        level = below


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key is repeated")
    return result


def _no_constants(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:40]} is too large")
    return value
