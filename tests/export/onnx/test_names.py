"""Names of nodes and tensors: after modules, distinct, the same for the same graph, and nothing
else changes.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tiny_models import SIZE, images, quantized, tiny_cnn

from compress.quantize.graph import convert
from export.onnx.convert import to_onnx
from export.onnx.names import SCOPES, name_after_modules
from export.onnx.qdq import to_uint8
from export.targets.shapes import infer
from export.tensorrt.rules import tensorrt_ready


@pytest.fixture(scope="module")
def models() -> dict[str, ModelProto]:
    int8 = to_onnx(convert(quantized(tiny_cnn())), SIZE)
    return {"fp32": to_onnx(tiny_cnn(), SIZE), "int8.trt": int8, "int8": to_uint8(int8)}


def test_convolutions_are_called_after_their_modules_in_every_precision(models) -> None:
    modules = {
        name for name, module in tiny_cnn().named_modules() if type(module).__name__ == "Conv2d"
    }
    for key, model in models.items():
        found = {node.name for node in model.graph.node if node.op_type == "Conv"}
        assert found == {f"{name}/Conv" for name in modules}, key
        for node in model.graph.node:
            if node.op_type == "Conv":
                path = node.name.removesuffix("/Conv")
                weight = node.input[1].removesuffix("/DequantizeLinear_output")
                assert weight == f"{path}.weight" and node.output[0] == f"{node.name}_output", key


def test_every_node_has_a_name_of_its_own_and_every_tensor_one_maker(models) -> None:
    for key, model in models.items():
        names = [node.name for node in model.graph.node]
        assert all(names) and len(set(names)) == len(names), key
        made = [name for node in model.graph.node for name in node.output] + [
            t.name for t in model.graph.initializer
        ]
        assert len(set(made)) == len(made), key
        assert not [name for name in names if name.startswith(("node_", "n4"))], key
        assert not [
            name for name in made if name.startswith(("_frozen", "getitem", "quantize_per"))
        ], key


def test_quantizers_say_what_they_quantize(models) -> None:
    names = {node.name for node in models["int8"].graph.node}
    assert {
        "images/QuantizeLinear",
        "stem.2/Relu_output/QuantizeLinear",
        "stem.0.weight/DequantizeLinear",
    } <= names


def test_the_checker_shape_inference_and_tensorrts_rules_still_pass(models) -> None:
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
        infer(model)
    assert tensorrt_ready(models["int8.trt"]) == []


def _made(scopes: list[str]) -> ModelProto:
    """Two nodes of the same module, an output that is used twice, and the inputs' and outputs' own
    names.
    """
    nodes = [
        helper.make_node("Relu", ["images"], ["a"], "node_1"),
        helper.make_node("Relu", ["a"], ["b"], "node_2"),
        helper.make_node("Add", ["a", "b"], ["c"], "node_3"),
        helper.make_node("Mul", ["c", "w"], ["logits"], "node_4"),
    ]
    for node, scope in zip(nodes, scopes, strict=False):
        node.metadata_props.add(key=SCOPES, value=scope)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [
            numpy_helper.from_array(np.float32([2, 3, 4, 5]), "w"),
            numpy_helper.from_array(np.float32([0]), "act/Relu_output"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    "scopes",
    [
        ["['', 'act', 'relu']", "['', 'act', 'relu_1']"],
        ["not a list", "['a'"],
        ["['_empty_nn_module_x', 'y']", "[1, 2]"],
        [],
    ],
)
def test_collisions_and_damaged_metadata_change_names_only(scopes: list[str]) -> None:
    model = _made(scopes)
    values = np.float32([[-1, 2, 3, -4]])
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": values})[
        0
    ]
    named = name_after_modules(model)
    names = [node.name for node in named.graph.node]
    assert len(set(names)) == 4 and names[3] == "Mul"
    if scopes and "act" in scopes[0]:
        assert names[:2] == ["act/Relu", "act/Relu_2"]
        assert (
            named.graph.node[0].output[0] == "act/Relu_output_2"
        )  # the other name is an initializer's
    again = onnxruntime.InferenceSession(named.SerializeToString()).run(None, {"images": values})[0]
    assert np.array_equal(wanted, again)


def test_the_same_graph_gets_the_same_names() -> None:
    first, second = (to_onnx(tiny_cnn(), SIZE) for _ in range(2))
    assert [node.name for node in first.graph.node] == [node.name for node in second.graph.node]
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_a_transformer_tower_is_named_and_runs() -> None:
    import torch
    from torch import nn

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 16, 8, 8)
            self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
            self.head = nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.block(self.patch(x).flatten(2).transpose(1, 2)).mean(1))

    torch.manual_seed(0)
    tower = Tower().eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        model = to_onnx(tower, SIZE)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    infer(model)
    names = {node.name for node in model.graph.node}
    assert {"patch/Conv", "head/Gemm"} <= names and any(
        name.startswith("block.self_attn") for name in names
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        wanted = tower(images(3)).numpy()
    assert np.abs(session.run(None, {"images": images(3).numpy()})[0] - wanted).max() < 1e-4
