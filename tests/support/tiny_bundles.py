"""Tiny real models and bundles for the runtime's tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from export.bundle.write import write_bundle
from runtime import PreprocessSpec

SIZE = 32
SPEC = PreprocessSpec(
    size=SIZE, resize=36, interpolation="bicubic", mean=(0.48, 0.45, 0.4), std=(0.27, 0.26, 0.28)
)
LABELS = [
    {"name": name, "prompt": f"a photo of a {name}."} for name in ("rose", "iris", "daisy", "tulip")
]


def photo(seed: int = 0, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """A smooth random uint8 (H, W, 3) image."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC))


def encoded(image: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def float_model(path: Path, classes: int = len(LABELS), seed: int = 0) -> Path:
    """conv 3x3 /2 - relu - conv 3x3 /2 - relu - global average - gemm, dynamic batch, opset 17."""
    rng = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)

    nodes = [
        helper.make_node(
            "Conv", ["images", "w1", "b1"], ["c1"], "conv1", strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node(
            "Conv", ["r1", "w2", "b2"], ["c2"], "conv2", strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [
            weights("w1", 16, 3, 3, 3),
            weights("b1", 16),
            weights("w2", 32, 16, 3, 3),
            weights("b2", 32),
            weights("w3", classes, 32),
            weights("b3", classes),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def int8_model(source: Path, path: Path, symmetric: bool = False) -> Path:
    """Explicit QDQ of ``source``: uint8 activations, or int8 ones as TensorRT needs (symmetric)."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(1)
            self.rows = iter(
                [
                    {"images": rng.normal(0, 1, (8, 3, SIZE, SIZE)).astype(np.float32)}
                    for _ in range(4)
                ]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rows, None)

    quantize_static(
        source,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "QuantizeBias": False} if symmetric else None,
    )
    return path


def make_bundle(folder: Path, scratch: Path, default: str = "int8") -> Path:
    """A bundle with an fp32 and an int8 model and two golden images."""
    fp32 = float_model(scratch / "a.onnx")
    models = {"fp32": fp32, "int8": int8_model(fp32, scratch / "b.onnx")}
    golden = [encoded(photo(1)), photo(2)]
    write_bundle(folder, models, SPEC, LABELS, {"seed": 0}, golden, "# tiny\n", default)
    return folder
