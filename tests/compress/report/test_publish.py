"""A build puts its report into the run folder: what stays, and what is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from finished_runs import Finished
from report_runs import all_three

from compress.report.artifact import FILES
from compress.report.publish import publish_report
from compress.report.rerender import rerender


def read(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_without_additions_the_report_is_the_stage_s(finished: Finished, run: Path) -> None:
    for _ in range(2):
        assert publish_report(finished.folder, run, same_model=True) == []
        for file in FILES:
            assert (run / file).read_bytes() == (finished.folder / file).read_bytes()
        (run / "report.md").write_text("damaged")
        (run / "report.html").unlink()


def test_measurements_of_other_devices_stay(finished: Finished, run: Path, tmp_path: Path) -> None:
    rerender(run, all_three(run, tmp_path))
    before = {file: (run / file).read_bytes() for file in FILES}
    assert publish_report(finished.folder, run, same_model=True) == []
    assert {file: (run / file).read_bytes() for file in FILES} == before
    (run / "report.html").unlink()
    publish_report(finished.folder, run, same_model=True)
    assert (run / "report.html").read_bytes() == before["report.html"]


def test_measurements_of_another_model_are_dropped_with_a_note(
    finished: Finished, run: Path, tmp_path: Path
) -> None:
    rerender(run, all_three(run, tmp_path))
    notes = publish_report(finished.folder, run, same_model=False)
    assert "another model: measurements of other devices" in notes[0]
    assert read(run) == read(finished.folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', "[" * 100_000])
def test_a_damaged_report_is_replaced(finished: Finished, run: Path, text: str) -> None:
    (run / "report.json").write_text(text)
    publish_report(finished.folder, run, same_model=True)
    assert read(run) == read(finished.folder)
