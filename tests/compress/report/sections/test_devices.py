"""Devices side by side: verdicts, estimates, and a page with everything."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from finished_runs import Finished
from report_devices import SENSITIVITY
from report_page import Page
from report_runs import full

from compress.report.model import report as model
from compress.report.page import Material, render_html, render_markdown
from compress.report.sections import devices


def test_each_device_has_its_own_verdict(finished: Finished, run: Path) -> None:
    """int8 ships where it is fast there and really runs in integer kernels there."""
    report = full(finished, run)
    slow, unproven = (copy.deepcopy(report["devices"][0]) for _ in range(2))
    slow["host"], slow["speedups"]["int8_vs_fp32"] = (
        {"device": "slow"},
        {"p50": 1.1, "ci95": [1.0, 1.2], "rounds": 9},
    )
    unproven["host"], unproven["kernels"]["int8"] = {"device": "floats"}, {"Conv": 16, "Gemm": 1}
    report["devices"] += [slow, unproven]
    report["paired"]["int8_vs_fp32"]["difference"] = 0.0
    for name in ("student_int8", "student_int8_trt"):
        report["accuracy"][name] = report["accuracy"]["student_fp32"]
    rows = devices.device_verdicts(model.parse(report))
    ships = {row.device: row.ships for row in rows if row.rival == "fp32"}
    assert ships["Raspberry Pi 5 Model B Rev 1.0"] == "int8"
    assert ships["slow"] == "fp32" and ships["floats"] == "fp32"
    engine = next(row for row in rows if row.rival == "fp16")
    assert (engine.limit, engine.ci95, engine.kernels) == ("1.20×", "–", "15 of 16")
    assert engine.ratio == "1.24×" and engine.ships == "int8, TensorRT file"
    care = {row.device: row.valid for row in rows}
    assert not care["Raspberry Pi 5 Model B Rev 1.0"], "its int8 series was throttled"


def timed_on(report: dict[str, Any], device: int, threads: int, image: str = "a") -> None:
    rows = report["latency"] if device < 0 else report["devices"][device]["rows"]
    for row in rows:
        row["threads"] = threads
        row["image"] = image if row["includes"] != "compute" else None


def test_other_threads_and_images_are_not_held_against_each_other(
    finished: Finished, run: Path
) -> None:
    report = full(finished, run)
    for index in range(-1, len(report["devices"])):
        timed_on(report, index, 1)
    parsed = model.parse(report)
    assert devices.unequal(parsed) == []
    assert "on 1 thread each" in devices.device_sentence(parsed)
    timed_on(report, 0, 4, "224 px JPEG")
    parsed = model.parse(report)
    threads, images = devices.unequal(parsed)
    name = devices.machines(parsed)[1].name
    assert f"{name}: 4" in threads and "not compared" in threads and "--threads" in threads
    assert f"{name}: 224 px JPEG" in images and "--images" in images
    assert devices.device_sentence(parsed) == ""
    page = render_markdown(parsed)
    assert "different numbers of threads" in page


def test_threads_that_all_have_are_compared(finished: Finished, run: Path) -> None:
    report = full(finished, run)
    for index in range(-1, len(report["devices"])):
        timed_on(report, index, 2)
    one = copy.deepcopy(report["devices"][0]["rows"])
    for row in one:
        row["threads"] = 1
    report["devices"][0]["rows"] += one
    machine = devices.machines(model.parse(report))[1]
    assert {row.threads for row in machine.compute_rows()} == {2}


def test_an_estimate_is_hollow_named_and_in_no_table(finished: Finished, run: Path) -> None:
    report = full(finished, run)
    marks = devices.marks(model.parse(report))
    assert [mark.p50_ms for mark in marks["xavier-nx (estimate)"]] == [0.31]
    assert sum(mark.estimate for group in marks.values() for mark in group) == 1
    text = (
        render_html(model.parse(report), Material())
        .split('<section id="devices">')[1]
        .split("</section>")[0]
    )
    picture, table = text.split('<div class="narrow">')[0], text.split("<table")[1]
    assert picture.count('class="hollow ') == 1 and "estimate, not measured" in picture
    assert "xavier-nx" not in table


def test_everything_at_once_is_one_whole_page(finished: Finished, run: Path) -> None:
    """Budget, search, devices and mixed models together, in HTML and Markdown, and dry of None."""
    report = full(finished, run)
    text, markdown = (
        render_html(model.parse(report), Material()),
        render_markdown(model.parse(report)),
    )
    page = Page(text)
    assert page.open == [] and len(page.all("h1")) == 1 and not page.all("script")
    assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))
    for section in ("budget", "devices", "latency", "int8"):
        assert f'<section id="{section}">' in text
    assert SENSITIVITY["verdict"] in text and SENSITIVITY["verdict"] in markdown
    first_screen = text.split("<nav")[0]
    assert "over budget" in first_screen and "4 devices" in first_screen and "ships" in first_screen
    for words in (">None<", "None ms", "nan ", "| None |"):
        assert words not in text and words not in markdown
