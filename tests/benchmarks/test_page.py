"""What the benchmark pages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import page


def test_a_table_has_a_separator_per_column() -> None:
    rows = [("a", 1), ("b", 2.5)]
    assert page.table("name | n, ms", rows).splitlines() == [
        "| name | n, ms |",
        "|---|---|",
        "| a | 1 |",
        "| b | 2.5 |",
    ]


def test_results_go_to_the_page_of_the_module_or_where_out_says(tmp_path: Path) -> None:
    parser = page.options("towers", "Claim: fast.\n\nMore.", "towers.json")
    assert parser.prog == "python -m benchmarks.towers" and parser.description == "Claim: fast."
    assert parser.parse_args([]).out == page.RESULTS / "towers.json"
    assert parser.parse_args(["--out", "x.md"]).out == Path("x.md")


def test_a_record_is_json_with_its_page_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page.write_record(tmp_path / "new" / "rows.json", {"b": 1, "a": 2}, "# Rows\n")
    assert (tmp_path / "new/rows.json").read_text() == '{\n "a": 2,\n "b": 1\n}\n'
    assert (tmp_path / "new/rows.md").read_text() == "# Rows\n"
    assert capsys.readouterr().out == "# Rows\n\n"
