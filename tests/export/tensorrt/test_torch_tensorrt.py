"""torch-tensorrt as a column of the benchmark, with a stand-in that has the published signature of
2.14: no GPU.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compress.distill.artifact import DistillArtifact
from compress.engine.errors import ExportError, MissingExtraError
from export.tensorrt import torch_tensorrt as module
from export.tensorrt.torch_tensorrt import bench, compile_student, main
from runtime import BackendError

SIZE = 16


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    ).eval()


class Stand:
    """torch_tensorrt: compiles by giving the exported program back."""

    __version__ = "2.14.0"

    def __init__(self, old: bool = False, failure: Exception | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.batches: list[int] = []
        outer = self

        def compile_2_14(
            exported_program: Any,
            inputs: Any,
            *,
            require_full_compilation: bool = False,
            min_block_size: int = 5,
        ) -> Any:
            if failure is not None:
                raise failure
            outer.calls.append(
                {"inputs": inputs, "whole": require_full_compilation, "block": min_block_size}
            )
            inside = exported_program.module()

            def run(images: torch.Tensor) -> torch.Tensor:
                outer.batches.append(len(images))
                assert images.dtype == inputs[0].dtype
                assert inputs[0].min_shape[0] <= len(images) <= inputs[0].max_shape[0]
                return inside(images)

            return run

        def compile_2_6(
            exported_program: Any, inputs: Any, *, use_explicit_typing: bool = False, **others: Any
        ) -> Any:
            assert use_explicit_typing, "weakly typed"
            return compile_2_14(exported_program, inputs, **others)

        self.dynamo = SimpleNamespace(compile=compile_2_6 if old else compile_2_14)

    def Input(self, *, min_shape: Any, opt_shape: Any, max_shape: Any, dtype: Any) -> Any:
        return SimpleNamespace(
            min_shape=min_shape, opt_shape=opt_shape, max_shape=max_shape, dtype=dtype
        )


@pytest.fixture(params=[False, True])
def stand(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stand:
    made = Stand(old=request.param)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", made)
    return made


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(0, 1, (count, 3, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp16", 2e-2)])
def test_it_computes_what_the_network_computes(
    stand: Stand, precision: str, tolerance: float
) -> None:
    plain = network()
    runner = compile_student(plain, SIZE, precision=precision, max_batch=4, device="cpu")
    want = plain(torch.from_numpy(images(6))).detach().numpy()
    got = runner.run(images(6))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=tolerance)
    assert stand.batches == [4, 2]
    assert stand.calls[0]["whole"] is True and stand.calls[0]["block"] == 1
    assert next(plain.parameters()).dtype == torch.float32  # the caller's network is not touched
    assert runner.versions["torch_tensorrt"] == "2.14.0" and runner.input_size == SIZE


def test_wrong_precisions_shapes_and_outputs_are_refused(stand: Stand) -> None:
    with pytest.raises(ExportError, match=r"got int8 · expected fp32, fp16 · int8: use the engine"):
        compile_student(network(), SIZE, precision="int8", device="cpu")
    runner = compile_student(network(), SIZE, device="cpu")
    with pytest.raises(BackendError, match="no such output"):
        runner.run(images(1), "features")
    with pytest.raises(BackendError, match="images"):
        runner.run(np.zeros((1, 3, 8, 8), np.float32))


def test_a_failed_compilation_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules,
        "torch_tensorrt",
        Stand(failure=RuntimeError("no converter for aten.foo\nmore")),
    )
    with pytest.raises(
        ExportError,
        match=r"cannot compile Sequential · got RuntimeError: no converter for aten.foo · ",
    ):
        compile_student(network(), SIZE, device="cpu")


def test_without_the_library_there_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(
        MissingExtraError,
        match=r"torch-tensorrt is not usable here.*pip install 'clip2edge\[torch-trt\]'",
    ):
        compile_student(network(), SIZE, device="cpu")


def test_without_a_gpu_there_is_one_clear_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingExtraError, match="not usable here · got no CUDA device"):
        compile_student(network(), SIZE)
    assert main([str(tmp_path)]) == 2
    assert "error: not a finished run" in capsys.readouterr().err


def test_bench_gives_rows_of_a_run(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = network()
    plain.spec = SimpleNamespace(input_size=SIZE)  # type: ignore[assignment]
    (tmp_path / "distill").mkdir()
    monkeypatch.setattr(DistillArtifact, "student", lambda artifact: plain)
    monkeypatch.setattr(module.latency, "measure", _once)
    rows = bench(tmp_path, ["fp32", "fp16"], 0.01, 2, device="cpu")
    assert [(row["precision"], row["backend"], row["batch"]) for row in rows] == [
        ("fp32", "torch-tensorrt", 2),
        ("fp16", "torch-tensorrt", 2),
    ]
    assert set(stand.batches) == {2}
    json.dumps(rows)


def _once(calls: Any, seconds: float) -> Any:
    from runtime.bench.latency import Samples

    for call in calls.values():
        call()
    return {name: Samples(name, np.full((11, 1), 1_000_000, np.int64)) for name in calls}
