"""Every text of the product: docstrings, comments and strings of its code, templates, papers."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from paths import ROOT

PACKAGES = ("compress", "export", "runtime", "benchmarks", "docs/hooks")
TEMPLATES = ("export/apps/templates", "compress/report/templates")
PAPERS = ("*.md", "llms.txt", "docs/**/*.md", "compress/**/*.yaml", "pyproject.toml")
HOLE = "{}"  # what an expression in an f-string becomes


@dataclass(frozen=True)
class Text:
    """A piece of text and where it stands.

    Attributes:
        module: dotted name of the Python module it stands in; None in other files.
    """

    path: Path
    line: int
    text: str
    module: str | None = None

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


@cache
def product_texts() -> tuple[Text, ...]:
    """All of them."""
    sources = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    sources = [path for path in sources if not is_template(path)]
    whole = [path for pattern in PAPERS for path in sorted(ROOT.glob(pattern))]
    for folder in TEMPLATES:
        whole += [path for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    return (
        *(text for path in sources for text in python_texts(path, path.read_text())),
        *(text for path in whole if "__pycache__" not in path.parts for text in paragraphs(path)),
    )


def paragraphs(path: Path) -> Iterator[Text]:
    """The paragraphs of a file, each with the number of its first line."""
    lines = enumerate(path.read_text().splitlines(), start=1)
    for is_empty, group in groupby(lines, lambda row: not row[1].strip()):
        if not is_empty:
            numbers, texts = zip(*group, strict=True)
            yield Text(path, numbers[0], "\n".join(texts))


def is_template(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / folder) for folder in TEMPLATES)


def python_texts(path: Path, source: str) -> Iterator[Text]:
    """Docstrings, other strings and comments of a module; f-strings with holes."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(source)
    inner = {id(part) for node in ast.walk(tree) for part in _parts(node)}
    for node in ast.walk(tree):
        text = _string(node)
        if text is not None and id(node) not in inner:
            yield Text(path, node.lineno, text, module)  # type: ignore[attr-defined]
    for line, comment in _comments(source):
        yield Text(path, line, comment, module)


def _parts(node: ast.AST) -> list[ast.expr]:
    """The strings inside an f-string, which are read with it."""
    if not isinstance(node, ast.JoinedStr):
        return []
    return [part for part in node.values if isinstance(part, ast.Constant)]


def _string(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
        return "".join(map(str, parts))
    return None


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Comments; those on lines that follow each other are one text."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = [(t.start[0], t.string.lstrip("#: ")) for t in tokens if t.type == tokenize.COMMENT]
    numbered = enumerate(found)
    for _, group in groupby(numbered, lambda item: item[1][0] - item[0]):
        rows = [row for _, row in group]
        yield rows[0][0], "\n".join(text for _, text in rows)
