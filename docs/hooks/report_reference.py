"""The page of report.json, from its schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parents[2] / "compress/report/model/schema.json"
HEAD = """\
# report.json

The contract of the file that `compress build` leaves beside `report.html`. It only grows: a
reader of today reads the files of tomorrow.
`schema` is 1. Fractions are between 0 and 1, latencies milliseconds, sizes bytes. Of each object
further fields may follow.

"""


def page() -> str:
    """The page as Markdown: the report itself, then what it is made of by name."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    parts = (f"## {name}\n\n{described(part)}" for name, part in sorted(schema["$defs"].items()))
    return HEAD + "## The report\n\n" + table(schema) + "".join(parts)


def described(part: dict[str, Any]) -> str:
    text = re.sub(r"\n\n(?:Attributes|Args):\n", "\n\nFields:\n\n", part.get("description", ""))
    text = re.sub(r"^    ([\w, ]+): ", r"- `\1`: ", text, flags=re.MULTILINE)
    return text.replace("``", "`") + "\n\n" + table(part)


def table(part: dict[str, Any]) -> str:
    """Fields with type, and whether they are always there."""
    required = part.get("required", ())
    rows = [
        f"| `{name}` | {kind(field)} | {'always' if name in required else 'may be absent'} |\n"
        for name, field in part.get("properties", {}).items()
    ]
    return "| field | type | there |\n|---|---|---|\n" + "".join(rows) + "\n" if rows else ""


def kind(field: dict[str, Any]) -> str:
    """A type in words; parts of the report are links."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(kind(one) for one in field["anyOf"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    if field.get("type") == "array":
        inner = field.get("items") or (field.get("prefixItems") or [{}])[0]
        count = f"{field['minItems']} × " if "prefixItems" in field else ""
        return f"list of {count}{kind(inner)}"
    values = field.get("additionalProperties")
    if field.get("type") == "object" and isinstance(values, dict):
        return f"object, name → {kind(values)}"
    return f"{field.get('type', 'any')}{limits(field)}"


def limits(field: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return "".join(f" {sign} {field[name]}" for name, sign in signs.items() if name in field)
