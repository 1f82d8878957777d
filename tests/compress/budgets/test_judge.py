"""PASS, FAIL and not known, for a finished run: what each rests on, and that an estimate is never
taken for a measurement.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import cli_here
from report_devices import ORIN, bench_json, row

from compress.budgets.grammar import parse_budget
from compress.budgets.judge import gather, judge, judged_precision, kept, lines, rejudged
from compress.report.model.report import parse
from compress.report.rerender import rerender
from compress.report.sections.budget import OUTCOMES


@pytest.fixture
def report(smoke: Path) -> dict[str, Any]:
    """report.json of the smoke run, with figures that tests can rely on."""
    told: dict[str, Any] = copy.deepcopy(json.loads((smoke / "report.json").read_text()))
    told["student"]["shipped"] = "student_int8"
    for name, top1 in (("teacher", 0.90), ("student_fp32", 0.85), ("student_int8", 0.84)):
        told["accuracy"][name] |= {"top1": top1, "ci95": [top1 - 0.02, top1 + 0.02]}
    for entry in told["latency"]:
        if entry["model"] == "student" and entry["includes"] == "compute":
            entry |= {
                "p50_ms": {"fp32": 0.2, "int8": 0.1}.get(entry["precision"], 1.0),
                "p99_ms": None,
                "verdict": "VALID",
            }
    return told


def judged(report: dict[str, Any], smoke: Path, text: str) -> list[dict[str, Any]]:
    limits = parse_budget(text)
    return judge(limits, gather(report, smoke / "bundle", limits))


def test_this_machine_is_judged_by_measurement(report: dict[str, Any], smoke: Path) -> None:
    found = judged(
        report,
        smoke,
        "p50<=0.15ms, size<=1kB, drop<=6pt, drop_fp32<=0.5pt, top1>=84%, p99<=9ms, energy<=1J",
    )
    by = {one["metric"]: one for one in found}
    assert {one["basis"] for one in found} == {"measured"}
    assert (by["p50"]["value"], by["p50"]["pass"]) == (0.1, True)
    assert (
        by["size"]["pass"] is False and by["size"]["value"] == report["size_bytes"]["student_int8"]
    )
    assert by["drop"]["value"] == pytest.approx(6.0) and by["drop"]["pass"] is True
    assert by["drop_fp32"]["pass"] is False and by["top1"]["pass"] is True
    assert by["p99"]["pass"] is None and "too few" in by["p99"]["why"]
    assert by["energy"]["pass"] is None and by["energy"]["value"] is None
    assert not kept(found) and kept([by["p50"], by["drop"]]) and not kept([by["p99"]])


def test_start_and_memory_come_from_the_cold_process(report: dict[str, Any], smoke: Path) -> None:
    by = {
        one["metric"]: one for one in judged(report, smoke, "load<=10s, first<=10s, memory<=10GB")
    }
    cold = report["cold"]["student_int8"]
    assert by["load"]["value"] == cold["load_ms"] and by["first"]["value"] == cold["first_ms"]
    assert by["memory"]["value"] == cold["peak_rss_bytes"] and by["memory"]["pass"] is True


def test_a_noisy_row_is_used_and_its_stamp_is_said(report: dict[str, Any], smoke: Path) -> None:
    for entry in report["latency"]:
        entry["verdict"] = "NOISY_HOST"
    assert "NOISY_HOST" in judged(report, smoke, "p50<=1ms")[0]["why"]


def test_another_device_is_judged_by_an_estimate_that_says_so(
    report: dict[str, Any], smoke: Path
) -> None:
    found = judged(
        report, smoke, "p50<=5ms@orin-nano, p99<=5ms, energy<=50mJ, memory<=1GB, size<=1MB"
    )
    by = {one["metric"]: one for one in found}
    assert all(
        by[metric]["basis"] == "estimate" and by[metric]["pass"] is True
        for metric in ("p50", "energy", "memory")
    )
    assert "factor of two" in by["p50"]["why"] and "upper bound" in by["energy"]["why"]
    assert by["p99"]["value"] is None and by["p99"]["pass"] is None and "tail" in by["p99"]["why"]
    assert by["size"]["basis"] == "measured"
    text = "\n".join(lines(found))
    assert text.count("PASS (estimate)") == 3 and "OPEN" in text


def test_the_precision_for_another_device_is_the_one_that_keeps_most(
    report: dict[str, Any], smoke: Path
) -> None:
    def precision(text: str) -> str:
        limits = parse_budget(text)
        return judged_precision(limits, gather(report, smoke / "bundle", limits))

    assert precision("p50<=5ms@orin-nano") == "int8"  # the fastest of those that keep it
    assert precision("p50<=5ms@orin-nano, drop_fp32<=0.5pt") in ("fp16", "fp32")
    assert precision("p50<=5ms@orin-nano, size<=200kB") == "int8"
    assert precision("p50<=5ms") == "int8"
    report["student"]["shipped"] = "student_fp32"
    assert precision("p50<=5ms@host, size<=1kB") == "fp32"  # here, what ships is judged


def test_half_of_the_float_file_is_an_estimate_of_fp16(report: dict[str, Any], smoke: Path) -> None:
    report["size_bytes"].pop("student_fp16", None)
    report["accuracy"]["student_int8"] |= {"top1": 0.10, "ci95": [0.05, 0.15]}
    found = {
        one["metric"]: one
        for one in judged(report, smoke, "p50<=5ms@orin-nano, size<=400kB, drop<=10pt")
    }
    assert found["size"]["precision"] == "fp16" and found["size"]["basis"] == "estimate"
    assert found["drop"]["basis"] == "estimate" and "fp16 was not tested" in found["drop"]["why"]


def test_a_bench_of_the_device_turns_its_estimates_into_measurements(
    report: dict[str, Any], smoke: Path
) -> None:
    before = judged(report, smoke, "p50<=0.3ms@orin-nano, p99<=3ms")
    gpu = {"backend": "tensorrt", "provider": "tensorrt"}
    fast, slow = (
        row("student", "int8.trt", p50, None, **more) for p50, more in ((0.21, gpu), (9.0, {}))
    )
    other = {
        **bench_json(smoke / "bundle", ORIN),
        "rows": [row("teacher", "int8.trt", 0.001, None, **gpu), slow, fast],
    }
    after = rejudged({**report, "budgets": before, "devices": [other]}, smoke / "bundle")["budgets"]
    assert [one["basis"] for one in before] == ["estimate"] * 2 and [
        one["basis"] for one in after
    ] == ["measured"] * 2
    assert after[0]["value"] == pytest.approx(0.21, rel=0.05) and "tensorrt" in after[0]["why"]
    assert before[1]["pass"] is None and after[1]["pass"] is True
    same = rejudged(
        {**report, "budgets": before, "devices": [{**other, "host": {"device": "Raspberry Pi 5"}}]},
        smoke / "bundle",
    )
    assert same["budgets"] == before  # another board's bench says nothing about this one
    assert rejudged({**report, "budgets": []}, smoke / "bundle")["budgets"] == []


def test_a_finished_build_is_judged_through_the_command_line(
    smoke_work: Path, tmp_path: Path
) -> None:
    same = (
        "build",
        "--dataset",
        "petals",
        "--shots",
        "1",
        "--preset",
        "smoke",
        "--quiet",
        "--set",
        "budget.search=false",
    )
    good = cli_here(
        *same, "--name", "kept", "--budget", "size<=10MB, p50<=10s, drop<=100pt", work=smoke_work
    )
    assert good.returncode == 0, good.stderr
    assert good.stdout.count("PASS") == 3 and "nothing to do" in good.stdout
    told = json.loads((smoke_work / "runs" / "kept" / "report.json").read_text())
    parse(told)
    assert [(one["what"], one["device"]) for one in told["budgets"]][1] == ("p50<=10s", "host")
    assert [one["pass"] for one in told["budgets"]] == [True] * 3 and told["candidates"] == []
    bad = cli_here(
        *same,
        "--name",
        "missed",
        "--budget",
        "size<=1kB",
        "--budget",
        "p50<=5ms@orin-nano",
        work=smoke_work,
    )
    assert bad.returncode == 1 and "FAIL" in bad.stdout and "PASS (estimate)" in bad.stdout
    page = (smoke_work / "runs" / "missed" / "report.html").read_text()
    words = [
        OUTCOMES[passed, basis][1] for passed, basis in ((False, "measured"), (True, "estimate"))
    ]
    assert words[1] != OUTCOMES[True, "measured"][1] and all(word in page for word in words)
    folder = shutil.copytree(smoke_work / "runs" / "missed", tmp_path / "run", symlinks=False)
    bench = tmp_path / "orin.json"
    bench.write_text(json.dumps(bench_json(folder / "bundle", ORIN)))
    again = {row.metric: row for row in rerender(folder, [bench]).budgets}
    assert again["p50"].basis == "measured" and again["size"].passed is False
