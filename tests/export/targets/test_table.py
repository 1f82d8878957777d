"""Export targets one by one: each graph is run and compared, each rule is broken once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from paths import ROOT
from PIL import Image
from tiny_bundles import SIZE, SPEC, float_model, int8_model, photo

from compress.engine.errors import ExportError
from export.targets import half, ort_format, parity, pixels, scan, shapes, table, versions
from runtime import BundleError, PreprocessSpec, geometry, normalize
from runtime.files import ort as ort_file


@pytest.fixture(scope="module")
def fp32(tmp_path_factory) -> ModelProto:
    return onnx.load(float_model(tmp_path_factory.mktemp("m") / "a.onnx"))


@pytest.fixture(scope="module")
def int8(tmp_path_factory) -> ModelProto:
    folder = tmp_path_factory.mktemp("q")
    return onnx.load(int8_model(float_model(folder / "a.onnx"), folder / "b.onnx"))


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.stack([geometry(Image.fromarray(photo(seed)), SPEC) for seed in range(5)])


def run(model: ModelProto, values: np.ndarray, output: str | None = None) -> np.ndarray:
    """Runs a model after ONNX's full check and strict shape inference, which every target must
    pass.
    """
    onnx.checker.check_model(model, full_check=True)
    shapes.infer(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    made: np.ndarray = session.run([output or "logits"], {session.get_inputs()[0].name: values})[0]
    return made


def chain(
    *nodes: onnx.NodeProto, constants: dict[str, np.ndarray], channels: int = 3
) -> ModelProto:
    """``images (batch, channels, 4, 4)`` through ``nodes`` to ``logits``."""
    graph = helper.make_graph(
        list(nodes),
        "chain",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", channels, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    made = onnx.shape_inference.infer_shapes(model)
    del made.graph.value_info[:]
    return made


# -- half precision


def test_fp16_is_half_the_size_keeps_float_inputs_and_outputs_and_computes_the_same(
    fp32, batch
) -> None:
    tensor = normalize(batch, SPEC)
    model, report = half.in_half(fp32, scan.scan(fp32, [tensor]))
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    weights = {t.data_type for t in model.graph.initializer if len(t.dims) > 1}
    assert weights == {TensorProto.FLOAT16}
    assert (report.half, report.kept) == (7, 0)
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
    assert "hot reaches" in report.reasons["hot"] and "hot reaches" in report.reasons["warm"]
    assert report.near_overflow == {"hot": pytest.approx(1.5e5)} and report.half == 1
    assert run(made, tensor).max() == pytest.approx(15, rel=1e-3)
    assert run(half.emulated(made), tensor).max() == pytest.approx(15, rel=1e-3)
    blind, _ = half.in_half(
        model, {}
    )  # without the scan the same graph overflows: the rule is needed
    assert np.isfinite(
        run(blind, tensor)
    ).all()  # and onnxruntime's CPU alone would not have seen it
    assert not np.isfinite(run(half.emulated(blind), tensor)).any()


def test_headroom_is_kept_below_the_largest_half() -> None:
    limit = scan.MAX_HALF / scan.HEADROOM
    assert (
        scan.TensorRange("x", limit * 1.01, 0).near_overflow
        and not scan.TensorRange("x", limit, 0).near_overflow
    )
    assert scan.TensorRange("x", float("nan"), 0).near_overflow


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
        assert ("mean" in report.reasons) is kept, peak


def test_a_constant_that_half_precision_makes_zero_keeps_its_node_in_float32() -> None:
    model = chain(
        helper.make_node("Clip", ["images", "low"], ["floor"], "floor"),
        helper.make_node("Div", ["images", "floor"], ["ratio"], "div"),
        helper.make_node("Relu", ["ratio"], ["logits"], "relu"),
        constants={"low": np.array(1e-12, np.float32)},
    )
    tensor = np.zeros((1, 3, 4, 4), np.float32)
    made, report = half.in_half(model, scan.scan(model, [tensor]))
    assert report.reasons == {"floor": half.TINY, "div": half.GUARDED} and report.half == 1
    assert np.isfinite(run(half.emulated(made), tensor)).all()
    vector = chain(
        helper.make_node("Mul", ["images", "w"], ["logits"], "mul"),
        constants={"w": np.array([1, 1e-12, 1], np.float32).reshape(3, 1, 1)},
    )
    assert not half.in_half(vector, {})[
        1
    ].reasons  # one weight that vanishes among others changes nothing


def test_subnormals_are_counted() -> None:
    model = chain(helper.make_node("Relu", ["images"], ["logits"], "relu"), constants={})
    tensor = np.ones((1, 3, 4, 4), np.float32)
    tensor[0, 0] = 1e-6
    assert scan.scan(model, [tensor])["logits"].subnormal_share == pytest.approx(1 / 3)


def test_squares_and_quantizers_stay_in_float32(int8, batch) -> None:
    tensor = normalize(batch, SPEC)
    made, report = half.in_half(int8, scan.scan(int8, [tensor]))
    assert all(why.endswith("needs float32") for why in report.reasons.values())
    wanted = run(int8, tensor)
    assert np.abs(run(made, tensor) - wanted).max() < 0.05 * np.ptp(wanted)


def test_a_graph_of_nothing_but_float32_operators_is_refused() -> None:
    model = chain(helper.make_node("Exp", ["images"], ["logits"], "exp"), constants={})
    with pytest.raises(ExportError, match="no node can be computed in fp16.*Exp needs float32"):
        half.in_half(model, {})


def test_a_model_that_is_not_finite_in_float32_is_refused() -> None:
    model = chain(helper.make_node("Log", ["images"], ["logits"], "log"), constants={})
    with pytest.raises(ExportError, match="not finite in float32"):
        scan.scan(model, [np.zeros((1, 3, 4, 4), np.float32)])
    with pytest.raises(ExportError, match="no images"):
        scan.scan(model, [])


def test_bf16_is_written_in_an_opset_whose_convolutions_take_it(fp32, batch) -> None:
    from onnx.reference import ReferenceEvaluator

    model, report = table.make(table.parse("bf16"), fp32, SPEC, lambda _: {})
    onnx.checker.check_model(model, full_check=True)
    assert versions.opset_of(model) == 22 and report is not None and report.half == 7
    tensor = normalize(batch[:1], SPEC)
    wanted = run(fp32, tensor)
    made = ReferenceEvaluator(model).run(None, {"images": tensor})[0]
    assert np.abs(made - wanted).max() < 0.05 * np.ptp(wanted)


# -- preprocessing in the graph


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_pixels_go_in_and_the_same_logits_come_out(kind, fp32, int8, batch) -> None:
    source = {"fp32": fp32, "int8": int8}[kind]
    model = pixels.takes_pixels(source, SPEC)
    assert model.graph.input[0].name == "pixels"
    wanted = run(source, normalize(batch, SPEC))
    assert (
        np.abs(run(model, batch) - wanted).max()
        < {"fp32": 1e-5, "int8": 0.05 * np.ptp(wanted)}[kind]
    )


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(9, 150),
    height=st.integers(9, 150),
    resize=st.integers(SIZE, SIZE + 9),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
)
def test_the_graph_resizes_and_crops_as_pillow_does(
    width: int, height: int, resize: int, interpolation: str
) -> None:
    spec = PreprocessSpec(SIZE, resize, interpolation, SPEC.mean, SPEC.std)
    image = Image.fromarray(photo(3, (width, height)))
    source = chain(helper.make_node("Relu", ["images"], ["logits"], "relu"), constants={})
    for dim in source.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = SIZE
    for dim in source.graph.output[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = SIZE
    front = pixels.cropped_pixels(pixels.takes_image(source, spec))
    made = run(front, np.asarray(image)[None], "preprocess/cropped")[0].transpose(1, 2, 0)
    difference = np.abs(made - geometry(image, spec).astype(np.float32))
    assert difference.max() <= 2 and difference.mean() < parity.MAX_MEAN_PIXEL


def test_a_model_that_takes_pixels_cannot_take_them_twice(fp32) -> None:
    with pytest.raises(ExportError, match="takes pixels already"):
        pixels.takes_pixels(pixels.takes_pixels(fp32, SPEC), SPEC)


# -- batch, opset, IR


def test_a_fixed_batch_computes_shape_arithmetic_and_leaves_weights_quantized(int8, batch) -> None:
    tensor = normalize(batch[:1], SPEC)
    one = shapes.with_batch(int8, 1)
    assert [dim.dim_value for dim in one.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        3,
        SIZE,
        SIZE,
    ]
    assert sum(n.op_type == "DequantizeLinear" for n in one.graph.node) == sum(
        n.op_type == "DequantizeLinear" for n in int8.graph.node
    )
    assert np.array_equal(run(one, tensor), run(int8, tensor))
    dynamic = chain(
        helper.make_node("Shape", ["images"], ["count"], "shape", end=1),
        helper.make_node("Concat", ["count", "rest"], ["to"], "concat", axis=0),
        helper.make_node("Reshape", ["images", "to"], ["logits"], "reshape"),
        constants={"rest": np.array([48], np.int64)},
    )
    fixed = shapes.with_batch(dynamic, 1)
    assert [node.op_type for node in fixed.graph.node] == ["Reshape"]
    values = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    assert np.array_equal(run(fixed, values), values.reshape(1, 48))
    assert [node.op_type for node in dynamic.graph.node] == [
        "Shape",
        "Concat",
        "Reshape",
    ]  # the source is not touched


@pytest.mark.parametrize("opset", [18, 19, 20, 21, 22])
def test_every_opset_computes_the_same(opset: int, fp32, int8, batch) -> None:
    for source in (fp32, int8):
        model = versions.with_opset(source, opset)
        assert versions.opset_of(model) == opset
        assert versions.lowest_ir(model) <= model.ir_version <= 10
        tensor = normalize(batch, SPEC)
        assert np.abs(run(model, tensor) - run(source, tensor)).max() < 1e-4


def test_versions_that_cannot_be_are_refused(fp32) -> None:
    for opset in (17, 23):
        with pytest.raises(ExportError, match="18..22"):
            versions.with_opset(fp32, opset)
    newer = versions.with_opset(fp32, 21)
    with pytest.raises(ExportError, match="10..10 for opset 21"):
        versions.with_ir(newer, 9)
    with pytest.raises(ExportError, match="..10"):
        versions.with_ir(newer, 11)
    assert versions.with_ir(versions.with_opset(fp32, 18), 9).ir_version == 9


def test_shapes_that_contradict_each_other_are_refused(fp32) -> None:
    broken = ModelProto()
    broken.CopyFrom(fp32)
    broken.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 99
    with pytest.raises(ExportError, match="contradict"):
        shapes.infer(broken)


def test_external_data_and_control_flow_are_refused(fp32) -> None:
    outside = ModelProto()
    outside.CopyFrom(fp32)
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ExportError, match="external data in"):
        shapes.require_whole(outside, "fp32")
    branch = ModelProto()
    branch.CopyFrom(fp32)
    branch.graph.node[0].attribute.append(
        helper.make_attribute("body", helper.make_graph([], "g", [], []))
    )
    with pytest.raises(ExportError, match="a graph inside"):
        shapes.require_whole(branch, "fp32")
    assert shapes.require_whole(fp32, "fp32") is fp32


# -- ORT format


def test_ort_format_runs_fused_and_names_its_operators(int8, batch, tmp_path: Path) -> None:
    from runtime.backends import load

    onnx.save(int8, tmp_path / "a.onnx")
    file = ort_format.save_ort(tmp_path / "a.onnx", tmp_path / "a.ort")
    ort_file.check(file)
    tensor = normalize(batch, SPEC)
    wanted = run(int8, tensor)
    assert np.abs(load("onnxruntime", file, threads=1).run(tensor) - wanted).max() <= 0.02 * np.ptp(
        wanted
    )
    listed = ort_format.required_operators(file).read_text()
    assert "QLinearConv" in listed and str(tmp_path) not in listed and "#" not in listed


RANDOMIZED = "import ctypes, sys; sys.exit(ctypes.CDLL(None).personality(0x0040000) == -1)"


@pytest.mark.skipif(
    bool(subprocess.run([sys.executable, "-I", "-c", RANDOMIZED], capture_output=True).returncode),
    reason="address randomization cannot be switched off here",
)
def test_ort_format_repeats_its_bytes(fp32, tmp_path: Path) -> None:
    onnx.save(fp32, tmp_path / "a.onnx")
    (tmp_path / "elsewhere").mkdir()
    first = ort_format.save_ort(tmp_path / "a.onnx", tmp_path / "1.ort").read_bytes()
    assert (
        first
        == ort_format.save_ort(
            tmp_path / "a.onnx", tmp_path / "elsewhere" / "another.ort"
        ).read_bytes()
    )


def test_a_broken_model_has_no_ort_format(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"not a model")
    with pytest.raises(ExportError, match="cannot be written in ORT format"):
        ort_format.save_ort(tmp_path / "a.onnx", tmp_path / "a.ort")


@pytest.mark.parametrize("content", [b"", b"short", b"\0\0\0\0ONNX" + bytes(64)])
def test_what_is_no_ort_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ort").write_bytes(content)
    with pytest.raises(BundleError, match="not an ORT format model"):
        ort_file.check(tmp_path / "a.ort")


def test_an_ort_file_that_names_a_context_of_another_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ort").write_bytes(b"\0\0\0\0ORTM" + (9).to_bytes(4, "little") + b"EPContext\0")
    with pytest.raises(BundleError, match="EPContext"):
        ort_file.check(tmp_path / "a.ort")
    (tmp_path / "a.ort").write_bytes(
        b"\0\0\0\0ORTM" + (12).to_bytes(4, "little") + b"myEPContext1\0"
    )
    ort_file.check(tmp_path / "a.ort")


# -- names


def test_names_are_read_in_any_order_and_written_in_one() -> None:
    assert table.parse("int8.ort.batch1.u8in").key == "int8.u8in.batch1.ort"
    assert table.parse("int8.ort.batch1.u8in").file == "model.int8.u8in.batch1.ort"
    assert table.parse("int8.trt.batch1").base == "int8.trt"
    assert table.parse("fp16", opset=19, ir=9).key == "fp16.opset19.ir9"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fp61", "did you mean 'fp16'"),
        ("int8", "in the bundle already"),
        ("int8.u8", "did you mean 'u8in'"),
        ("int8.u8in.image", "image with u8in"),
        ("fp32.batch1.batch1", "batch1 with batch1"),
        ("fp32.opset", "unknown modifier"),
        ("fp32.", "unknown modifier"),
        ("../fp32", "unknown export target"),
        ("", "unknown export target"),
        ("fp32.ort5", "unknown modifier"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        table.parse(name)


def test_every_base_and_modifier_has_an_example() -> None:
    targets = [table.parse(name) for name in table.EXAMPLES]
    assert [target.key for target in targets] == list(table.EXAMPLES)
    shown = {name for target in targets for name, _ in target.modifiers}
    assert shown == set(table.MODIFIERS)
    assert {target.base for target in targets} == set(table.BASES) - {"int8.trt"}


def test_the_table_is_read_without_onnxruntime() -> None:
    code = "import sys, export.targets.table; sys.exit('onnxruntime' in sys.modules)"
    root = ROOT
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
