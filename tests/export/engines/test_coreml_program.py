"""The evaluator of Core ML's programs, by networks whose answers onnxruntime knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto
from tiny_models import quantized, settled, student
from torch import nn

import runtime
from compress.engine.errors import ExportError
from compress.quantize.graph import convert
from export.engines import coreml, coreml_program
from export.onnx.convert import save, to_onnx
from export.onnx.features import featured, with_features
from export.onnx.graph import OUTPUTS
from export.onnx.parity import onnx_outputs
from export.onnx.qdq import to_uint8
from runtime import PreprocessSpec

pytest.importorskip("coremltools", reason="needs pip install 'clip2edge[coreml]'")

EDGE = 64
SPEC = PreprocessSpec(EDGE, 72, "bicubic", (0.5, 0.45, 0.4), (0.25, 0.26, 0.27))
CLASSES = 20


def described(model: ModelProto) -> ModelProto:
    labels = json.dumps([f"class {index}" for index in range(CLASSES)])
    for key, value in (("labels", labels), ("preprocess", json.dumps(SPEC.to_json()))):
        model.metadata_props.add(key=f"clip2edge.{key}", value=value)
    return model


@pytest.mark.parametrize(
    "arch",
    [
        "petal_cnn",
        "petal_cnn with roots",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                *("resnet18", "mobilenetv4_conv_small", "efficientnet_b0"),
                *("tf_efficientnet_lite0", "mobilenetv3_small_100"),
            )
        ),
    ],
)
def test_a_program_answers_like_its_source(arch: str, tmp_path: Path) -> None:
    name, roots = arch.split()[0], arch.endswith("roots")
    network: nn.Module = settled(student(name, EDGE, CLASSES, power_norm=roots), EDGE)
    int8 = to_onnx(with_features(convert(quantized(network, EDGE))), EDGE, outputs=OUTPUTS)
    models = {"fp32": to_onnx(featured(network), EDGE, outputs=OUTPUTS), "int8": to_uint8(int8)}
    pixels = np.random.default_rng(0).integers(0, 256, (4, EDGE, EDGE, 3), dtype=np.uint8)
    tensor = runtime.normalize(pixels, SPEC)
    for base, least in (("fp32", 1 - 1e-6), ("int8", 0.9)):  # of int8 a rounding flips, and travels
        source = save(described(models[base]), tmp_path / f"{base}.onnx")
        (file,) = coreml.write(models[base], tmp_path / f"{base}.mlpackage.zip", base)
        runner = coreml_program.load(file, SPEC)
        found, wanted = runner.run_all(tensor, OUTPUTS), onnx_outputs(source, OUTPUTS)(tensor)
        for name in OUTPUTS:
            alike = np.corrcoef(found[name].ravel(), wanted[name].ravel())[0, 1]
            assert alike > least, (base, name, alike)
        assert np.array_equal(runner.run(tensor), found["logits"])


def test_a_padding_by_rule_is_that_of_the_networks_it_names() -> None:
    """TensorFlow's "same": an odd one more stands behind; "same_lower": before."""
    x, kernel = torch.arange(36.0).reshape(1, 1, 6, 6), (3, 3)
    given = {"pad_type": "same", "strides": [2, 2], "dilations": [1, 1]}
    assert coreml_program._padded(given, x, kernel, 0.0)[0, 0, :, 0].tolist()[:1] == [0.0]
    behind = coreml_program._padded(given, x, kernel, -1.0)[0, 0]
    assert behind.shape == (7, 7) and behind[6, 6] == -1 and behind[0, 0] == 0
    before = coreml_program._padded({**given, "pad_type": "same_lower"}, x, kernel, -1.0)[0, 0]
    assert before.shape == (7, 7) and before[0, 0] == -1 and before[6, 6] == 35


def test_an_operator_that_is_not_known_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = settled(student("petal_cnn", EDGE, CLASSES), EDGE)
    model = described(to_onnx(featured(network), EDGE, outputs=OUTPUTS))
    (file,) = coreml.write(model, tmp_path / "m.mlpackage.zip", "fp32")
    known = {name: run for name, run in coreml_program.OPERATORS.items() if name != "conv"}
    monkeypatch.setattr(coreml_program, "OPERATORS", known)
    with pytest.raises(ExportError, match="cannot be evaluated") as caught:
        coreml_program.load(file, SPEC)
    assert caught.value.got == "conv"
