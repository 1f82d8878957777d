"""Layer information in the forms of TensorRT 10 and 11, as the engine inspector gives it."""

from __future__ import annotations

import json
from typing import Any

import onnx


def engine_information(model: bytes, major: int, float_engine: bool = False) -> str:
    """Layer information in the form of a version, one layer for each Conv and Gemm of an ONNX
    model.
    """
    graph = onnx.load_from_string(model).graph
    quantized = not float_engine and any(node.op_type == "QuantizeLinear" for node in graph.node)
    layers = [
        reformat_layer(major),
        *(
            compute_layer(node.name, major, quantized)
            for node in graph.node
            if node.op_type in ("Conv", "Gemm")
        ),
    ]
    names = [value.name for value in (*graph.input, *graph.output)]
    sides = (
        {"Bindings": names} if major == 10 else {"I/O Tensors": [{"Name": name} for name in names]}
    )
    return json.dumps({"Layers": layers, **sides})


def compute_layer(name: str, major: int, quantized: bool) -> dict[str, Any]:
    """One convolution as the inspector shows it."""
    kind = "Int8" if quantized else "Float"
    words = (
        "Thirty-two wide channel vectorized row major Int8 format"
        if quantized
        else "Row major linear FP32 format"
    )
    tensor = {"Name": f"{name}_x", "Dimensions": [1, 16, 8, 8], "Location": "Device"}
    typed = (
        {**tensor, "Format/Datatype": words}
        if major == 10
        else {**tensor, "Format": words, "Datatype": kind}
    )
    return {
        "Name": f"{name} + relu",
        "LayerType": "CaskConvolution",
        "Inputs": [typed],
        "Outputs": [typed],
        "ParameterType": "Convolution",
        "Weights": {"Type": kind, "Count": 432},
        "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32"
        if quantized
        else "sm80_f32f32_tf32",
        "Metadata": f"[ONNX Layer: {name}]",
    }


def reformat_layer(major: int) -> dict[str, Any]:
    """A copy between formats as the inspector shows it."""
    typed = (
        {"Format/Datatype": "Row major linear FP32"}
        if major == 10
        else {"Format": "Row major", "Datatype": "Float"}
    )
    return {
        "Name": "Reformatting CopyNode for Input Tensor 0",
        "LayerType": "Reformat",
        "Inputs": [{"Name": "images", **typed}],
        "Outputs": [],
        "ParameterType": "Reformat",
        "Origin": "REFORMAT",
        "TacticName": "",
    }
