"""``compress report``: other devices' bench.json files merged into a finished run's report,
believed only where they fit.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from bench_artifacts import Finished, finished  # noqa: F401
from report_devices import BUDGETS, CANDIDATES, ORIN, SENSITIVITY, bench_json, row, three_devices
from report_page import Page

from compress.engine.errors import BenchFileError, Clip2EdgeError, ConfigError
from compress.report import merge
from compress.report.model import report as model
from compress.report.page import Material, render_html, render_markdown
from compress.report.rerender import WITHOUT_PICTURES, rerender
from compress.report.sections import devices


@pytest.fixture
def run(finished: Finished, tmp_path: Path) -> Path:  # noqa: F811
    """A run folder as the pipeline leaves it: the report, the bundle, links to the stages."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, stage in finished.stages.items():
        (folder / name).symlink_to(stage.path)
    (folder / "bundle").symlink_to(finished.stages["export"].path / "bundle")
    (folder / "report.json").write_text((finished.folder / "report.json").read_text())
    return folder


def written(folder: Path, told: dict[str, Any], name: str = "bench.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(told))
    return file


def all_three(run: Path, tmp_path: Path) -> list[Path]:
    return [
        written(tmp_path, told, f"{name}.json")
        for name, told in three_devices(run / "bundle").items()
    ]


def full(finished: Finished, run: Path) -> dict[str, Any]:  # noqa: F811
    """A report with everything that other commands put into it."""
    report = {
        **copy.deepcopy(finished.report),
        "budgets": BUDGETS,
        "candidates": CANDIDATES,
        "sensitivity": SENSITIVITY,
    }
    report["devices"] = [merge.shortened(told) for told in three_devices(run / "bundle").values()]
    model.validate(report)
    return report


def test_without_devices_the_report_stays_what_it_was(finished: Finished, run: Path) -> None:  # noqa: F811
    report = rerender(run)
    assert report == json.loads((finished.folder / "report.json").read_text())
    page, before = (run / "report.html").read_text(), (finished.folder / "report.html").read_text()
    assert page == before, "the pictures come from the stages, the rest from report.json"
    assert 'id="devices"' not in page and "1 device" not in page


def test_three_devices_are_merged_and_shown(run: Path, tmp_path: Path) -> None:
    report = rerender(run, all_three(run, tmp_path), tmp_path / "out")
    model.validate(json.loads((tmp_path / "out" / "report.json").read_text()))
    assert [devices.device_name(told["host"]) for told in report["devices"]] == [
        "AMD Ryzen 7 7840U",
        "NVIDIA Jetson Orin Nano Developer Kit, 15W",
        "Raspberry Pi 5 Model B Rev 1.0",
    ]
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    assert (
        page.open == []
        and "#devices" in {a["href"] for a in page.all("a")}
        and not page.all("script")
    )
    assert not re.search(r"https?://|@import|url\((?!data:)", text)
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in page.all("svg"))
    section = text.split('<section id="devices">')[1].split("</section>")[0]
    for words in (
        "4 devices",
        "THROTTLED",
        "ina3221 VDD_IN",
        "TensorRT file · tensorrt",
        "Under load for minutes",
    ):
        assert words in section or words in text.split("<main>")[0], words
    assert 'class="hollow' not in section, "everything here was measured"
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert (
        "| Raspberry Pi 5 Model B Rev 1.0 | student int8 | onnxruntime CPU, 1 thread |" in markdown
    )
    assert json.loads((run / "report.json").read_text())["devices"] == [], (
        "--out leaves the run alone"
    )


def test_each_device_has_its_own_verdict(finished: Finished, run: Path) -> None:  # noqa: F811
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
    rows = devices.device_verdicts(report)
    ships = {told["device"]: told["ships"] for told in rows if told["rival"] == "fp32"}
    assert ships["Raspberry Pi 5 Model B Rev 1.0"] == "int8"
    assert ships["slow"] == "fp32" and ships["floats"] == "fp32"
    engine = next(told for told in rows if told["rival"] == "fp16")
    assert (engine["limit"], engine["ci95"], engine["kernels"]) == ("1.20×", "–", "15 of 16")
    assert engine["ratio"] == "1.24×" and engine["ships"] == "int8, TensorRT file"
    care = {told["device"]: told["valid"] for told in rows}
    assert not care["Raspberry Pi 5 Model B Rev 1.0"], "its int8 series was throttled"


def test_an_estimate_is_hollow_named_and_in_no_table(finished: Finished, run: Path) -> None:  # noqa: F811
    report = full(finished, run)
    marks = devices.marks(report)
    assert [mark.p50_ms for mark in marks["xavier-nx (estimate)"]] == [0.31]
    assert sum(mark.estimate for group in marks.values() for mark in group) == 1
    text = render_html(report, Material()).split('<section id="devices">')[1].split("</section>")[0]
    picture, table = text.split('<div class="narrow">')[0], text.split("<table")[1]
    assert picture.count('class="hollow ') == 1 and "estimate, not measured" in picture
    assert "xavier-nx" not in table


def test_a_foreign_bundle_is_refused(run: Path, tmp_path: Path) -> None:
    told = bench_json(run / "bundle", ORIN)
    told["bundle"]["manifest_sha256"] = "0" * 64
    before = (run / "report.json").read_bytes()
    with pytest.raises(BenchFileError, match="measured another bundle") as caught:
        rerender(run, [written(tmp_path, told)])
    assert "0000000000000000" in str(caught.value) and "copy this run's bundle" in str(caught.value)
    assert (run / "report.json").read_bytes() == before and not (run / "report.html").exists()


def test_a_timed_file_that_is_not_in_the_bundle_is_refused(run: Path, tmp_path: Path) -> None:
    told = bench_json(run / "bundle", ORIN)
    told["rows"][2]["file_sha256"] = "1" * 64
    with pytest.raises(BenchFileError, match="timed a file that is not in this bundle"):
        rerender(run, [written(tmp_path, told)])
    told["rows"][2] = row("teacher", "fp32", 9.0, "1" * 64)  # a teacher lies outside of the bundle
    assert len(rerender(run, [written(tmp_path, told)], tmp_path / "out")["devices"]) == 1


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda told: told["rows"][0].update(p50_ms=-1.0), "p50_ms"),
        (lambda told: told["rows"][0].update(n=0), "n"),
        (lambda told: told["rows"][0].update(quantiles_ms=[1.0] * 100), "quantiles_ms"),
        (lambda told: told["rows"][0]["quantiles_ms"].reverse(), "quantiles_ms"),
        (lambda told: told["rows"][0].update(verdict="FINE"), "verdict"),
        (lambda told: told.update(schema=2), "newer"),
        (lambda told: told.update(kind="report"), "not a bench.json"),
        (lambda told: told.update(rows=[]), "rows"),
        (lambda told: told["host"].update(cores_usable="<b>many</b>"), "cores_usable"),
        (lambda told: told["host"].update(device={"a": 1}), "device"),
        (lambda told: told["rows"][0].update(clock_mhz=["fast", None]), "clock_mhz"),
        (lambda told: told["speedups"].update(int8_vs_teacher={"p50": 2}), "int8_vs_teacher"),
    ],
)
def test_a_damaged_file_is_refused(run: Path, tmp_path: Path, damage: Any, named: str) -> None:
    told = bench_json(run / "bundle", ORIN)
    damage(told)
    with pytest.raises(BenchFileError, match=named):
        rerender(run, [written(tmp_path, told)])


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[1, 2]", b'{"schema": NaN}', b"[" * 100_000]
)
def test_what_is_no_bench_json_is_refused(run: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bench.json"
    file.write_bytes(content)
    with pytest.raises(BenchFileError):
        rerender(run, [file])
    with pytest.raises(BenchFileError):
        rerender(run, [tmp_path / "absent.json"])


def test_the_same_run_is_merged_once_and_a_second_one_is_named(run: Path, tmp_path: Path) -> None:
    first = bench_json(run / "bundle", ORIN)
    again = bench_json(run / "bundle", ORIN, 2.0)
    later = bench_json(run / "bundle", ORIN, started="2026-11-21T10:00:00+00:00")
    rerender(run, [written(tmp_path, first)])
    report = rerender(run, [written(tmp_path, again), written(tmp_path, later, "later.json")])
    assert len(report["devices"]) == 2
    assert report["devices"][0]["rows"][0]["p50_ms"] == again["rows"][0]["p50_ms"], (
        "the newer file of one run counts"
    )
    names = [told["name"] for told in devices.everywhere(report)]
    assert names[1].endswith("· onnxruntime, 2026-11-20 10:00") and names[2].endswith(
        "2026-11-21 10:00"
    )
    assert devices.counted(report) == "3 runs, 2 devices"


def test_strings_of_a_stranger_stay_text(run: Path, tmp_path: Path) -> None:
    told = bench_json(
        run / "bundle",
        {"device": "<script>alert(1)</script>|x", "governor": '"><img src=x>'},
        states=["<img src=x onerror=alert(1)>"],
    )
    told["rows"][1]["precision"] = 'fp32" onload="alert(1)'
    told["rows"][1]["reason"], told["rows"][1]["verdict"] = '" onmouseover="alert(1)', "DRIFTING"
    told["rows"][1]["provider"] = "<b>CPU</b>"
    rerender(run, [written(tmp_path, told)])
    page = Page((run / "report.html").read_text())
    assert page.open == [] and not page.all("script")
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert not [
        name for _, attributes in page.found for name in attributes if name.startswith("on")
    ]
    lines = (run / "report.md").read_text().splitlines()
    header = next(line for line in lines if line.startswith("| device | model"))
    rows = [
        line for line in lines if "alert(1)" in line and line.startswith("|") and "ms |" in line
    ]
    assert rows and all(len(re.findall(r"(?<!\\)\|", line)) == header.count("|") for line in rows)
    assert "<script" not in "".join(lines)


def test_a_long_sustained_run_is_thinned_and_quantiles_are_rounded(run: Path) -> None:
    told = bench_json(run / "bundle", ORIN)
    told["sustained"] = [{"t_s": float(i), "p50_ms": 1.0, "n": 5} for i in range(5000)]
    told["rows"].append({**told["rows"][0], "batch": 8})
    kept = merge.shortened(told)
    assert len(kept["sustained"]) <= merge.WINDOWS and kept["sustained"][0]["t_s"] == 0.0
    assert all(
        len(f"{value:g}".replace(".", "").lstrip("0")) <= 6
        for value in kept["rows"][0]["quantiles_ms"]
    )
    assert "quantiles_ms" not in kept["rows"][-1]
    assert len(told["rows"][0]["quantiles_ms"]) == 101, "the file's own content is left alone"


def test_a_merged_measurement_takes_the_place_of_an_estimate(run: Path, tmp_path: Path) -> None:
    """A limit on a device that nobody had measured is judged again once its bench.json is there."""
    report = json.loads((run / "report.json").read_text())
    budget = {
        "what": "p50<=1ms@pi5",
        "metric": "p50",
        "device": "pi5",
        "limit": 1.0,
        "value": 0.9,
        "unit": "ms",
        "basis": "estimate",
        "pass": True,
        "why": "roofline",
    }
    (run / "report.json").write_text(json.dumps({**report, "budgets": [budget]}))
    pi = three_devices(run / "bundle")["pi"]
    judged = rerender(run, [written(tmp_path, pi)])["budgets"][0]
    assert judged["basis"] == "measured" and judged["value"] in [
        row["p50_ms"] for row in pi["rows"]
    ]
    assert "estimate" not in devices.marks(json.loads((run / "report.json").read_text()))


def test_an_older_report_is_completed_from_its_predictions(finished: Finished, run: Path) -> None:  # noqa: F811
    older = json.loads((run / "report.json").read_text())
    added = ("changes", "devices", "candidates", "sensitivity", "breakdown")
    for name in added:
        del older[name]
    for line in older["latency"]:
        line.pop("quantiles_ms")
    (run / "report.json").write_text(json.dumps(older))
    report = rerender(run)
    assert report["changes"] == json.loads((finished.folder / "report.json").read_text())["changes"]
    assert 'class="ecdf' not in (run / "report.html").read_text(), (
        "what was not stored is not drawn"
    )


def test_a_run_without_its_stages_says_that_pictures_are_missing(run: Path) -> None:
    for name in ("generate", "data"):
        (run / name).unlink()
    report = rerender(run)
    page = (run / "report.html").read_text()
    assert WITHOUT_PICTURES in page and 'id="images"' not in page and Page(page).open == []
    assert WITHOUT_PICTURES not in report["states"], (
        "that is about this rendering, not about the run"
    )


def test_no_run_and_no_bundle_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        rerender(tmp_path)
    file = written(tmp_path, bench_json(run / "bundle", ORIN))
    (run / "bundle").unlink()
    with pytest.raises(BenchFileError, match="no bundle"):
        rerender(run, [file])
    (run / "report.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        rerender(run)
    (run / "report.json").write_text('{"schema": 1}')
    with pytest.raises(Clip2EdgeError, match="headline"):
        rerender(run)


def test_the_command_merges_and_refuses(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from compress.cli import app as cli

    files = all_three(run, tmp_path)
    options = [word for file in files for word in ("--bench", str(file))]
    monkeypatch.setattr(
        "sys.argv", ["compress", "report", str(run), *options, "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().out
    assert (
        ended.value.code == 0
        and "With its fastest file, one image takes from" in said
        and str(tmp_path / "out" / "report.html") in said
    )
    foreign = json.loads(files[0].read_text())
    foreign["bundle"]["manifest_sha256"] = "a" * 64
    monkeypatch.setattr(
        "sys.argv", ["compress", "report", str(run), "--bench", str(written(tmp_path, foreign))]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capsys.readouterr().err
    assert (
        ended.value.code == 2
        and error.startswith("BenchFileError:")
        and "measured another bundle" in error
    )


def test_everything_at_once_is_one_whole_page(finished: Finished, run: Path) -> None:  # noqa: F811
    """Budget, search, devices and mixtures together, in HTML and Markdown, and dry of None."""
    report = full(finished, run)
    text, markdown = render_html(report, Material()), render_markdown(report)
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
