"""Layer information of both generations, and the command lines of NVIDIA's own tools. Logic only,
no GPU.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tensorrt_layers import compute_layer, reformat_layer

from runtime import BackendError
from runtime.backends import BACKENDS
from runtime.tensorrt.layers import LayerReport, parse_layers, tensor_type, type_of


def report(*layers: Any) -> LayerReport:
    return parse_layers(json.dumps({"Layers": list(layers)}))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("Four wide channel vectorized row major Int8 format", "int8"),
        ("Row major linear FP32", "fp32"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("BFloat16", "bf16"),
        ("UInt8", "uint8"),
        ("Bool", "bool"),
        ("Int32", "int32"),
        ("Int64", "int64"),
        ("FP8", "fp8"),
        ("N/A due to dynamic shapes", None),
    ],
)
def test_types_have_many_spellings(text: str, name: str | None) -> None:
    assert type_of(text) == name


def test_both_generations_name_a_tensors_type() -> None:
    assert tensor_type({"Format/Datatype": "Row major Int8 format"}) == "int8"
    assert tensor_type({"Format": "Row major linear", "Datatype": "Half"}) == "fp16"
    assert (
        tensor_type({"Format": "Row major linear FP32 format (kLINEAR)", "DataType": "Float"})
        == "fp32"
    )
    assert tensor_type("x") is None


@pytest.mark.parametrize("major", [10, 11])
def test_int8_layers_are_counted(major: int) -> None:
    made = report(
        compute_layer("conv1", major, True),
        compute_layer("head", major, False),
        reformat_layer(major),
    )
    assert made.kernels() == {"fp32 compute": 1, "fp32 reformat": 1, "int8 compute": 1}
    assert [layer.name for layer in made.layers if layer.precision == "fp32"][0] == "head + relu"
    assert [layer.evidence for layer in made.layers] == ["weights", "weights", "input"]
    assert made.states(6) == [
        "1 of 2 convolutions and products run in int8; 0 of 6 Q/DQ nodes were not fused; "
        "1 reformats",
        "a quantized file, but most convolutions and products do not run in int8",
    ]
    assert made.states(0) == ["convolutions and products: 1 fp32, 1 int8; 1 reformats"]


def test_evidence_is_the_surest_that_there_is() -> None:
    layer = {
        "Name": "gemm",
        "LayerType": "gemm",
        "TacticName": "sm80_xmma_gemm_i8f32_i8i32_f32",
        "Inputs": [{"Format/Datatype": "Half"}],
    }
    assert (report(layer).layers[0].precision, report(layer).layers[0].evidence) == (
        "int8",
        "tactic",
    )
    assert report({**layer, "Weights": {"Type": "Half"}}).layers[0].precision == "fp16"
    assert report({**layer, "TacticName": "fast"}).layers[0].evidence == "input"
    bare = report({"Name": "conv", "LayerType": "Convolution"}).layers[0]
    assert (bare.role, bare.precision, bare.evidence) == ("compute", "unknown", "none")


def test_fused_blocks_count_as_compute_only_where_a_product_is_in_them() -> None:
    block = {"Name": "__myl_0", "LayerType": "kgen", "Inputs": [{"Format/Datatype": "Int8"}]}
    assert report({**block, "TacticName": "__myl_AddMax_fused"}).layers[0].role == "other"
    assert report({**block, "TacticName": "sm80_xmma_gemm_i8i8_i8i32"}).kernels() == {
        "int8 compute": 1
    }


def test_unfused_quantizers_are_named() -> None:
    origin = {"Name": "x", "LayerType": "Reformat", "Origin": "QDQ"}
    scale = {"Name": "/layer1/QuantizeLinear", "LayerType": "Scale"}
    both = {"Name": "a/QuantizeLinear + b/DequantizeLinear", "LayerType": "PointWise"}
    fused = {
        "Name": "a/DequantizeLinear + conv1 + b/QuantizeLinear",
        "LayerType": "CaskConvolution",
    }
    made = report(origin, scale, both, fused)
    assert [layer.name for layer in made.layers if layer.role == "qdq"] == [
        "x",
        "/layer1/QuantizeLinear",
        "a/QuantizeLinear + b/DequantizeLinear",
    ]
    assert made.count("compute") == 1
    assert "3 of 8 Q/DQ nodes were not fused" in made.states(8)[0]


def test_names_alone_prove_nothing() -> None:
    made = report("conv1 + relu", "Reformatting CopyNode for Input Tensor 0")
    (state,) = made.states(4)
    assert not made.detailed and state.startswith("layers unknown")
    assert not BACKENDS["tensorrt"].is_quantized(made.kernels())


@pytest.mark.parametrize("text", ["", "{", "null", '{"Layers": 3}', '"text"', "[" * 100_000])
def test_what_is_no_layer_information_is_an_error(text: str) -> None:
    with pytest.raises(BackendError, match="engine inspector's answer"):
        parse_layers(text)


def test_odd_layers_do_not_break_the_report() -> None:
    odd = report({}, {"Name": None, "LayerType": 3, "Inputs": "x", "Weights": []}, 7)
    assert len(odd.layers) == 2 and all(layer.precision == "unknown" for layer in odd.layers)
    text = '{"Layers": [{"Name": "a", "LayerType": "Convolution", "Metadata": "[x]\x1f[y]"}]}'
    assert parse_layers(text).count("compute") == 1  # control characters between names


def test_a_report_survives_the_sidecar() -> None:
    made = report(compute_layer("conv1", 10, True), reformat_layer(10))
    assert LayerReport.from_json(json.loads(json.dumps(made.to_json()))) == made
    for broken in (
        None,
        {},
        {"layers": [{"name": 1}], "detailed": True},
        {"layers": 3, "detailed": True},
    ):
        with pytest.raises(BackendError, match="not a layer report"):
            LayerReport.from_json(broken)
