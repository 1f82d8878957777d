from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tiny_models import SIZE, images, quantized, tiny_cnn
from torch import Tensor, nn

from compress.engine.errors import ExportError, ParityError
from compress.quantize.graph import PreparedStudent, convert
from export.onnx.convert import save, to_onnx
from export.onnx.graph import GraphView
from export.onnx.parity import compare, onnx_logits, require
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import tensorrt_ready


@pytest.fixture(scope="module")
def prepared() -> PreparedStudent:
    return quantized(tiny_cnn())


@pytest.fixture(scope="module")
def fp32() -> ModelProto:
    return to_onnx(tiny_cnn(), SIZE)


@pytest.fixture(scope="module")
def int8(prepared: PreparedStudent) -> ModelProto:
    return to_onnx(convert(prepared), SIZE)


def logits(model: ModelProto, pictures: Tensor, optimize: bool = True) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: np.ndarray = session.run(["logits"], {"images": pictures.numpy()})[0]
    return result


# -- the exporter


def test_the_contract_of_a_file(fp32: ModelProto, int8: ModelProto) -> None:
    for model in (fp32, int8):
        onnx.checker.check_model(model, full_check=True)
        (source,), (target,) = model.graph.input, model.graph.output
        assert (source.name, target.name) == ("images", "logits")
        shape = [dim.dim_param or dim.dim_value for dim in source.type.tensor_type.shape.dim]
        assert shape == ["batch", 3, SIZE, SIZE]
        assert (
            model.opset_import[0].version == 20
            and model.ir_version <= 10
            and len(model.opset_import) == 1
        )
        assert not [
            node
            for node in model.graph.node
            if node.op_type in ("BatchNormalization", "Dropout", "Expand")
        ]


def test_fp32_computes_what_torch_does_at_any_batch(fp32: ModelProto) -> None:
    student = tiny_cnn()
    for count in (1, 3, 64):
        with torch.no_grad():
            wanted = student(images(count)).numpy()
        assert np.abs(logits(fp32, images(count)) - wanted).max() < 1e-3


def test_the_same_weights_give_the_same_bytes(int8: ModelProto) -> None:
    again = to_onnx(convert(quantized(tiny_cnn())), SIZE)
    first, second = (model.SerializeToString(deterministic=True) for model in (int8, again))
    assert first == second
    assert b".py" not in first  # no stack traces, no paths of the machine that made it


@pytest.mark.parametrize("opset", [17, 23])
def test_an_opset_that_cannot_be_written_is_an_error(opset: int) -> None:
    with pytest.raises(ExportError, match="18..22"):
        to_onnx(nn.Identity(), SIZE, opset=opset)


def test_a_model_above_2_gb_is_an_error() -> None:
    with torch.device("meta"):
        large = nn.Linear(30_000, 30_000)
    with pytest.raises(ExportError, match="3.4 GiB"):
        to_onnx(large, SIZE)


def test_external_data_is_refused(tmp_path: Path, fp32: ModelProto) -> None:
    twin = ModelProto()
    twin.CopyFrom(fp32)
    twin.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ExportError, match="second file"):
        save(twin, tmp_path / "model.onnx")


def test_a_broken_graph_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph([helper.make_node("Relu", ["nowhere"], ["logits"])], "g", [], [])
    with pytest.raises(ExportError, match="not a valid ONNX model"):
        save(helper.make_model(graph), tmp_path / "model.onnx")


def test_weights_are_stored_as_int8(int8: ModelProto, fp32: ModelProto) -> None:
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    convolutions = [values for values in stored.values() if values.ndim == 4]
    assert len(convolutions) == 4 and all(values.dtype == np.int8 for values in convolutions)
    most = {values.shape[1]: int(np.abs(values.astype(int)).max()) for values in convolutions}
    depthwise = most.pop(1)
    assert depthwise == 127, "summed in 32 bits: all of int8"
    assert set(most.values()) == {64}, "two products of 255 and 64 fit into 16 bits"


# -- int8 -> uint8


def quantizers(model: ModelProto) -> list[tuple[np.ndarray, float, bool]]:
    """(zero point, scale, provably non-negative) of each activation."""
    view = GraphView(model)
    return [
        (
            view.constant(node.input[2]),
            float(view.constant(node.input[1])),
            view.non_negative(node.input[0]),
        )  # type: ignore[misc, arg-type]
        for node in model.graph.node
        if view.quantizes_activation(node)
    ]


def test_the_rewrite_moves_zero_points_and_only_refines_what_cannot_be_negative(
    int8: ModelProto,
) -> None:
    before, after = quantizers(int8), quantizers(to_uint8(int8))
    assert len(before) == len(after) >= 8
    kinds = set()
    for (old_zero, old_scale, positive), (zero, scale, _) in zip(before, after, strict=True):
        kinds.add(positive)
        assert old_zero.dtype == np.int8 and not old_zero.any() and zero.dtype == np.uint8
        assert (int(zero), scale) == (
            (0, pytest.approx(old_scale * 127 / 255)) if positive else (128, old_scale)
        )
    assert kinds == {True, False}


def test_the_rewrite_is_exact_where_nothing_is_provably_positive() -> None:
    class Signed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.head = (
                nn.Conv2d(3, 16, 3),
                nn.Conv2d(16, 16, 3),
                nn.Linear(16, 20),
            )

        def forward(self, pictures: Tensor) -> Tensor:
            return self.head(torch.tanh(self.second(self.first(pictures))).mean((2, 3)))

    int8 = to_onnx(convert(quantized(Signed())), SIZE)
    uint8 = to_uint8(int8)
    assert {int(zero) for zero, _, _ in quantizers(uint8)} == {128}
    assert np.array_equal(
        logits(int8, images(16), optimize=False), logits(uint8, images(16), optimize=False)
    )


def test_the_same_scale_for_positive_tensors_would_be_another_function() -> None:
    """Why 127/255: int8 clips at 127 s; uint8 with the same s would clip at 255 s."""
    scale = 0.1
    values = np.linspace(0, 30, 1000)
    int8 = np.clip(np.round(values / scale), -128, 127) * scale
    fine = np.clip(np.round(values / (scale * 127 / 255)), 0, 255) * (scale * 127 / 255)
    same = np.clip(np.round(values / scale), 0, 255) * scale
    assert np.abs(fine - int8).max() <= scale / 2 + scale * 127 / 255 / 2 + 1e-9
    assert np.abs(same - int8).max() > 12


def test_a_float_bias_leaves_its_gemm(int8: ModelProto) -> None:
    before, after = first(int8, "Gemm"), first(to_uint8(int8), "Gemm")
    assert len(before.input) == 3 and len(after.input) == 2


def test_the_original_is_untouched_and_cannot_be_rewritten_twice(int8: ModelProto) -> None:
    before = int8.SerializeToString(deterministic=True)
    made = to_uint8(int8)
    assert int8.SerializeToString(deterministic=True) == before
    with pytest.raises(ExportError, match="cannot be rewritten to uint8"):
        to_uint8(made)


def test_uint8_runs_in_quantized_kernels(tmp_path: Path, int8: ModelProto) -> None:
    from runtime.backends import BACKENDS
    from runtime.backends.onnxruntime import quantized_kernels

    kernels = quantized_kernels(save(to_uint8(int8), tmp_path / "u8.onnx"))
    assert (
        BACKENDS["onnxruntime"].is_quantized(kernels)
        and kernels["QLinearConv"] == 4
        and kernels["QLinearAdd"] == 1
        and kernels["QGemm"] == 1
    )
    assert not {"Conv", "FusedConv", "Relu"} & set(kernels)


# -- parity


def test_every_file_computes_what_was_trained(
    tmp_path: Path, prepared: PreparedStudent, fp32: ModelProto, int8: ModelProto
) -> None:
    pictures = images(64, seed=7)
    with torch.no_grad():
        references = {"fp32": tiny_cnn()(pictures).numpy(), "int8": prepared(pictures).numpy()}
    for name, model in {"fp32": fp32, "int8": to_uint8(int8), "int8.trt": int8}.items():
        precision = name.partition(".")[0]
        path = save(model, tmp_path / f"model.{name}.onnx")
        row = require(compare(path, references[precision], pictures.numpy(), precision=precision))
        assert row.agreement >= 0.95 and row.images == 64 and row.max_abs_diff <= row.tolerance
        assert (row.kernel_diff is None) == (precision == "fp32")


def test_what_the_engine_fuses_is_measured_apart_from_the_file(
    tmp_path: Path, prepared: PreparedStudent, int8: ModelProto
) -> None:
    pictures = images(16)
    with torch.no_grad():
        reference = prepared(pictures).numpy()
    path = save(to_uint8(int8), tmp_path / "model.int8.onnx")
    row = compare(path, reference, pictures.numpy(), precision="int8")
    plain, fused = (onnx_logits(path, fused=on)(pictures.numpy()) for on in (False, True))
    assert row.max_abs_diff == pytest.approx(np.abs(plain - reference).max())
    assert row.kernel_diff == pytest.approx(np.abs(fused - plain).max())


def test_a_wrong_file_names_image_difference_and_tolerance(
    tmp_path: Path, prepared: PreparedStudent, int8: ModelProto
) -> None:
    pictures = images(16)
    with torch.no_grad():
        reference = prepared(pictures).numpy()
    path = save(int8, tmp_path / "model.int8.onnx")
    swapped = pictures[:, [2, 1, 0]].contiguous().numpy()  # BGR
    with pytest.raises(
        ParityError, match=r"on image \d+ .*logit difference.*expected at most.*noise floor"
    ):
        require(compare(path, reference, swapped, precision="int8"))
    broken = reference.copy()
    broken[3, 0] = np.nan
    with pytest.raises(ParityError, match="on image 3"):
        require(compare(path, broken, pictures.numpy(), precision="int8"))


# -- what TensorRT asks for


def test_the_int8_file_is_ready_and_the_uint8_file_is_not(
    fp32: ModelProto, int8: ModelProto
) -> None:
    assert tensorrt_ready(int8) == [] and tensorrt_ready(fp32) == []
    assert any("uint8, not int8" in text for text in tensorrt_ready(to_uint8(int8)))


def twin_of(model: ModelProto) -> ModelProto:
    twin = ModelProto()
    twin.CopyFrom(model)
    return twin


def first(model: ModelProto, op_type: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op_type)


def add_constant(model: ModelProto, name: str, value: np.ndarray) -> str:
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def zero_point(model: ModelProto) -> None:
    first(model, "QuantizeLinear").input[2] = add_constant(model, "three", np.array(3, np.int8))


def default_zero_point(model: ModelProto) -> None:
    del first(model, "QuantizeLinear").input[2]


def per_tensor_weight(model: ModelProto) -> None:
    weight = next(
        node for node in model.graph.node if node.output[0] == first(model, "Conv").input[1]
    )
    weight.input[1] = add_constant(model, "one_scale", np.array(0.1, np.float32))


def uint8_weight(model: ModelProto) -> None:
    weight = next(
        node for node in model.graph.node if node.output[0] == first(model, "Conv").input[1]
    )
    weight.input[0] = add_constant(model, "u8", np.zeros((16, 3, 3, 3), np.uint8))


def weight_zero_point(model: ModelProto) -> None:
    weight = next(
        node for node in model.graph.node if node.output[0] == first(model, "Conv").input[1]
    )
    weight.input[2] = add_constant(model, "ones", np.ones(16, np.int8))


def float_input(model: ModelProto) -> None:
    first(model, "Conv").input[0] = "images"


def computed_bias(model: ModelProto) -> None:
    node = first(model, "Conv")
    model.graph.node.insert(0, helper.make_node("Neg", [node.input[2]], ["negative"]))
    node.input[2] = "negative"


def half_bias(model: ModelProto) -> None:
    first(model, "Conv").input[2] = add_constant(model, "half", np.zeros(16, np.float16))


def float_residual(model: ModelProto) -> None:
    node = first(model, "Add")
    makers = {name: maker for maker in model.graph.node for name in maker.output}
    node.input[1] = makers[makers[node.input[1]].input[0]].input[0]


def antialiased_resize(model: ModelProto) -> None:
    model.graph.node.append(
        helper.make_node("Resize", ["images", "", "", "sizes"], ["resized"], antialias=1)
    )


def other_domain(model: ModelProto) -> None:
    model.graph.node.append(
        helper.make_node("QGemm", ["images"], ["custom"], domain="com.microsoft")
    )


def new_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 21


def new_ir(model: ModelProto) -> None:
    model.ir_version = 11


def dynamic_size(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (zero_point, "zero point 3, not 0"),
        (default_zero_point, "uint8 by default"),
        (per_tensor_weight, "not quantized per output channel"),
        (uint8_weight, "weights of type uint8"),
        (weight_zero_point, "zero point other than int8 0"),
        (float_input, "quantized weights and a float input"),
        (computed_bias, "bias that is computed"),
        (half_bias, "bias of type FLOAT16"),
        (float_residual, "the residual runs in float"),
        (antialiased_resize, "antialiased"),
        (other_domain, "domain 'com.microsoft'"),
        (new_opset, "opset 21 is outside"),
        (new_ir, "IR version 11"),
        (dynamic_size, "dynamic in axis 2"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_rule_finds_what_breaks_it(int8: ModelProto, breaks, says: str) -> None:
    model = twin_of(int8)
    breaks(model)
    assert [text for text in tensorrt_ready(model) if says in text], tensorrt_ready(model)
