"""Rows of the backends."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import tomllib
from paths import ROOT

from runtime import BackendError
from runtime.backends import BACKENDS, load, readers


@pytest.mark.parametrize(
    ("kernels", "quantized"),
    [
        ({"int8 compute": 3, "fp32 compute": 2}, True),
        ({"int8 compute": 2, "fp16 compute": 1, "fp32 compute": 1}, False),
        ({"int8 compute": 1, "unknown compute": 1}, False),
        ({"int8 other": 9, "fp32 compute": 1}, False),
        ({}, False),
    ],
)
def test_quantized_means_most_of_the_compute(kernels: dict[str, int], quantized: bool) -> None:
    assert BACKENDS["tensorrt"].is_quantized(kernels) is quantized


def test_every_engine_has_a_module_and_an_extra_that_brings_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = extras["project"]["optional-dependencies"]
    for name, row in BACKENDS.items():
        assert find_spec(row.module), name
        assert any(need.partition(">")[0] in row.packages for need in extras[row.extra]), name


def test_a_format_of_its_own_comes_before_onnx() -> None:
    row = BACKENDS["openvino"]
    assert row.model("int8") == "int8" and row.model("auto", "fp32") == "fp32"
    assert row.model("int8", "fp32", {"int8.openvino"}) == "int8.openvino"
    assert row.model("auto", "int8", {"int8.openvino"}) == "int8.openvino"
    assert BACKENDS["tensorrt"].model("auto", "int8") == "int8.trt"


def test_a_file_of_another_engine_names_the_engine_for_it(tmp_path: Path) -> None:
    assert readers(".xml") == ["openvino"] and readers(".onnx")[0] == "onnxruntime"
    with pytest.raises(
        BackendError, match=r"onnxruntime does not read .*\.onnx or \.ort"
    ) as caught:
        load("onnxruntime", tmp_path / "m.xml")
    assert caught.value.remedy == "backend='openvino'"
