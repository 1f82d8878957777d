"""Fills ``templates/<target>/`` into a folder: ``*.j2`` through Jinja, other files as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from export.bundle.markdown import markdown_text as as_markdown

TEMPLATES = Path(__file__).with_name("templates")


def render(target: str, folder: Path, values: Mapping[str, object]) -> None:
    """Writes every file of ``templates/<target>/`` into ``folder``, with its subfolders."""
    root = TEMPLATES / target
    # The results are Markdown, C++ and configuration, not HTML: each target escapes what goes in.
    environment = Environment(
        loader=FileSystemLoader(root),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    files = (path for path in root.rglob("*") if path.is_file())
    for file in sorted(path for path in files if "__pycache__" not in path.parts):
        name = file.relative_to(root).as_posix()
        content = file.read_bytes()
        if name.endswith(".j2"):
            content = environment.get_template(name).render(values).encode()
        target_file = folder / name.removesuffix(".j2")
        target_file.parent.mkdir(parents=True, exist_ok=True)
        target_file.write_bytes(content)


def markdown_text(text: str) -> str:
    """``text`` on one line, with everything escaped that Markdown or HTML may read as markup.

    A ``_`` too: titles are names such as ``_x_``, and these files have no bytes to keep.
    """
    return as_markdown(text).replace("_", "\\_")


def quoted(text: str, special: bytes) -> str:
    """A string literal in which ``special`` and all but printable ASCII are octal escapes."""
    plain = set(range(0x20, 0x7F)) - set(special)
    escaped = (chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(escaped)}"'
