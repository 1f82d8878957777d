"""Contexts, CUDA graphs, events and memory, against strict stand-ins."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from tensorrt_machine import Machine
from tiny_bundles import SIZE

from runtime import BackendError
from runtime.backends.onnxruntime import load as load_ort


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, SIZE, SIZE)).astype(np.float32)


def test_graphs_are_captured_once_for_each_batch_size(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    for count in (1, 2, 1, 2, 1):
        runner.run(images(count))
    assert len(machine.cuda.graphs) == 2 and machine.cuda.launches == 5
    assert [state for state in runner.states if state.startswith("CUDA graph")] == [
        "CUDA graph: captured for batch 1",
        "CUDA graph: captured for batch 2",
    ]


def test_layers_are_not_annotated_while_running(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    runner.run(images(1))
    runner.run(images(2))
    contexts = machine.trt._engines[-1]._contexts
    assert [context.nvtx_verbosity.name for context in contexts] == ["NONE", "NONE"]


def test_few_batch_sizes_are_kept_ready(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    for count in range(1, 9):
        np.testing.assert_allclose(
            runner.run(images(count)), load_ort(fp32, threads=1).run(images(count)), atol=1e-5
        )
    assert len(machine.cuda.graphs) == 4


def test_without_graphs_the_result_is_the_same_and_said(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32, cuda_graph=False)
    np.testing.assert_allclose(
        runner.run(images(2)), load_ort(fp32, threads=1).run(images(2)), atol=1e-5
    )
    assert "CUDA graph: not asked for" in runner.states and not machine.cuda.graphs


def test_an_engine_that_cannot_be_captured_still_runs_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 11, uncapturable=True)
    runner = machine.load(fp32)
    np.testing.assert_allclose(
        runner.run(images(2)), load_ort(fp32, threads=1).run(images(2)), atol=1e-5
    )
    assert any("CUDA graph: none for batch 2" in state for state in runner.states)
    assert not machine.cuda.recording


def test_time_on_the_device_comes_from_events(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    assert runner.device_ms(images(2), calls=3) == [0.5, 0.5, 0.5]
    assert not machine.cuda.events
    assert runner.device_ms(images(11), calls=2) == [2.75, 2.75]  # 8 images and 3 more
    with pytest.raises(BackendError, match="1 or more images"):
        runner.device_ms(images(0))


def test_closing_gives_everything_back(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    runner.run(images(2))
    assert machine.cuda.memory and machine.cuda.graphs
    runner.close()
    assert not machine.cuda.memory and not machine.cuda.graphs and not machine.cuda.queues
    forgotten = machine.load(fp32)
    forgotten.run(images(2))
    assert machine.cuda.memory and machine.cuda.graphs
    machine.cuda.graphs = {
        graph: [] for graph in machine.cuda.graphs
    }  # the stand-in's recordings hold their context
    machine.trt._engines.clear()
    del forgotten
    gc.collect()
    assert not machine.cuda.memory and not machine.cuda.queues and not machine.cuda.graphs
