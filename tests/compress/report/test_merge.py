"""Other devices' bench.json files in a report, if they measured its bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_devices import ORIN, bench_json, row
from report_page import Page
from report_runs import all_three, written

from compress.engine.errors import BenchFileError
from compress.report import merge
from compress.report.model import report as model
from compress.report.rerender import rerender
from compress.report.sections import devices


def test_three_devices_are_merged_and_shown(run: Path, tmp_path: Path) -> None:
    report = rerender(run, all_three(run, tmp_path), tmp_path / "out")
    model.parse(json.loads((tmp_path / "out" / "report.json").read_text()))
    assert [devices.device_name(device.host) for device in report.devices] == [
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


def test_a_foreign_bundle_is_refused(run: Path, tmp_path: Path) -> None:
    bench = bench_json(run / "bundle", ORIN)
    bench["bundle"]["manifest_sha256"] = "0" * 64
    bench["rows"][2]["file_sha256"] = "1" * 64
    before = (run / "report.json").read_bytes()
    with pytest.raises(BenchFileError, match="measured another bundle") as caught:
        rerender(run, [written(tmp_path, bench)])
    assert "0000000000000000" in str(caught.value) and "copy this run's bundle" in str(caught.value)
    assert (run / "report.json").read_bytes() == before and not (run / "report.html").exists()


def test_a_bench_before_another_target_was_added_still_counts(run: Path, tmp_path: Path) -> None:
    bench = bench_json(run / "bundle", ORIN)
    bench["bundle"]["manifest_sha256"] = "0" * 64  # the files that it timed are the same
    assert len(rerender(run, [written(tmp_path, bench)], tmp_path / "out").devices) == 1
    for timed in bench["rows"]:
        timed.pop("file_sha256", None)  # nothing says that they are
    with pytest.raises(BenchFileError, match="measured another bundle"):
        rerender(run, [written(tmp_path, bench)])


def test_a_timed_file_that_is_not_in_the_bundle_is_refused(run: Path, tmp_path: Path) -> None:
    bench = bench_json(run / "bundle", ORIN)
    bench["rows"][2]["file_sha256"] = "1" * 64
    with pytest.raises(BenchFileError, match="timed a file that is not in this bundle"):
        rerender(run, [written(tmp_path, bench)])
    bench["rows"][2] = row("teacher", "fp32", 9.0, "1" * 64)  # a teacher lies outside of the bundle
    assert len(rerender(run, [written(tmp_path, bench)], tmp_path / "out").devices) == 1


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda bench: bench["rows"][0].update(p50_ms=-1.0), "p50_ms"),
        (lambda bench: bench["rows"][0].update(n=0), "n"),
        (lambda bench: bench["rows"][0].update(quantiles_ms=[1.0] * 100), "quantiles_ms"),
        (lambda bench: bench["rows"][0]["quantiles_ms"].reverse(), "quantiles_ms"),
        (lambda bench: bench["rows"][0].update(verdict="FINE"), "verdict"),
        (lambda bench: bench.update(schema=2), "newer"),
        (lambda bench: bench.update(kind="report"), "not a bench.json"),
        (lambda bench: bench.update(rows=[]), "rows"),
        (lambda bench: bench["host"].update(cores_usable="<b>many</b>"), "cores_usable"),
        (lambda bench: bench["host"].update(device={"a": 1}), "device"),
        (lambda bench: bench["rows"][0].update(clock_mhz=["fast", None]), "clock_mhz"),
        (lambda bench: bench["speedups"].update(int8_vs_teacher={"p50": 2}), "int8_vs_teacher"),
    ],
)
def test_a_damaged_file_is_refused(run: Path, tmp_path: Path, damage: Any, named: str) -> None:
    bench = bench_json(run / "bundle", ORIN)
    damage(bench)
    with pytest.raises(BenchFileError, match=named):
        rerender(run, [written(tmp_path, bench)])


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
    assert len(report.devices) == 2
    assert report.devices[0].rows[0].p50_ms == again["rows"][0]["p50_ms"], (
        "the newer file of one run counts"
    )
    names = [machine.name for machine in devices.machines(report)]
    assert names[1].endswith("· onnxruntime, 2026-11-20 10:00") and names[2].endswith(
        "2026-11-21 10:00"
    )
    assert devices.device_count(report) == "3 runs, 2 devices"


def test_strings_of_a_stranger_stay_text(run: Path, tmp_path: Path) -> None:
    bench = bench_json(
        run / "bundle",
        {"device": "<script>alert(1)</script>|x", "governor": '"><img src=x>'},
        states=["<img src=x onerror=alert(1)>"],
    )
    bench["rows"][1]["precision"] = 'fp32" onload="alert(1)'
    bench["rows"][1]["reason"], bench["rows"][1]["verdict"] = '" onmouseover="alert(1)', "DRIFTING"
    bench["rows"][1]["provider"] = "<b>CPU</b>"
    rerender(run, [written(tmp_path, bench)])
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
    bench = bench_json(run / "bundle", ORIN)
    bench["sustained"] = [{"t_s": float(i), "p50_ms": 1.0, "n": 5} for i in range(5000)]
    bench["rows"].append({**bench["rows"][0], "batch": 8})
    kept = merge.shortened(bench)
    assert len(kept["sustained"]) <= merge.WINDOWS and kept["sustained"][0]["t_s"] == 0.0
    assert all(
        len(f"{value:g}".replace(".", "").lstrip("0")) <= 6
        for value in kept["rows"][0]["quantiles_ms"]
    )
    assert "quantiles_ms" not in kept["rows"][-1]
    assert len(bench["rows"][0]["quantiles_ms"]) == 101, "the file's own content is left alone"
