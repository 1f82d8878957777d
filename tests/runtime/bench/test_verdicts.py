"""What a bench says about int8 and about engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime import BundleError
from runtime.bench import file as bench_file
from runtime.bench.latency import COMPUTE, Ratio
from runtime.bench.report import BenchReport, entry_of
from runtime.bench.run import bench
from runtime.bench.text import lines
from runtime.bench.verdicts import verdicts


@pytest.fixture(scope="module")
def single(bundle: Path) -> BenchReport:
    return bench(bundle, seconds=0.2, threads=1, command="as typed")


def judged(report: BenchReport, p50: float, low: float, high: float) -> list[str]:
    speedups = {**report.speedups, "int8_vs_fp32": Ratio(p50, (low, high), 20)}
    return verdicts(replace(report, speedups=speedups))


def test_int8_pays_by_its_interval_and_its_kernels(single: BenchReport) -> None:
    (pays,) = judged(single, 1.45, 1.4, 1.5)
    assert pays.startswith("onnxruntime: int8 pays; int8 is 1.45x (1.40 to 1.50) as fast as fp32")
    assert "4 of 4 products on integer kernels" in pays
    (slow,) = judged(single, 1.45, 1.4, 1.49)
    assert slow.startswith("onnxruntime: ship fp32; int8 is 1.45x") and "1.5x is needed" in slow
    (emulated,) = judged(replace(single, kernels={"int8": {"Conv": 3}}), 2.0, 1.9, 2.1)
    assert emulated.startswith("onnxruntime: ship fp32") and "0 of 3 products" in emulated


def test_every_engine_of_the_machine_is_timed_in_one_run(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs pip install 'clip2edge[openvino]'")
    found = bench(bundle, backend="all", seconds=0.3, threads=1, command="as typed")
    rows = {entry_of(row): row for row in found.rows if row.includes == COMPUTE}
    assert {"fp32", "int8", "fp32.openvino", "int8.openvino"} <= set(rows)
    assert rows["int8"].backend == "onnxruntime" and rows["int8.openvino"].backend == "openvino"
    assert rows["int8.openvino"].kernels["Convolution I8"] == 2
    assert set(found.cold) == set(rows)
    ratios = {"int8_vs_fp32", "int8.openvino_vs_fp32.openvino", "int8.openvino_vs_int8"}
    assert ratios <= set(found.speedups)
    said = verdicts(found)
    assert [words.partition(":")[0] for words in said][:2] == ["onnxruntime", "openvino"]
    assert said[-1].startswith("fastest here: ")
    assert any(line.startswith("verdict: openvino: ") for line in lines(found))
    written = bench_file.write(tmp_path / "bench.json", found.to_json())
    assert bench_file.read(written)["kernels"]["int8.openvino"]["Convolution I8"] == 2


def test_engines_that_are_absent_are_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.bench.run.find_spec", lambda name: name == "onnxruntime" or None)
    found = bench(bundle, backend="all", seconds=0.1, threads=1, command="as typed")
    assert {row.backend for row in found.rows} == {"onnxruntime"}
    assert any("openvino was not timed: it is not installed" in state for state in found.states)
    assert not [words for words in verdicts(found) if words.startswith("fastest")]


def test_a_model_that_is_not_there_is_an_error_with_all_engines(bundle: Path) -> None:
    with pytest.raises(BundleError, match="no int7 model"):
        bench(bundle, ["int7"], backend="all", seconds=0.1, threads=1)
