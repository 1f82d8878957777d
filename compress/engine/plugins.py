"""Rows that other packages and scripts add to our tables, and what those rows are by their source.

A package adds a row through an entry point, e.g. of the group ``clip2edge.objectives``; a script
assigns it: ``OBJECTIVES["mine"] = ...``. What a row does is part of the identity of a stage that it
made: an edited one makes the stage again. The rows of this package are known by the version of
their stage and are not looked at.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from importlib import metadata, util
from pathlib import Path
from typing import Any, TypeVar

from compress.engine.errors import ConfigError

Row = TypeVar("Row")
GROUP = "clip2edge."  # of an entry point, before the name of a table
OWN = ("compress", "export", "runtime")  # packages whose rows the version of a stage stands for
VERSION = "version"  # an attribute that stands for a source nobody can read
REFERENCE = re.compile(r"[\w.]+:[\w.]+")  # "module:Class"; a sentence may have a colon too


class Table(MutableMapping[str, Row]):
    """A table by name, with the rows that entry points add.

    Entry points are looked for when a name is not there, or all names are wanted; a row of ours is
    found without them.

    Args:
        kind: e.g. "objectives": the group of the entry points is ``clip2edge.objectives``.
    """

    def __init__(self, kind: str, rows: Mapping[str, Row]) -> None:
        self.kind = kind
        self._rows = dict(rows)
        self._own = frozenset(rows)
        self._asked = False

    def __getitem__(self, name: str) -> Row:
        if name not in self._rows:
            self._ask()
        return self._rows[name]

    def __setitem__(self, name: str, row: Row) -> None:
        self._rows[name] = row

    def __delitem__(self, name: str) -> None:
        del self._rows[name]

    def __iter__(self) -> Iterator[str]:
        self._ask()
        return iter(self._rows)

    def __len__(self) -> int:
        self._ask()
        return len(self._rows)

    def _ask(self) -> None:
        """Adds the rows of entry points, once; ConfigError for one whose name is taken."""
        if self._asked:
            return
        self._asked = True
        for point in metadata.entry_points(group=f"{GROUP}{self.kind}"):
            if point.name in self._rows:
                raise ConfigError(
                    f"two rows of {self.kind} have one name",
                    got=f"{point.name!r}, also in {point.value}",
                    expected="another name",
                    remedy=f"uninstall {point.dist.name if point.dist else 'its package'}",
                )
            self._rows[point.name] = point.load()


def rows_used(table: str, kind: str, names: Iterable[str]) -> dict[str, Any]:
    """The rows of some names that are not this package's own, without importing a table of ours.

    Args:
        table: ``"module:TABLE"``. If nobody has imported the module, no script has added to it.
    """
    module, _, attribute = table.partition(":")
    points = {point.name: point for point in metadata.entry_points(group=f"{GROUP}{kind}")}
    found: dict[str, Any] = {}
    for name in names:
        known = getattr(sys.modules.get(module), attribute, None)
        row = known.get(name) if known is not None else None
        if row is None and name in points:
            row = points[name].load()
        if row is not None:
            found[name] = row
    return found


def sources(rows: Mapping[str, Any]) -> dict[str, str]:
    """Name -> digest of the source of each row that is not this package's own.

    Raises:
        ConfigError: a row whose source cannot be read and that states no ``version``.
    """
    found = ((name, source_of(row, name)) for name, row in rows.items())
    return {name: digest for name, digest in found if digest is not None}


def source_of(row: Any, name: str) -> str | None:
    """What a row is, by its stated ``version`` or the files of its code; None for one of ours."""
    stated = getattr(row, VERSION, None)
    if stated is not None:
        return f"version {stated}"
    parts = [part for part in _parts(row) if _package(part) not in OWN]
    if not parts:
        return None
    texts = [_text(part, name) for part in parts]
    return hashlib.sha256("\0".join(sorted(set(texts))).encode()).hexdigest()


def _parts(row: Any) -> list[Any]:
    """The modules, functions and classes that a row is made of; "module:Class" is one."""
    if isinstance(row, str):
        return [row] if REFERENCE.fullmatch(row) else []
    if isinstance(row, type) or inspect.isroutine(row):
        return [row]
    if isinstance(row, Mapping):
        values: Iterable[Any] = row.values()
    elif isinstance(row, (tuple, list)):
        values = row
    else:
        values = [type(row), *getattr(row, "__dict__", {}).values()]
    return [part for value in values for part in _parts(value)]


def _package(part: Any) -> str:
    module = part if isinstance(part, str) else getattr(part, "__module__", None) or "builtins"
    top = module.partition(":")[0].partition(".")[0]
    return OWN[0] if top in sys.stdlib_module_names and top != "__main__" else top


def _text(part: Any, name: str) -> str:
    """The text of the file that a part is in; of one without a file its own source."""
    module = part.partition(":")[0] if isinstance(part, str) else part.__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None and module != "__main__":
        spec = util.find_spec(module)
        file = spec.origin if spec else None
    try:
        if file is not None:
            return Path(file).read_text(encoding="utf-8")
        return inspect.getsource(part)
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the source of {name!r} cannot be read, so that a change of it would go unseen",
            got=f"{module}: {error}",
            expected="a file of Python",
            remedy=f"state it: give the row an attribute {VERSION}, and raise it with each change",
        ) from error
