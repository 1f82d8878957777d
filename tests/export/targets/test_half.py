from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_graphs import chain, run
from tiny_bundles import SPEC

from compress.engine.errors import ExportError
from export.targets import half, scan, table, versions
from runtime import normalize


def test_fp16_is_half_the_size_keeps_float_inputs_and_outputs_and_computes_the_same(
    fp32, batch
) -> None:
    tensor = normalize(batch, SPEC)
    model, report = half.in_half(fp32, scan.scan(fp32, [tensor]))
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    weights = {t.data_type for t in model.graph.initializer if len(t.dims) > 1}
    assert weights == {TensorProto.FLOAT16}
    assert (report.nodes_half, report.nodes_float32) == (7, 0)
    wanted = run(fp32, tensor)
    assert 0 < np.abs(run(model, tensor) - wanted).max() < 0.01 * np.ptp(wanted)


def test_a_node_near_overflow_stays_in_float32_and_is_named() -> None:
    big, small = np.float32(3e4), np.float32(1e-4)
    model = chain(
        helper.make_node("Mul", ["images", "big"], ["hot"], "hot"),
        helper.make_node("Mul", ["hot", "small"], ["warm"], "warm"),
        helper.make_node("Relu", ["warm"], ["logits"], "cool"),
        constants={"big": np.array(big), "small": np.array(small)},
    )
    tensor = np.full((1, 3, 4, 4), 5, np.float32)
    ranges = scan.scan(model, [tensor])
    assert ranges["hot"].max_abs == pytest.approx(1.5e5) and ranges["hot"].near_overflow
    assert not ranges["warm"].near_overflow
    made, report = half.in_half(model, ranges)
    assert (
        "hot reaches" in report.float32_because["hot"]
        and "hot reaches" in report.float32_because["warm"]
    )
    assert report.near_overflow == {"hot": pytest.approx(1.5e5)} and report.nodes_half == 1
    assert run(made, tensor).max() == pytest.approx(15, rel=1e-3)
    assert run(half.emulated(made), tensor).max() == pytest.approx(15, rel=1e-3)
    blind, _ = half.in_half(
        model, {}
    )  # without the scan the same graph overflows: the rule is needed
    assert np.isfinite(
        run(blind, tensor)
    ).all()  # and onnxruntime's CPU alone would not have seen it
    assert not np.isfinite(run(half.emulated(blind), tensor)).any()


def test_a_mean_whose_sum_overflows_stays_in_float32() -> None:
    node = helper.make_node("ReduceMean", ["scaled", "axes"], ["logits"], "mean", keepdims=0)
    model = chain(
        helper.make_node("Mul", ["images", "times"], ["scaled"], "scale"),
        node,
        constants={"times": np.array(1, np.float32), "axes": np.array([2, 3], np.int64)},
    )
    for peak, kept in ((100.0, False), (5000.0, True)):  # 16 of them: 1600 and 80000
        tensor = np.full((1, 3, 4, 4), peak, np.float32)
        _, report = half.in_half(model, scan.scan(model, [tensor]))
        assert ("mean" in report.float32_because) is kept, peak


def test_a_constant_that_half_precision_makes_zero_keeps_its_node_in_float32() -> None:
    model = chain(
        helper.make_node("Clip", ["images", "low"], ["floor"], "floor"),
        helper.make_node("Div", ["images", "floor"], ["ratio"], "div"),
        helper.make_node("Relu", ["ratio"], ["logits"], "relu"),
        constants={"low": np.array(1e-12, np.float32)},
    )
    tensor = np.zeros((1, 3, 4, 4), np.float32)
    made, report = half.in_half(model, scan.scan(model, [tensor]))
    assert (
        report.float32_because == {"floor": half.TINY, "div": half.GUARDED}
        and report.nodes_half == 1
    )
    assert np.isfinite(run(half.emulated(made), tensor)).all()
    vector = chain(
        helper.make_node("Mul", ["images", "w"], ["logits"], "mul"),
        constants={"w": np.array([1, 1e-12, 1], np.float32).reshape(3, 1, 1)},
    )
    assert not half.in_half(vector, {})[
        1
    ].float32_because  # one weight that vanishes among others changes nothing


def test_squares_and_quantizers_stay_in_float32(int8, batch) -> None:
    tensor = normalize(batch, SPEC)
    made, report = half.in_half(int8, scan.scan(int8, [tensor]))
    assert all(why.endswith("needs float32") for why in report.float32_because.values())
    wanted = run(int8, tensor)
    assert np.abs(run(made, tensor) - wanted).max() < 0.05 * np.ptp(wanted)


def test_a_graph_of_nothing_but_float32_operators_is_refused() -> None:
    model = chain(helper.make_node("Exp", ["images"], ["logits"], "exp"), constants={})
    with pytest.raises(ExportError, match="no node can be computed in fp16.*Exp needs float32"):
        half.in_half(model, {})


def test_bf16_is_written_in_an_opset_whose_convolutions_take_it(fp32, batch) -> None:
    from onnx.reference import ReferenceEvaluator

    model, report = table.make(table.parse("bf16"), fp32, SPEC, lambda _: {})
    onnx.checker.check_model(model, full_check=True)
    assert versions.opset_of(model) == 22 and report is not None and report.nodes_half == 7
    tensor = normalize(batch[:1], SPEC)
    wanted = run(fp32, tensor)
    made = ReferenceEvaluator(model).run(None, {"images": tensor})[0]
    assert np.abs(made - wanted).max() < 0.05 * np.ptp(wanted)
