"""bench.json comes from other people's devices: it is read as such."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import BundleError
from runtime.bench import file as bench_file
from runtime.bench.breakdown import Breakdown
from runtime.bench.cold import Cold
from runtime.bench.latency import LatencyRow, Ratio, Samples, row
from runtime.bench.report import MAX_TEXT, BenchReport, BundleFacts
from runtime.bench.sustained import Window
from runtime.bench.text import lines, merged
from runtime.host.energy import Energy
from runtime.host.telemetry import Host, host


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """A whole report, of made-up durations."""
    samples = Samples("int8", np.random.default_rng(0).integers(1_000_000, 1_100_000, (100, 7)))
    line = row(
        samples,
        model="petals",
        precision="int8",
        backend="onnxruntime",
        batch=1,
        threads=1,
        provider="CPUExecutionProvider",
        kernels={"QLinearConv": 2},
        nodes={"CPUExecutionProvider": 3},
        energy=Energy(4.0, 4.5, "INA3221 VDD_IN", 3.0, 1.0, 1000),
        file_sha256="0" * 64,
    )
    report = BenchReport(
        mode="quick",
        host=host(),
        rows=[line],
        cold={"int8": Cold(80.0, 30.0, 2.0, 150.0, 60 << 20, ())},
        slowest="int8",
        speedups={"int8_vs_teacher": Ratio(9.0, (8.5, 9.5), 100)},
        command="compress bench petals",
        started="2026-11-21T15:00:00+00:00",
        bundle=BundleFacts("petals", "1" * 64, "int8"),
        breakdown={"int8": Breakdown(0.1, 0.1, 0.1, 1.0, 0.1, 1.4, 1.2, 1.15, (1.1, 1.2), 50)},
        sustained=[Window(1.0, 1.0, 100, 1500.0, 50.0, None)],
        sustained_of="int8",
        kernels={"int8": {"QLinearConv": 2}},
        states=[],
    )
    return report.to_json()


def store(folder: Path, content: Any) -> Path:
    file = folder / "bench.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy whose field ``path`` ("rows.0.n") is ``value``; "REMOVED" takes it away."""
    out = copy.deepcopy(content)
    spot: Any = out
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        spot = spot[part]
    if value == "REMOVED":
        del spot[last]
    else:
        spot[last] = value
    return out


def test_what_is_written_is_what_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    assert bench_file.read(bench_file.write(tmp_path / "b.json", content)) == json.loads(
        json.dumps(content)
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rows", "REMOVED"),
        ("rows", {}),
        ("rows", [1]),
        ("rows", [{}]),
        ("rows.0.n", -1),
        ("rows.0.n", True),
        ("rows.0.n", 1.5),
        ("rows.0.p50_ms", "fast"),
        ("rows.0.p50_ms", -1.0),
        ("rows.0.p50_ms", 1e300),
        ("rows.0.batch", 0),
        ("rows.0.threads", None),
        ("rows.0.verdict", "FAST"),
        ("rows.0.verdict", ["VALID"]),
        ("rows.0.model", "x" * 5000),
        ("rows.0.quantiles_ms", [1.0] * 100),
        ("rows.0.quantiles_ms", [2.0] + [1.0] * 100),
        ("rows.0.kernels", {"QLinearConv": "2"}),
        ("rows.0.kernels", {str(i): 1 for i in range(300)}),
        ("rows.0.clock_mhz", [1.0]),
        ("rows.0.temperature_c", [-300.0, 0.0]),
        ("rows.0.file_sha256", "00"),
        ("rows.0.energy", "4 mJ"),
        ("rows.0.energy.source", "REMOVED"),
        ("speedups.int8_vs_teacher.ci95", [1.0]),
        ("speedups.int8_vs_teacher", 9.0),
        ("speedups", []),
        ("cold.int8.load_ms", None),
        ("breakdown.int8.n", 0),
        ("breakdown.int8.decode_ms", "REMOVED"),
        ("sustained.0.p50_ms", -1),
        ("sustained", {}),
        ("kernels", {"int8": []}),
        ("states", [1]),
        ("states", "none"),
        ("bundle", None),
        ("bundle.manifest_sha256", "x"),
        ("host", []),
        ("mode", "slow"),
        ("command", 5),
        ("host.isa", 5),
        ("host.isa", [None]),
        ("host.device", {}),
        ("host.cores_usable", "2"),
        ("teacher", {"name": 5}),
        ("host.cpu", "\x1b[2J"),
        ("states", ["a\nb"]),
        ("rows.0.model", "\u202egpj"),
        ("sustained_of", 1),
    ],
)
def test_an_impossible_value_is_refused_with_its_name(
    content: dict[str, Any], tmp_path: Path, path: str, value: Any
) -> None:
    named = ".".join(part for part in path.split(".") if not part.isdigit()).split(".")[0]
    broken = changed(content, path, value)
    with pytest.raises(BundleError, match="is not usable") as caught:
        bench_file.read(store(tmp_path, broken))
    assert named in str(caught.value) and len(str(caught.value)) < 800
    with pytest.raises(BundleError):
        bench_file.write(tmp_path / "never.json", broken)
    assert not (tmp_path / "never.json").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JSON"),
        ("[]", "not a bench.json"),
        ("null", "not a bench.json"),
        ("{}", "not a bench.json"),
        ('{"kind": "clip2edge-bench"}', "schema"),
        ('{"kind": "clip2edge-bench", "schema": true}', "schema"),
        ('{"kind": "clip2edge-bench", "schema": 0}', "schema"),
        ('{"kind": "clip2edge-bench", "schema": 2}', "newer"),
        ('{"kind": "clip2edge-bench", "schema": 1, "schema": 1}', "repeated"),
        ('{"kind": "clip2edge-bench", "schema": 1, "rows": NaN}', "JSON"),
        ('{"kind": "clip2edge-bench", "schema": 1, "rows": 1e999}', "JSON"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BundleError, match=why):
        bench_file.read(store(tmp_path, text))


def test_a_file_of_hostile_size_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    with file.open("wb") as stream:
        stream.truncate(2**34)
    with pytest.raises(BundleError, match="too large"):
        bench_file.read(file)
    with pytest.raises(BundleError):
        bench_file.read(tmp_path / "absent.json")
    with pytest.raises(BundleError):
        bench_file.read(tmp_path)


def test_what_a_terminal_would_obey_is_not_written(content: dict[str, Any], tmp_path: Path) -> None:
    report = BenchReport(
        mode="quick",
        started="",
        host=host(),
        bundle=BundleFacts("petals", "1" * 64, "int8"),
        rows=[],
        speedups={},
        cold={},
        breakdown={},
        sustained=None,
        kernels={},
        command="bench 'a\nb\x1b[2J'",
        states=["x" * 9999, "two\nlines"],
    )
    found = bench_file.read(bench_file.write(tmp_path / "b.json", report.to_json()))
    assert found["command"] == "bench 'a b [2J'" and found["states"] == [
        "x" * MAX_TEXT,
        "two lines",
    ]


def test_fields_of_a_later_release_are_kept(content: dict[str, Any], tmp_path: Path) -> None:
    grown = changed(changed(content, "weather", {"sunny": True}), "rows.0.colour", "red")
    assert bench_file.read(store(tmp_path, grown))["rows"][0]["colour"] == "red"


def test_a_failed_write_leaves_the_old_file(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bench_file.write(tmp_path / "b.json", content)
    before = file.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="No space left"):
        bench_file.write(file, {**content, "command": "another"})
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
    with pytest.raises(BundleError, match="cannot write"):
        bench_file.write(tmp_path / "no" / "such" / "folder.json", content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_stands_in_a_field_it_is_read_and_shown_or_refused(
    content: dict[str, Any], tmp_path: Path, data: st.DataObject
) -> None:
    paths = [
        *(field.name for field in fields(BenchReport)),
        *(f"rows.0.{field.name}" for field in fields(LatencyRow)),
        "cold.int8",
        "breakdown.int8",
        "sustained.0",
    ]
    paths += [f"host.{field.name}" for field in fields(Host)]
    broken = changed(content, data.draw(st.sampled_from(paths)), data.draw(JSON))
    try:
        found = bench_file.read(store(tmp_path, broken))
    except BundleError:
        return
    report = bench_file.parse(BenchReport, found)
    assert lines(report) and merged([report])


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_bytes_of_something_else_are_refused(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "bench.json").write_bytes(junk)
    with pytest.raises(BundleError):
        bench_file.read(tmp_path / "bench.json")


def test_several_devices_stand_in_one_table(content: dict[str, Any]) -> None:
    fast = changed(changed(content, "host", {"device": "Jetson Orin Nano"}), "rows.0.p50_ms", 0.5)
    batch = changed(content, "rows.0.batch", 8)
    table = merged([bench_file.parse(BenchReport, part) for part in (content, fast, batch)])
    assert table[1] == "compute, batch 1" and table[2].startswith("Jetson Orin Nano"), (
        "the fastest of a kind first"
    )
    assert table[4] == "compute, batch 8" and len(table) == 6
