"""TensorRT's published API: every call exists in 10.3 and 11.4; a remedy for an absent library."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from cuda_stand_in import FakeCuda
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


PROTOCOLS = {
    "Builder": api.Builder,
    "INetworkDefinition": api.Network,
    "ITensor": api.Tensor,
    "OnnxParser": api.Parser,
    "ParserError": api.ParserError,
    "IOptimizationProfile": api.Profile,
    "ITimingCache": api.TimingCache,
    "IBuilderConfig": api.Config,
    "EngineInspector": api.Inspector,
    "IExecutionContext": api.Context,
    "ICudaEngine": api.Engine,
    "Runtime": api.Runtime,
    "IHostMemory": api.HostMemory,
    "module": api.TensorRT,
}


@pytest.mark.parametrize("version", SURFACE)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_call_exists_in_both_published_versions(version: str, name: str) -> None:
    used = {
        member
        for member in (*vars(PROTOCOLS[name]), *PROTOCOLS[name].__annotations__)
        if not member.startswith("_")
    }
    assert used and used <= set(SURFACE[version][name])


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
