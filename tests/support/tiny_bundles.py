"""Tiny real models and bundles for the runtime's tests."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from manifests import manifest_of
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from export.bundle.write import file_entry, write_bundle
from runtime import Classifier, PreprocessSpec
from runtime.files import golden_npz
from runtime.files.confidence import PROTOTYPES
from runtime.rejection import COMBINED, PARTS, scores

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


def float_model(
    path: Path, classes: int = len(LABELS), seed: int = 0, features: bool = False
) -> Path:
    """conv 3x3 /2 - relu - conv 3x3 /2 - relu - global average - gemm, dynamic batch, opset 17.

    ``features``: with the second output of files of today.
    """
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
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])]
    if features:
        nodes += [helper.make_node("LpNormalization", ["f"], ["features"], "unit", axis=1, p=2)]
        outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 32]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        outputs,
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


def make_bundle(folder: Path, scratch: Path, default: str = "int8", features: bool = False) -> Path:
    """A bundle with an fp32 and an int8 model and two golden images."""
    fp32 = float_model(scratch / "a.onnx", features=features)
    models = {"fp32": fp32, "int8": int8_model(fp32, scratch / "b.onnx")}
    golden = [encoded(photo(1)), photo(2)]
    write_bundle(folder, models, SPEC, LABELS, {"seed": 0}, golden, "# tiny\n", default)
    return folder


def with_confidence(
    bundle: Path, folder: Path, confidence: Any, prototypes: np.ndarray | None = None
) -> Path:
    """A copy whose manifest has this part."""
    copy = Path(shutil.copytree(bundle, folder))
    manifest = manifest_of(copy)
    if prototypes is not None:
        golden_npz.write(copy / PROTOTYPES, {"prototypes": prototypes})
        manifest["files"][PROTOTYPES] = file_entry(copy / PROTOTYPES)
    manifest["confidence"] = confidence
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def rejecting_bundle(folder: Path, scratch: Path) -> Path:
    """A bundle with features, a temperature, and all three scores; it knows half of the photos."""
    plain = make_bundle(scratch / "plain", scratch, features=True)
    images = [photo(seed) for seed in range(40)]
    rows = {}
    prototypes = None
    for precision in ("fp32", "int8"):
        model = Classifier.load(plain, precision, threads=1)
        logits, features = model.logits(images), model.features(images)
        if prototypes is None:
            spread = np.random.default_rng(0).normal(0, 0.02, (len(LABELS), features.shape[1]))
            prototypes = (features[: len(LABELS)] + spread).astype(np.float16)
        stored = prototypes.astype(np.float32)
        parts = {name: scores(name, logits, features, stored) for name in PARTS}
        scales = {name: (float(one.mean()), float(one.std())) for name, one in parts.items()}
        ours = np.sort(scores(COMBINED, logits, features, stored, scales))
        rows[precision] = {"threshold": float(ours[19:21].mean()), "scales": scales}
    confidence = {
        "temperature": {"models": {"fp32": 1.7, "int8": 1.6}},
        "rejection": {"score": COMBINED, "keep": 0.95, "prototypes": PROTOTYPES, "models": rows},
    }
    return with_confidence(plain, folder, confidence, prototypes)


def class_photos(folder: Path, count: int = 4, first: int = 0, hue: int = 0) -> Path:
    """Photos of a class that the tiny models have not seen: stripes of one color."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        image = photo(seed).astype(np.int16) // 4
        image[:, :: 2 + seed % 2, hue] += 180
        (folder / f"{seed}.png").write_bytes(encoded(image.clip(0, 255).astype(np.uint8)))
    return folder


def growing_bundle(folder: Path, scratch: Path) -> Path:
    """``rejecting_bundle`` that says what a cosine counts in logits: classes can join it."""
    bundle = rejecting_bundle(scratch / "rejecting", scratch)
    scales = {"models": {"fp32": {"scale": 60.0}, "int8": {"scale": 58.0}}, "n": 8}
    return with_confidence(bundle, folder, {**manifest_of(bundle)["confidence"], "classes": scales})
