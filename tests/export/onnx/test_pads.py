"""Zero padding moves into the convolution that reads it, and no other padding does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper
from small_graphs import chain

from export.onnx.graph import attribute
from export.onnx.pads import fold_pads
from export.onnx.parity import cpu_session

IMAGES = np.random.default_rng(0).integers(-9, 9, (2, 3, 4, 4)).astype(np.float32)
END = [0, 0, 0, 0, 0, 0, 1, 1]  # one row and one column at the end, as TF-style networks pad
AROUND = [0, 0, 2, 1, 0, 0, 0, 3]


def pad(source: str, target: str, amounts: str = "amounts", **attributes: str) -> NodeProto:
    return helper.make_node("Pad", [source, amounts, "value"], [target], target, **attributes)


def conv(source: str, target: str = "logits", **attributes: object) -> NodeProto:
    return helper.make_node("Conv", [source, "weight"], [target], target, **attributes)


def quantizers(source: str, target: str) -> list[NodeProto]:
    inner = f"{target}.int8"
    return [
        helper.make_node("QuantizeLinear", [source, "scale", "zero"], [inner], inner),
        helper.make_node("DequantizeLinear", [inner, "scale", "zero"], [target], target),
    ]


def model(
    *nodes: NodeProto, amounts: list[int] = END, value: float = 0.0, zero: int = 0
) -> ModelProto:
    rng = np.random.default_rng(1)
    constants = {
        "amounts": np.array(amounts, np.int64),
        "around": np.array(AROUND, np.int64),
        "value": np.array(value, np.float32),
        "weight": rng.integers(-9, 9, (5, 3, 3, 3)).astype(np.float32),
        "scale": np.array(0.25, np.float32),
        "zero": np.array(zero, np.uint8),
    }
    return chain(*nodes, constants=constants)


def folded(before: ModelProto) -> ModelProto:
    """The model after folding, which must compute the same bits."""
    after = copy.deepcopy(before)
    fold_pads(after)
    ran = [
        cpu_session(one.SerializeToString(), fused=False).run(None, {"images": IMAGES})[0]
        for one in (before, after)
    ]
    assert np.array_equal(*ran)
    return after


def op_types(found: ModelProto) -> list[str]:
    return [node.op_type for node in found.graph.node]


def pads_of(found: ModelProto) -> list[list[int]]:
    return [attribute(node, "pads") for node in found.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("amounts", [END, AROUND, [0] * 8], ids=str)
def test_a_pad_becomes_the_padding_of_its_convolution(amounts: list[int]) -> None:
    after = folded(model(pad("images", "padded"), conv("padded"), amounts=amounts))
    assert op_types(after) == ["Conv"]
    assert pads_of(after) == [amounts[2:4] + amounts[6:]]
    assert {tensor.name for tensor in after.graph.initializer} == {"weight"}


def test_it_adds_to_the_padding_that_is_there() -> None:
    after = folded(
        model(pad("images", "padded"), conv("padded", pads=[1, 0, 2, 0], strides=[2, 2]))
    )
    assert pads_of(after) == [[1, 0, 3, 1]]


def test_pads_in_a_row_all_go() -> None:
    after = folded(model(pad("images", "a"), pad("a", "b", "around"), conv("b")))
    assert op_types(after) == ["Conv"] and pads_of(after) == [[2, 1, 1, 4]]


@pytest.mark.parametrize("zero", [0, 128])
def test_a_pad_before_a_quantizer_goes_whatever_the_zero_point(zero: int) -> None:
    nodes = [pad("images", "padded"), *quantizers("padded", "read"), conv("read")]
    after = folded(model(*nodes, zero=zero))
    assert op_types(after) == ["QuantizeLinear", "DequantizeLinear", "Conv"]
    assert after.graph.node[0].input[0] == "images" and pads_of(after) == [[0, 0, 1, 1]]


def test_several_convolutions_take_it_and_another_reader_keeps_it() -> None:
    others = [
        conv("read", "first"),
        conv("padded", "second"),
        helper.make_node("ReduceMax", ["padded"], ["largest"], keepdims=1),
        helper.make_node("Sum", ["first", "second", "largest"], ["logits"]),
    ]
    after = folded(model(pad("images", "padded"), *quantizers("padded", "read"), *others))
    assert op_types(after)[0] == "Pad" and op_types(after)[5] == "ReduceMax"
    assert pads_of(after) == [[0, 0, 1, 1]] * 2 and after.graph.node[5].input[0] == "padded"


def test_quantized_values_that_another_node_reads_stay_padded() -> None:
    others = [
        conv("read", "first"),
        helper.make_node("ReduceMax", ["read"], ["largest"], keepdims=1),
        helper.make_node("Sum", ["first", "largest"], ["logits"]),
    ]
    after = folded(model(pad("images", "padded"), *quantizers("padded", "read"), *others))
    assert "Pad" in op_types(after) and pads_of(after) == [None]


@pytest.mark.parametrize(
    ("amounts", "value", "mode", "reader"),
    [
        (END, 1.0, "constant", {}),
        (END, -np.inf, "constant", {}),
        (END, 0.0, "reflect", {}),
        (END, 0.0, "edge", {}),
        ([0, 0, -1, 0, 0, 0, 1, 0], 0.0, "constant", {}),  # it crops
        ([1, 0, 0, 0, 0, 0, 1, 1], 0.0, "constant", {}),  # an image more
        (END, 0.0, "constant", {"auto_pad": "SAME_UPPER"}),
    ],
)
def test_other_padding_stays(
    amounts: list[int], value: float, mode: str, reader: dict[str, str]
) -> None:
    before = model(
        pad("images", "padded", mode=mode), conv("padded", **reader), amounts=amounts, value=value
    )
    after = copy.deepcopy(before)
    fold_pads(after)
    assert list(after.graph.node) == list(before.graph.node)


def test_a_padded_result_of_the_network_stays() -> None:
    before = model(pad("images", "logits"), conv("logits", "unused"))
    assert op_types(folded(before)) == ["Pad"]
