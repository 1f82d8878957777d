"""Fills ``templates/<target>/`` into a folder: ``*.j2`` through Jinja, everything else byte for
byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")


def render(target: str, folder: Path, values: dict[str, Any]) -> None:
    """Writes every file of ``templates/<target>/`` into ``folder``, in name order; subfolders are
    kept.

    Raises:
        jinja2.UndefinedError: a template asks for a value that ``values`` lacks.
    """
    root = TEMPLATES / target
    # The results are Markdown, C++ and configuration, not HTML: what goes in is escaped by the
    # target's own code.
    environment = Environment(
        loader=FileSystemLoader(root),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    for file in sorted(
        path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ):
        name = file.relative_to(root).as_posix()
        target_file = folder / name.removesuffix(".j2")
        target_file.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".j2"):
            target_file.write_bytes(environment.get_template(name).render(values).encode())
        else:
            target_file.write_bytes(file.read_bytes())


def markdown_text(text: str) -> str:
    """``text`` on one line, with every character that Markdown or HTML may read as markup
    escaped.
    """
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!&~" else c for c in " ".join(text.split()))
