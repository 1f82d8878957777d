"""Builds of engines, against a strict stand-in for TensorRT."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_stand_in import FakeCuda
from tensorrt_machine import Machine
from tensorrt_stand_in import tensorrt
from tiny_bundles import SIZE

from runtime import BackendError
from runtime.tensorrt import api, build
from runtime.tensorrt.settings import EngineSettings


def test_the_build_is_what_was_asked_for(machine: Machine, fp32: Path) -> None:
    machine.load(
        fp32, min_batch=2, opt_batch=4, max_batch=16, optimization_level=5, workspace_mib=256
    )
    made = machine.trt._builds[0]
    assert made["shapes"] == {"images": [[count, 3, SIZE, SIZE] for count in (2, 4, 16)]}
    assert (made["level"], made["pools"], made["verbosity"]) == (
        5,
        {"WORKSPACE": 256 * 2**20},
        "DETAILED",
    )
    assert made["flags"] == []  # TF32 is off, so fp32 is fp32
    machine.load(fp32, tf32=True)
    assert machine.trt._builds[1]["flags"] == ["TF32"]


def test_the_timing_cache_is_kept_and_used(machine: Machine, fp32: Path) -> None:
    machine.load(fp32)
    machine.load(fp32, max_batch=2)
    assert [made["timing_cache"] for made in machine.trt._builds] == [False, True]


def test_a_refused_timing_cache_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, refuses_timing_cache=True)
    machine.load(fp32)
    runner = machine.load(fp32, max_batch=2)
    assert any("timing cache was not accepted" in state for state in runner.states)
    assert machine.trt._builds[1]["timing_cache"] is False


def test_the_parser_names_the_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, parse_error="antialias is not supported")
    with pytest.raises(BackendError, match="Resize node_7: antialias is not supported"):
        machine.load(fp32)
    assert not list(machine.cache.glob("*.engine"))


def test_a_failed_build_gives_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 11, build_fails=True)
    with pytest.raises(BackendError, match="cannot build the engine · got out of memory"):
        machine.load(fp32)


def test_warnings_of_the_build_are_states(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, warning="no good tactic")
    assert "TensorRT warned: no good tactic" in machine.load(fp32).states


def test_a_weakly_typed_network_is_never_made(monkeypatch: pytest.MonkeyPatch, fp32: Path) -> None:
    trt = tensorrt(10, FakeCuda())
    weak = api.Generation(lambda trt: 0, ())
    monkeypatch.setitem(api.GENERATIONS, 10, weak)
    with pytest.raises(AssertionError, match="weakly typed"):
        build.build(trt, fp32.read_bytes(), EngineSettings())
