"""The notebooks: their outputs are those of a run without errors, and name no place of a machine.

``.ci/run`` executes them with nbmake.
"""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from paths import ROOT

PLACES = ("/opt/", "/home/", "/root/", "/tmp/")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["compare_students", "own_photos"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_shows_what_it_made(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        ast.parse(cell.source)
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert any("<table" in str(output.get("data", "")) for output in outputs)
    assert not [place for place in PLACES if place in str(outputs)]


def test_ci_executes_them() -> None:
    assert "pytest --nbmake" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
