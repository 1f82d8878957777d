from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from tiny_models import images, quantized, settled, tiny_cnn
from torch import nn

from compress.distill.students import Student, StudentSpec, build
from compress.engine.errors import ExportError, ParityError
from compress.quantize.graph import convert
from export.onnx.convert import save, to_onnx
from export.onnx.features import featured, prepared_outputs, with_features
from export.onnx.graph import OUTPUTS, without_features
from export.onnx.parity import FeatureParity, compare_outputs, onnx_outputs, require, torch_outputs
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import tensorrt_ready
from runtime.backends.onnxruntime import quantized_kernels

SIZE, CLASSES = 32, 20


def student(embed_dim: int | None, power_norm: bool = False) -> Student:
    mean = (0.5,) * 3
    torch.manual_seed(0)
    spec = StudentSpec("test_resnet", CLASSES, embed_dim, SIZE, mean, mean, "random")
    made = build(replace(spec, power_norm=power_norm))
    out = settled(made, SIZE)
    assert isinstance(out, Student)
    return out


@pytest.fixture(
    scope="module",
    params=[(None, False), (24, False), (None, True)],
    ids=["linear head", "cosine head", "power norm"],
)
def made(request: pytest.FixtureRequest) -> Student:
    return student(*request.param)


def test_features_are_what_the_head_reads_of_length_one(made: Student, tmp_path: Path) -> None:
    pictures = images(6, SIZE)
    path = save(to_onnx(featured(made), SIZE, outputs=OUTPUTS), tmp_path / "model.onnx")
    ran = onnx_outputs(path, OUTPUTS)(pictures.numpy())
    with torch.no_grad():
        below = made.trunk(pictures)
        below = below if made.proj is None else made.proj(below)
        np.testing.assert_allclose(ran["features"], F.normalize(below, dim=-1), atol=2e-6)
        np.testing.assert_allclose(ran["logits"], made(pictures), atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(ran["features"], axis=1), 1, atol=1e-5)


def test_an_int8_file_has_both_in_either_form_and_no_kernel_is_lost(
    made: Student, tmp_path: Path
) -> None:
    prepared = quantized(made, SIZE)
    pictures = images(8, SIZE, seed=5).numpy()
    reference = torch_outputs(prepared_outputs(prepared), torch.from_numpy(pictures).numpy())
    with torch.no_grad():
        np.testing.assert_array_equal(reference["logits"], prepared(torch.from_numpy(pictures)))
    int8 = to_onnx(with_features(convert(prepared)), SIZE, outputs=OUTPUTS)
    assert tensorrt_ready(int8) == []
    alone = save(to_uint8(to_onnx(convert(prepared), SIZE)), tmp_path / "alone.onnx")
    for name, model in (("trt", int8), ("u8", to_uint8(int8))):
        path = save(model, tmp_path / f"{name}.onnx")
        parity = require(compare_outputs(path, reference, pictures, precision="int8"))
        assert parity.features is not None and parity.features.least_cosine > 0.99
    more, less = quantized_kernels(tmp_path / "u8.onnx"), quantized_kernels(alone)
    assert {name: n for name, n in more.items() if name.startswith("Q")} == {
        name: n for name, n in less.items() if name.startswith("Q")
    } | {"QuantizeLinear": more["QuantizeLinear"]}


def test_names_of_layers_stay(made: Student) -> None:
    both, alone = to_onnx(featured(made), SIZE, outputs=OUTPUTS), to_onnx(made, SIZE)
    names = {tensor.name for tensor in alone.graph.initializer if "." in tensor.name}
    assert names <= {tensor.name for tensor in both.graph.initializer}
    assert [value.name for value in both.graph.output] == ["logits", "features"]


def test_a_file_without_features_has_the_same_logits(made: Student, tmp_path: Path) -> None:
    pictures = images(3, SIZE).numpy()
    both = to_onnx(featured(made), SIZE, outputs=OUTPUTS)
    alone = save(without_features(both), tmp_path / "alone.onnx")
    ran = onnx_outputs(save(both, tmp_path / "both.onnx"))(pictures)
    np.testing.assert_array_equal(onnx_outputs(alone)(pictures)["logits"], ran["logits"])
    nodes = onnx.load(alone).graph.node
    assert len(nodes) < len(both.graph.node) or made.proj is not None
    with pytest.raises(ExportError, match=r"no features.*got logits"):
        without_features(onnx.load(alone))


def test_a_wrong_feature_is_a_parity_error(made: Student, tmp_path: Path) -> None:
    pictures = images(4, SIZE).numpy()
    path = save(to_onnx(featured(made), SIZE, outputs=OUTPUTS), tmp_path / "model.fp32.onnx")
    reference = torch_outputs(featured(made), pictures)
    good = require(compare_outputs(path, reference, pictures, precision="fp32"))
    assert isinstance(good.features, FeatureParity) and good.features.max_abs_diff < 1e-5
    turned = {**reference, "features": reference["features"][:, ::-1].copy()}
    with pytest.raises(ParityError, match=r"\(features\) disagrees with its torch model on image"):
        require(compare_outputs(path, turned, pictures, precision="fp32"))
    batch = replace(good, features=replace(good.features, batch_diff=1.0))
    with pytest.raises(ParityError, match=r"\(features\) disagrees with itself at batch 1"):
        require(batch)


def test_a_network_whose_head_is_hidden_is_refused() -> None:
    with_features(convert(quantized(tiny_cnn())))  # a scaled cosine head is found

    class NoHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return self.conv(pictures).mean((2, 3))

    with pytest.raises(ExportError, match="features cannot be found"):
        with_features(convert(quantized(NoHead().eval())))
