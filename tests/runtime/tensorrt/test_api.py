"""TensorRT's published API: every call exists in 10.3 and 11.4; a remedy for an absent library."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
from cuda_stand_in import FakeCuda
from paths import ROOT
from tensorrt_stand_in import tensorrt
from tensorrt_surface import SURFACE, VERSIONS, check_surface

from runtime import BackendError
from runtime.backends import tensorrt as backend
from runtime.tensorrt import api


@pytest.mark.parametrize("major", VERSIONS)
def test_the_stand_in_has_nothing_that_the_published_api_lacks(major: int) -> None:
    for cls in tensorrt(major, FakeCuda())._classes:
        assert check_surface(cls, VERSIONS[major]) == []
    assert (
        "FP16" in SURFACE["10.3.0"]["BuilderFlag"]
        and "FP16" not in SURFACE["11.4.0.106"]["BuilderFlag"]
    )


def test_the_stand_in_refuses_what_11_removed() -> None:
    trt = tensorrt(11, FakeCuda())
    config = trt.Builder(None).create_builder_config()
    with pytest.raises(AttributeError):
        config.int8_calibrator = object()
    with pytest.raises(AttributeError):
        config.set_flag(trt.BuilderFlag.INT8)


CALLS = {  # class of the bindings -> members in use, which 10.3 and 11.4 both have
    "Builder": "create_network create_builder_config create_optimization_profile "
    "build_serialized_network",
    "INetworkDefinition": "num_inputs get_input",
    "ITensor": "name shape",
    "OnnxParser": "parse num_errors get_error",
    "ParserError": "desc node_name node_operator",
    "IOptimizationProfile": "set_shape",
    "ITimingCache": "serialize",
    "IBuilderConfig": "builder_optimization_level profiling_verbosity clear_flag "
    "set_memory_pool_limit add_optimization_profile create_timing_cache set_timing_cache",
    "EngineInspector": "get_engine_information",
    "IExecutionContext": "nvtx_verbosity set_optimization_profile_async set_input_shape "
    "set_tensor_address execute_async_v3",
    "ICudaEngine": "num_io_tensors get_tensor_name get_tensor_mode get_tensor_dtype "
    "get_tensor_shape get_tensor_profile_shape create_execution_context create_engine_inspector",
    "Runtime": "deserialize_cuda_engine",
    "module": "ILogger Builder OnnxParser Runtime BuilderFlag DataType "
    "LayerInformationFormat MemoryPoolType NetworkDefinitionCreationFlag ProfilingVerbosity "
    "TensorIOMode",
    "ILogger": "Severity WARNING ERROR INTERNAL_ERROR",
    "NetworkDefinitionCreationFlag": "STRONGLY_TYPED",
    "ProfilingVerbosity": "DETAILED NONE",
    "MemoryPoolType": "WORKSPACE",
    "BuilderFlag": "TF32",
    "LayerInformationFormat": "JSON",
    "TensorIOMode": "INPUT",
    "DataType": "FLOAT HALF UINT8",
}


@pytest.mark.parametrize("version", SURFACE)
@pytest.mark.parametrize("name", CALLS)
def test_every_call_exists_in_both_published_versions(version: str, name: str) -> None:
    assert set(CALLS[name].split()) <= set(SURFACE[version][name])


def test_the_listed_calls_are_those_of_the_sources() -> None:
    sources = [f"runtime/tensorrt/{name}.py" for name in ("api", "build", "engine", "execute")]
    trees = [ast.parse((ROOT / source).read_text()) for source in sources]
    attributes = {
        node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    published = {
        name for classes in SURFACE.values() for names in classes.values() for name in names
    }
    of_others = {"engine", "dtype", "nbytes"}  # attributes of our own classes and of numpy
    listed = {member for members in CALLS.values() for member in members.split()}
    assert (attributes & published) - of_others == listed


@pytest.mark.parametrize(
    ("version", "remedy"),
    [("8.6.1", "JetPack 6.1"), ("12.0.1", "onnxruntime"), ("unknown", "onnxruntime")],
)
def test_other_major_versions_are_refused(version: str, remedy: str) -> None:
    with pytest.raises(BackendError, match=f"got {version} · expected 10.x or 11.x · .*{remedy}"):
        api.generation(SimpleNamespace(__version__=version))


def test_without_the_library_there_is_one_clear_message(
    monkeypatch: pytest.MonkeyPatch, fp32: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)  # an import of it fails, installed or not
    with pytest.raises(
        BackendError,
        match="TensorRT is not usable here · got ModuleNotFoundError.* · expected TensorRT 10",
    ):
        backend.load(fp32)


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("etc/nv_tegra_release", "--system-site-packages"),
        ("proc/driver/nvidia/version", "clip2edge\\[trt\\]"),
        (None, "no NVIDIA GPU"),
    ],
)
def test_the_remedy_fits_the_platform(tmp_path: Path, file: str | None, hint: str) -> None:
    import re

    if file:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    assert re.search(hint, api.install_hint(tmp_path))
