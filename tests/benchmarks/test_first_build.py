"""What the README shows of a build: its last lines without places of this machine, and its time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.first_build import last_lines, real, stages_page

PRINTED = """note: something
   distill ━━━ 60/60
petals · 32 classes · 4 shots a class · 1,280 test images

 teacher  96.7 %
bundle  /tmp/here/runs/petals-4shot-s0/bundle
"""


def test_the_summary_begins_with_its_title_and_names_no_machine() -> None:
    lines = last_lines(PRINTED, Path("/tmp/here")).splitlines()
    assert (
        lines[0].startswith("petals · 32")
        and lines[-1] == "bundle  work/runs/petals-4shot-s0/bundle"
    )


def test_time_is_written_as_the_shell_does() -> None:
    assert real(157.4) == "real    2m37s" and real(9.2) == "real    0m9s"


def test_stages_come_in_the_order_of_their_time_and_the_rest_is_not_hidden() -> None:
    text = stages_page("compress build", {"data": 1.0, "export": 6.0}, 10.0)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == ["| export", "| data", "| imports and checks"]
    assert rows[-1][1:] == ["3.0", "30 % |"]
