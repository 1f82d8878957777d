"""The page of all settings, from the classes that define them and the comments beside the
fields."""

from __future__ import annotations

import ast
import html
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from compress.engine.config import HostSettings, Settings
from compress.engine.config.section import LARGEST, LEAST, MOST

HEAD = """\
# Settings

All that decides what a build does. Each has a dotted name: `--set distill.steps=1000` on the
command line, `distill: {steps: 1000}`
in a file for `--config`, `overrides={"distill": {"steps": 1000}}` in Python. Presets change
defaults; `runs/<name>/config.yaml` holds
what a run used. Unknown names and values beyond the limits are errors that list all that is wrong.

Where a default comes from: [S] a paper states it, [C] a paper's official code has it, [P3]
somebody's summary of a paper says so,
[I] inferred: we chose it, because no source gives one.

"""
HOST = """\
## Host

How a build runs on this machine. These change no result, and are options of `compress build`, not
settings of `--set`.

"""
LIMITS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "at least {}"}
TYPING_ERRORS = (MOST, LEAST, LARGEST, 2**63)
NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path"}
NAMES |= {NoneType: "null"}
ESCAPED = {ord(char): f"\\{char}" for char in "|{}*_"}


def page() -> str:
    """The page as Markdown."""
    sections = "".join(section(Settings, ""))
    return HEAD + sections + HOST + table(HostSettings, "")


def section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """A section's heading, text and table, then those of the sections in it."""
    inner = {name: kind for name, kind in kinds(model).items() if is_section(kind)}
    if prefix:
        yield f"## {prefix.rstrip('.')}\n\n{inspect.getdoc(model)}\n\n"
    yield table(model, prefix)
    for name, kind in inner.items():
        yield from section(kind, f"{prefix}{name}.")


def kinds(model: type[BaseModel]) -> dict[str, Any]:
    return {name: field.annotation for name, field in model.model_fields.items()}


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def table(model: type[BaseModel], prefix: str) -> str:
    """One row for each field that is no section of its own."""
    comments = comments_of(model)
    rows = [
        f"| `{prefix}{name}` | {', '.join([words(field.annotation), *limits(field)])} "
        f"| {default(field)} | {comments[name]} |\n"
        for name, field in model.model_fields.items()
        if not is_section(field.annotation)
    ]
    return "| setting | type | default | what |\n|---|---|---|---|\n" + "".join(rows) + "\n"


def words(kind: Any) -> str:
    """A type in words: what may be written in a file of settings."""
    inner = get_args(kind)
    origin = get_origin(kind)
    if origin is Annotated:
        return words(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(words(part) for part in inner)
    if origin is tuple:
        parts = [words(part) for part in inner if part is not Ellipsis]
        return f"list of {parts[0]}" if Ellipsis in inner else f"[{', '.join(parts)}]"
    if origin is dict:
        return "object"
    return NAMES[kind]


def default(field: FieldInfo) -> str:
    """The default as YAML-like text; lists that are long are cut."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else None
    if text is None:
        text = repr(list(value)) if isinstance(value, tuple) else str(value)
    return "`" + (text if len(text) <= 48 else text[:45] + "...").replace("|", "\\|") + "`"


def limits(field: FieldInfo) -> list[str]:
    """Limits on a number or a length; those that only catch typing errors are left out."""
    data = [*field.metadata, *_annotated(field.annotation)]
    found = [one for part in data for one in getattr(part, "metadata", [part])]
    parts = [
        text.format(f"{value:,}" if isinstance(value, int) else f"{value:g}")
        for one in found
        for name, text in LIMITS.items()
        if (value := getattr(one, name, None)) is not None and value not in TYPING_ERRORS
    ]
    return list(dict.fromkeys(parts))


def _annotated(kind: Any) -> Iterator[Any]:
    """What is annotated to a type, at any depth."""
    yield from getattr(kind, "__metadata__", ())
    for part in getattr(kind, "__args__", ()):
        yield from _annotated(part)


def comments_of(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the comment on its line and those on the lines right above it."""
    lines = inspect.getsource(model).splitlines()
    (body,) = ast.parse("\n".join(lines)).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = " ".join([*_above(lines, node.lineno), *_beside(lines, node)])
    return {name: plain(text) for name, text in found.items()}


def plain(comment: str) -> str:
    """A comment as the text of a cell: code spans count, nothing else is Markdown or HTML."""
    parts = re.split(r"(`[^`]+`)", comment.replace("``", "`"))
    return "".join(
        part if part.startswith("`") else html.escape(part, quote=False).translate(ESCAPED)
        for part in parts
    )


def _above(lines: list[str], number: int) -> list[str]:
    """Comment lines right above a line, which is counted from 1."""
    found: list[str] = []
    for line in reversed(lines[: number - 1]):
        if not line.strip().startswith("#"):
            break
        found.insert(0, line.strip().lstrip("# "))
    return found


def _beside(lines: list[str], node: ast.AnnAssign) -> list[str]:
    """Comments on a field's own lines."""
    own = lines[node.lineno - 1 : node.end_lineno]
    return [line.partition("  # ")[2].strip() for line in own if "  # " in line]
