"""Dotted names of the product, resolved from its sources: nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from paths import ROOT


def resolves(name: str, module: str | None = None) -> bool:
    """Whether a dotted name is a module of the product or leads to a member of one.

    Args:
        module: where the name is written; its own names and the members of its classes count too.
    """
    parts = tuple(name.split("."))
    counts = (count for count in range(len(parts), 0, -1) if _source(parts[:count]))
    count = next(counts, 0)
    if count and has_member(parts[:count], parts[count:]):
        return True
    if module is None:
        return False
    here = tuple(module.split("."))
    owners = (key for key, value in _names(here).items() if isinstance(value, ast.ClassDef))
    return resolves(f"{module}.{name}") or any(has_member(here, (own, *parts)) for own in owners)


def has_member(module: tuple[str, ...], names: Sequence[str]) -> bool:
    """Whether a chain of names leads somewhere from a module: functions, classes, their members."""
    if not names:
        return True
    definition = _names(module).get(names[0])
    if isinstance(definition, ast.ClassDef):
        return len(names) == 1 or _class_has(module, definition, names[1])
    if isinstance(definition, tuple):  # imported from elsewhere
        return not _source(definition[:1]) or resolves(".".join((*definition, *names[1:])))
    return definition is not None


def _class_has(module: tuple[str, ...], owner: ast.ClassDef, name: str) -> bool:
    """Whether a class or one of its bases has a member; a base of others is trusted."""
    if name in _bound(owner.body) or any(
        isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store)
        for node in ast.walk(owner)
    ):
        return True
    bases = [base for base in owner.bases if isinstance(base, ast.Name)]
    return any(has_member(module, (base.id, name)) for base in bases)


def _source(module: Sequence[str]) -> Path | None:
    path = ROOT.joinpath(*module)
    candidates = (path.with_suffix(".py"), path / "__init__.py", path)
    return next((one for one in candidates if one.is_file() or one == path and path.is_dir()), None)


Definition = ast.AST | tuple[str, ...]  # a node, or the dotted name that an import binds


@cache
def _names(module: tuple[str, ...]) -> dict[str, Definition]:
    """The names that a module binds at its top, inside ``if`` and ``try`` too."""
    source = _source(module)
    if source is None or not source.is_file():
        return {}
    return _bound(ast.parse(source.read_text()).body)


def _bound(body: Sequence[ast.stmt]) -> dict[str, Definition]:
    out: dict[str, Definition] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            out[node.name] = node
        elif isinstance(node, ast.Import):
            out |= {
                (a.asname or a.name).partition(".")[0]: tuple(a.name.split(".")) for a in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {a.asname or a.name: (*node.module.split("."), a.name) for a in node.names}
        elif isinstance(node, ast.If | ast.Try):
            for part in _blocks(node):
                out |= _bound(part)
        else:
            out |= {
                n.id: n
                for n in ast.walk(node)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
    return out


def _blocks(node: ast.If | ast.Try) -> Iterator[list[ast.stmt]]:
    yield node.body
    yield node.orelse
    if isinstance(node, ast.Try):
        yield from (handler.body for handler in node.handlers)
