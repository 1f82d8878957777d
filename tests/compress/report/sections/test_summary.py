"""The summary: one row per variant of the model."""

from __future__ import annotations

import json

from finished_runs import Finished

from compress.report.model.report import parse
from compress.report.sections.summary import summary_rows, summary_table
from compress.report.wording import ABSENT


def test_each_of_several_teachers_has_its_own_parameters(finished: Finished) -> None:
    plain = json.loads((finished.folder / "report.json").read_text(encoding="utf-8"))
    for name in ("teacher_0", "teacher_1", "teacher_2"):
        plain["accuracy"][name] = plain["accuracy"]["teacher"]
    plain["teacher"] |= {"params": 8_180_000, "image_params": None}
    plain["teacher"]["members"] = [
        {"name": "a", "params": 9_000_000, "image_params": 3_390_000},
        {"name": "b", "params": 4_790_000},
    ]
    rows = summary_rows(parse(plain))
    params = {row.key: row.params.replace("\N{NARROW NO-BREAK SPACE}", " ") for row in rows}
    assert params["teacher"] == "8.18 M"
    assert [params[f"teacher_{n}"] for n in range(3)] == ["3.39 M", "4.79 M", ABSENT]


def test_the_terminal_says_when_the_test_images_are_too_few(finished: Finished) -> None:
    plain = json.loads((finished.folder / "report.json").read_text(encoding="utf-8"))
    for count, says in ((3, True), (30, False)):
        plain["dataset"]["test_images"] = count
        caption = str(summary_table(parse(plain)).caption)
        assert caption.endswith("one answer is 33 points of it.") is says
