"""Engine settings, and the command lines of NVIDIA's own tools."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from runtime import BackendError
from runtime.tensorrt.settings import EngineSettings, polygraphy, trtexec


def test_another_dynamic_dimension_than_the_batch_is_refused() -> None:
    with pytest.raises(BackendError, match="dynamic in more than its batch"):
        EngineSettings().shapes(("batch", 3, "height", 224))


MODEL = Path("model.int8.trt.onnx")


DYNAMIC: dict[str, Any] = {"images": ("batch", 3, 224, 224)}


FIXED: dict[str, Any] = {"images": (1, 3, 224, 224)}


def test_trtexec_builds_what_the_runtime_builds() -> None:
    words = shlex.split(
        trtexec(MODEL, DYNAMIC, EngineSettings(opt_batch=4, workspace_mib=512), 10, "a.engine")
    )
    assert words[:4] == ["trtexec", f"--onnx={MODEL}", "--saveEngine=a.engine", "--stronglyTyped"]
    for word in (
        "--minShapes=images:1x3x224x224",
        "--optShapes=images:4x3x224x224",
        "--maxShapes=images:8x3x224x224",
        "--memPoolSize=workspace:512",
        "--noTF32",
        "--builderOptimizationLevel=3",
        "--profilingVerbosity=detailed",
        "--exportLayerInfo=a.layers.json",
        "--timingCacheFile=timing.cache",
        "--useCudaGraph",
    ):
        assert word in words


def test_trtexec_of_11_is_not_asked_for_strong_typing_and_no_precision_is_ever_asked_for() -> None:
    for major in (10, 11):
        line = trtexec(MODEL, FIXED, EngineSettings(tf32=True), major)
        for default_in_11 in ("--stronglyTyped", "--useCudaGraph", "--noDataTransfers"):
            assert (default_in_11 in line) is (major == 10)
        assert not {"--fp16", "--int8", "--best", "--noTF32"} & set(shlex.split(line))
        assert "Shapes" not in line  # a model of fixed shape takes none


def test_polygraphy_compares_with_onnxruntime() -> None:
    words = shlex.split(polygraphy(MODEL, DYNAMIC, EngineSettings(tf32=True), 10))
    assert words[:5] == ["polygraphy", "run", str(MODEL), "--trt", "--onnxrt"]
    assert words[words.index("--trt-max-shapes") + 1] == "images:[8,3,224,224]"
    assert "--strongly-typed" in words and "--tf32" in words
    assert "--trt-min-shapes" not in shlex.split(polygraphy(MODEL, FIXED, EngineSettings(), 11))


def test_a_path_with_spaces_stays_one_word() -> None:
    assert "--onnx=my models/a.onnx" in shlex.split(
        trtexec(Path("my models/a.onnx"), FIXED, EngineSettings(), 11)
    )
