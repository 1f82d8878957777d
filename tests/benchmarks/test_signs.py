"""The table of all verdicts is what the pages say."""

from __future__ import annotations

from pathlib import Path

from benchmarks.page import RESULTS
from benchmarks.signs import PAGES, page, verdicts


def test_verdict_lines_are_read_as_they_are_written() -> None:
    text = (
        "- holds: a > b (+1.0 ± 0.5 points (x))\n- **FAILS**: c (d)\n- not shown: e > f "
        "(g)\n- nothing: h (i)\n"
    )
    assert verdicts(text) == [
        ("holds", "a > b", "+1.0 ± 0.5 points (x)"),
        ("FAILS", "c", "d"),
        ("not shown", "e > f", "g"),
    ]


def test_a_failing_claim_is_kept_and_counted(tmp_path: Path) -> None:
    (tmp_path / "sasaki.md").write_text("- **FAILS**: x > y (-1.0)\n- holds: y > x (+1.0)\n")
    text = page(tmp_path)
    assert "| A, Sasaki et al. | 1 | 0 | 1 |" in text and "| x > y | **FAILS** | -1.0 |" in text


def test_the_kept_page_is_up_to_date() -> None:
    assert (RESULTS / "signs.md").read_text() == page(), "run python -m benchmarks.signs"
    assert all((RESULTS / f"{name}.md").exists() for name in PAGES)
