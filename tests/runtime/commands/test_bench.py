"""``bench`` on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runtime import BackendError
from runtime.__main__ import main
from runtime.bench import file as bench_file
from runtime.bench.latency import COMPUTE, END_TO_END
from runtime.bench.run import bench


def test_command_line_writes_merges_and_explains(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "bench.json"
    one = min(os.sched_getaffinity(0))
    arguments = [
        "--seconds",
        "0.05",
        "--threads",
        "1",
        "--models",
        "int8",
        "--affinity",
        str(one),
        "--out",
        str(out),
    ]
    assert main(["bench", str(bundle), *arguments]) == 0
    text = capsys.readouterr().out
    assert "predict" in text and "2 QLinearConv" in text and "cold process" in text
    other = {**bench_file.read(out), "host": {"device": "NVIDIA Jetson Orin Nano"}}
    bench_file.write(tmp_path / "other.json", other)
    assert main(["bench", "--merge", str(out), str(tmp_path / "other.json")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert sum("NVIDIA Jetson Orin Nano" in line for line in table) == 2 and table[0].startswith(
        "device"
    )
    assert main(["bench", "--merge", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["kind"] == bench_file.KIND
    both = tmp_path / "both.json"
    assert main(["bench", "--merge", str(out), str(out), "--out", str(both)]) == 0
    assert len(json.loads(both.read_text(encoding="utf-8"))) == 2
    capsys.readouterr()
    for wrong in (
        ["bench"],
        ["bench", str(bundle), "--provider-option", "x"],
        ["bench", "--merge", str(tmp_path)],
    ):
        assert main(wrong) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("place", ["absent/bench.json", "", "pipe"])
def test_an_output_that_cannot_be_written_is_told_before_measuring(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture, place: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main(["bench", str(bundle), "--out", str(tmp_path / place)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and str(tmp_path / place) in shown.err


def test_bench_reports_every_model_both_ways(bundle: Path, capsys, monkeypatch) -> None:
    report = bench(bundle, seconds=0.1, threads=1)
    kinds = {(line.precision, line.includes) for line in report.rows}
    assert kinds == {
        (precision, what) for precision in ("fp32", "int8") for what in (COMPUTE, END_TO_END)
    }
    assert all(
        line.p50_ms and line.load_ms and line.first_ms and line.kernels for line in report.rows
    )
    monkeypatch.setattr(
        "runtime.commands.bench.run_bench", lambda *args, **options: report
    )  # the same real report, printed
    assert main(["bench", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["speedups"].keys() == report.speedups.keys()
    assert main(["bench", str(bundle)]) == 0
    text = capsys.readouterr().out
    assert "2 QLinearConv" in text and "peak memory" in text


def test_bench_without_images_or_time_is_refused(bundle: Path) -> None:
    with pytest.raises(BackendError, match="batch 0"):
        bench(bundle, batch=0)
