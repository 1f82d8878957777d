"""The report of a really measured run, and of one without test images."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from drawn_shapes import NAMES
from finished_runs import Finished, finish
from report_page import Page

from compress.api import settings_for
from compress.engine.errors import Clip2EdgeError
from compress.report.model import report as model
from compress.report.page import Material, render_html, render_markdown
from compress.report.sections.summary import summary_table


@pytest.fixture
def page(finished: Finished) -> Page:
    return Page((finished.folder / "report.html").read_text())


def test_report_json_keeps_the_contract(finished: Finished) -> None:
    written = json.loads((finished.folder / "report.json").read_text())
    model.parse(written)
    assert written["schema"] == 1
    assert written["dataset"]["classes"] == len(NAMES) and written["dataset"][
        "test_images"
    ] == 12 * len(NAMES)
    assert written["teacher"]["top1"] == written["accuracy"]["teacher"]["top1"]
    assert set(written["paired"]["int8_vs_fp32"]) >= {
        "mcnemar_p",
        "agreement",
        "difference",
        "ci95",
    }
    assert set(written["size_bytes"]) >= {"student_int8", "student_fp32", "teacher"}
    assert set(written["timings_s"]) == {*finished.stages}
    bundle = finished.stages["export"].path / "bundle"
    assert written["size_bytes"]["student_int8"] == (bundle / "model.int8.onnx").stat().st_size
    assert "broken.png" in written["dataset"]["skipped"][0]["key"]


def test_the_schema_file_is_the_model() -> None:
    """``python -m compress.report.model.report`` writes it."""
    assert model.SCHEMA_FILE.read_text() == model.json_schema()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (
            ("accuracy", "student_int8", "top1"),
            91.2,
            "accuracy.student_int8.top1",
        ),  # percent instead of a fraction
        (("accuracy", "student_int8", "ci95"), [0.99, 1.0], "accuracy.student_int8"),
        (("accuracy", "student_int8", "top1"), float("nan"), "accuracy.student_int8.top1"),
        (("latency", 0, "verdict"), "FINE", "latency.0.verdict"),
        (("latency", 0, "p50_ms"), -1.0, "latency.0.p50_ms"),
        (("size_bytes", "teacher"), -5, "size_bytes.teacher"),
        (("schema",), 2, "schema"),
        (("verdicts", "ship"), None, "verdicts.ship"),
        (("states",), "none", "states"),
    ],
)
def test_a_broken_report_is_refused(
    finished: Finished, path: tuple[Any, ...], value: Any, named: str
) -> None:
    broken = copy.deepcopy(finished.report)
    node = broken
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    with pytest.raises(Clip2EdgeError, match=re.escape(named)):
        model.parse(broken)


@pytest.mark.parametrize(
    "part", ["dataset", "accuracy", "latency", "speedup_vs_teacher", "size_bytes", "provenance"]
)
def test_a_missing_part_is_refused(finished: Finished, part: str) -> None:
    broken = {key: value for key, value in finished.report.items() if key != part}
    with pytest.raises(Clip2EdgeError, match=part):
        model.parse(broken)


def test_the_page_asks_for_nothing_else(finished: Finished, page: Page) -> None:
    text = (finished.folder / "report.html").read_text()
    assert len(text.encode()) < 3_000_000
    links = [
        value
        for _, a in page.found
        for key, value in a.items()
        if key in ("src", "href", "srcset", "action")
    ]
    assert links and all(value and value.startswith(("data:", "#")) for value in links)
    assert not re.search(r"https?://|@import|url\((?!data:)", text)
    assert not page.all("script")


def test_the_page_is_whole_and_accessible(page: Page) -> None:
    assert page.open == []
    assert page.all("html")[0]["lang"] == "en" and len(page.all("h1")) == 1
    assert all(image["alt"] for image in page.all("img"))
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in page.all("svg"))
    assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))
    anchors = {a["id"] for _, a in page.found if "id" in a}
    assert {a["href"] for a in page.all("a")} <= {f"#{name}" for name in anchors}


def test_the_page_shows_what_was_measured(finished: Finished) -> None:
    text = (finished.folder / "report.html").read_text()
    shipped = finished.report["student"]["shipped"]
    assert f"{100 * finished.report['accuracy'][shipped]['top1']:.1f}\u202f%" in text
    for section in (
        "results",
        "classes",
        "calibration",
        "images",
        "mistakes",
        "training",
        "int8",
        "latency",
        "open",
    ):
        assert f'<section id="{section}">' in text
    assert "broken.png" in text and "TensorRT did not run here" in text
    assert finished.report["repeat"].split(" --data")[0] in text


def test_markdown_holds_the_same_table(finished: Finished) -> None:
    text = (finished.folder / "report.md").read_text()
    assert finished.report["headline"] in text and "<" not in text.replace("< 0.001", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert any("(ships)" in line for line in rows)
    assert "None" not in text and "nan" not in text


def test_the_console_table_names_the_file_that_ships(finished: Finished) -> None:
    from rich.console import Console

    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(model.parse(finished.report)))
    text = console.export_text()
    assert "teacher" in text and "student int8" in text and text.count("ships") == 1
    assert finished.report["verdicts"]["ship"]["reason"][:40] in text


def test_hostile_names_stay_text(finished: Finished, tmp_path: Path) -> None:
    hostile = copy.deepcopy(finished.report)
    hostile["dataset"]["class_names"][0] = '<img src=x onerror="alert(1)">'
    hostile["states"].append("<script>alert(1)</script>")
    page = Page(render_html(model.parse(hostile), Material()))
    assert not page.all("script") and not [
        image for image in page.all("img") if image.get("src") == "x"
    ]


def test_without_test_images_nothing_is_claimed(tmp_path: Path) -> None:
    options = {"bench": {"seconds": 0.1, "threads": [1]}}
    settings = settings_for(classes=["rose", "tulip", "poppy"], teacher="petals", overrides=options)
    done = finish(tmp_path, settings)
    report = json.loads((done.folder / "report.json").read_text())
    assert report["accuracy"] == {} and report["teacher"]["top1"] is None and report["paired"] == {}
    assert any("no test images" in line for line in report["states"])
    assert "not known" in report["headline"]
    page = Page((done.folder / "report.html").read_text())
    assert page.open == [] and "mistakes" not in {a.get("id") for _, a in page.found}
    assert len(report["latency"]) >= 6


def test_other_domains_have_a_section(several_domains: Finished) -> None:
    report = json.loads((several_domains.folder / "report.json").read_text())
    model.parse(report)
    found, shipped = report["domains"], report["student"]["shipped"]
    assert (found["own"], found["order"]) == ("photo", ["photo", "night", "sketch"])
    assert report["dataset"]["domain"] == "photo"
    assert found["tests"]["photo"][shipped]["top1"] == report["accuracy"][shipped]["top1"]
    text = (several_domains.folder / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and "#domains" in {a["href"] for a in page.all("a")}
    mean = f"{100 * found['mean_top1'][shipped]:.1f}\u202f%"
    section = text.split('<section id="domains">')[1].split("</section>")[0]
    assert (
        mean in section
        and "shots from here" in section
        and section.index("photo") < section.index("night")
    )
    assert "All shots come from photo." in section and "2 domains" in section
    lines = (several_domains.folder / "report.md").read_text().splitlines()
    header = next(line for line in lines if "photo (shots)" in line)
    rows = lines[lines.index(header) + 1 : lines.index(header) + 6]
    assert all(row.count("|") == header.count("|") for row in rows) and mean in "".join(rows)


def test_a_single_domain_has_no_section(finished: Finished) -> None:
    assert finished.report["domains"] is None
    text = (finished.folder / "report.html").read_text() + (
        finished.folder / "report.md"
    ).read_text()
    assert 'id="domains"' not in text and "Other domains" not in text and 'id="probing"' not in text


def test_a_broken_domain_is_refused(several_domains: Finished) -> None:
    broken = copy.deepcopy(several_domains.report)
    broken["domains"]["tests"]["sketch"]["teacher"]["top1"] = 66.2
    with pytest.raises(Clip2EdgeError, match=re.escape("domains.tests.sketch.teacher.top1")):
        model.parse(broken)


def test_the_recipe_is_listed(finished: Finished) -> None:
    assert (
        finished.report["recipe"]["objective"] == "fd_kd"
        and finished.report["recipe"]["strategy"] == "sidclip"
    )
    text = (finished.folder / "report.md").read_text()
    assert (
        "objective: fd_kd (ce × 0.1, kl × 0.9)" in text
        and "meta: exact second-order meta steps" in text
    )
    assert "1,500 steps of feature distillation alone" in text and "4,096 image views" in text
    assert (
        "0.183 between two synthetic images and 0.250 between two real images" in text
        and "0.091" in text
    )


def test_probing_is_a_table_with_the_candidate_that_was_kept(finished: Finished) -> None:
    rows = [
        {
            "candidate": {"strategy": "img2img", "prompts": {"kind": "mix"}},
            "agreement": 0.71,
            "diversity": 0.2,
            "gap": 0.1,
            "score": 0.5,
        },
        {"candidate": {}, "agreement": 0.9, "diversity": None, "gap": None, "score": 0.8},
    ]
    report = copy.deepcopy(finished.report)
    report["synthetic"]["probing"] = {"rows": rows, "chosen": 1}
    model.parse(report)
    page, text = render_html(model.parse(report), Material()), render_markdown(model.parse(report))
    assert Page(page).open == [] and "#probing" in {a["href"] for a in Page(page).all("a")}
    assert "strategy = img2img, prompts.kind = mix" in page and "as configured<span" in page
    assert "| **as configured** (kept) | 90.0\u202f% | – | – | 0.800 |" in text


def test_all_shots_are_counted_in_words(finished: Finished) -> None:
    report = copy.deepcopy(finished.report)
    report["dataset"] |= {"shots": "all", "train_images": 1036}
    model.parse(report)
    texts = [
        render_html(model.parse(report), Material([], [], 32)),
        render_markdown(model.parse(report)),
        str(summary_table(model.parse(report)).title),
    ]
    assert all("all 1,036 training images" in text and "all shots" not in text for text in texts)
    assert "All 1,036 real training images, and" in texts[1]
    report["dataset"]["shots"] = "every"
    with pytest.raises(Clip2EdgeError, match="dataset.shots"):
        model.parse(report)
