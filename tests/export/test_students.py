"""Real students end to end: capture, calibrate, convert, export, rewrite, run. Minutes, so marked
slow.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import images, quantized, settled

from compress.quantize.graph import convert
from export.onnx.convert import save, to_onnx
from export.onnx.parity import compare, require
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import tensorrt_ready
from runtime.backends.onnxruntime import quantized_kernels

SIZE = 96


@pytest.mark.slow
# EfficientNet: onnxruntime fuses only what no SiLU follows, which is why fp32 ships there
@pytest.mark.parametrize(
    ("name", "convolutions", "additions"),
    [
        *(("resnet18", 20, 8), ("mobilenetv4_conv_small", 46, 10)),
        *(("efficientnet_b0", 16, 9), ("tf_efficientnet_lite0", 49, 9)),
    ],
)
def test_every_layer_that_can_be_int8_is(
    name: str, convolutions: int, additions: int, tmp_path: Path
) -> None:
    import timm

    torch.manual_seed(0)
    student = settled(timm.create_model(name, num_classes=20), SIZE)
    prepared, pictures = quantized(student, SIZE), images(32, SIZE, seed=9)
    with torch.no_grad():
        exact, rounded = student(pictures).numpy(), prepared(pictures).numpy()
        converted = convert(prepared)
        assert torch.equal(converted(pictures), prepared(pictures))
    int8 = to_onnx(converted, SIZE)
    assert tensorrt_ready(int8) == []
    uint8 = save(to_uint8(int8), tmp_path / "model.int8.onnx")
    require(
        compare(
            save(to_onnx(student, SIZE), tmp_path / "fp32.onnx"),
            exact,
            pictures.numpy(),
            precision="fp32",
        )
    )
    require(compare(save(int8, tmp_path / "trt.onnx"), rounded, pictures.numpy(), precision="int8"))
    require(compare(uint8, rounded, pictures.numpy(), precision="int8"))
    kernels = quantized_kernels(uint8)
    assert (
        kernels.get("QLinearConv", 0) >= 0.95 * convolutions
        and kernels.get("QLinearAdd", 0) >= additions - 1
    ), kernels


@pytest.mark.slow
def test_a_large_transformer_tower_fits_one_file(tmp_path: Path) -> None:
    """ViT-L/14: 1.2 GB of weights in one file, both outputs."""
    import open_clip

    from compress.teacher.artifact import Head, Heads
    from export.teacher.network import TeacherClassifier, teacher_to_onnx

    tower = open_clip.create_model("ViT-L-14", pretrained=None).visual.eval()
    rows = torch.nn.functional.normalize(torch.randn(2, 10, 768), dim=-1).numpy()
    head = Head(rows[0], rows[1], 100.0)
    path = save(
        teacher_to_onnx(TeacherClassifier(tower, Heads((head,))), 224), tmp_path / "teacher.onnx"
    )
    assert 1.1e9 < path.stat().st_size < 2**31
