"""Rows of other packages and scripts: found by name, and known by their source."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compress.engine.errors import ConfigError
from compress.engine.plugins import Table, rows_used, source_of, sources

POINTS = """\
[clip2edge.colors]
mauve = {module}:MAUVE
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with a row of the table ``colors``; gives its module's file."""
    name = f"paints_{abs(hash(str(tmp_path)))}"
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS.format(module=name))
    module = tmp_path / f"{name}.py"
    module.write_text("MAUVE = 'row of mauve'\n\ndef paint():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield module
    sys.modules.pop(name, None)


def test_a_table_knows_the_rows_of_other_packages(package: Path) -> None:
    table: Table[str] = Table("colors", {"red": "row of red"})
    assert table["red"] == "row of red"
    assert package.stem not in sys.modules, "a row of ours is found without entry points"
    assert table["mauve"] == "row of mauve"
    assert list(table) == ["red", "mauve"] and len(table) == 2 and "green" not in table
    table["green"] = "row of green"
    assert table["green"] == "row of green"
    del table["green"]
    assert "green" not in table


def test_a_name_that_is_taken_is_refused(package: Path) -> None:
    table = Table("colors", {"mauve": "ours"})
    assert table["mauve"] == "ours"
    with pytest.raises(ConfigError, match="two rows of colors have one name .*uninstall paints_"):
        list(table)


def test_rows_are_looked_up_without_the_import_of_a_table(package: Path) -> None:
    found = rows_used("no_such_module:COLORS", "colors", ["red", "mauve"])
    assert found == {"mauve": "row of mauve"}


@dataclass
class Row:
    """A row as our tables have them."""

    target: str
    call: Any = None


def test_an_edited_source_is_another_one(package: Path) -> None:
    before = source_of(Row(f"{package.stem}:paint"), "mine")
    assert before is not None and source_of(Row(f"{package.stem}:paint"), "mine") == before
    package.write_text(package.read_text().replace("return 1", "return 2"))
    after = source_of(Row(f"{package.stem}:paint"), "mine")
    assert after not in (None, before)


def test_functions_classes_and_rows_in_rows_count(package: Path) -> None:
    module = __import__(package.stem)
    one = source_of({"a": (module.paint,)}, "mine")
    assert one is not None and one == source_of([module.paint], "mine")
    assert source_of(Row("compress.distill.terms:LabelTerm", module.paint), "mine") is not None


def test_a_sentence_with_a_colon_is_no_module() -> None:
    row = {"strategy": "compress.distill.terms:LabelTerm", "purpose": "They show no class: ranges."}
    assert source_of(row, "ours") is None


def test_rows_of_this_package_are_known_by_their_stage() -> None:
    from compress.generate.strategies.table import STRATEGIES

    assert sources(dict(STRATEGIES)) == {}
    assert source_of("compress.distill.terms:LabelTerm", "ours") is None


def test_what_cannot_be_read_must_state_its_version() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def paint(): return 1", space)
    paint = space["paint"]
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) is None:
        with pytest.raises(ConfigError, match="cannot be read"):
            source_of(paint, "mine")
    paint.__module__ = "no_such_module_at_all"
    with pytest.raises(ConfigError, match="give the row an attribute version"):
        source_of(paint, "mine")
    paint.version = 3
    assert source_of(paint, "mine") == "version 3"
