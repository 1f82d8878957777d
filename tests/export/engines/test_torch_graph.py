"""The torch module of an ONNX graph computes what onnxruntime does, but for rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny_bundles import SIZE, float_model, int8_model
from tiny_models import quantized, settled, student

from compress.quantize.graph import convert
from export.engines.torch_graph import TorchGraph, UnsupportedError
from export.onnx.convert import save, to_onnx
from export.onnx.features import featured, with_features
from export.onnx.graph import OUTPUTS
from export.onnx.qdq import to_uint8
from runtime.backends import load

MODES = ({}, {"float_weights": True})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    fp32 = float_model(folder / "a.onnx", features=True)
    rooted = settled(student("petal_cnn", SIZE, power_norm=True), SIZE)
    int8 = to_onnx(with_features(convert(quantized(rooted, SIZE))), SIZE, outputs=OUTPUTS)
    return {
        "roots": save(to_onnx(featured(rooted), SIZE, outputs=OUTPUTS), folder / "d.onnx"),
        "roots.int8": save(to_uint8(int8), folder / "e.onnx"),
        "fp32": fp32,
        "int8": int8_model(fp32, folder / "b.onnx"),
        "int8.trt": int8_model(fp32, folder / "c.onnx", symmetric=True),
    }


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("name", ["fp32", "int8", "int8.trt", "roots", "roots.int8"])
def test_it_computes_what_the_file_says(
    files: dict[str, Path], name: str, options: dict[str, bool]
) -> None:
    batch = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    graph = TorchGraph(onnx.load(files[name]), **options).eval()
    with torch.no_grad():
        got = dict(zip(graph.outputs, graph(torch.from_numpy(batch)), strict=True))
    want = load("onnxruntime", files[name], threads=1).run_all(batch, graph.outputs)
    share = 0.03 if "int8" in name else 1e-5  # a rounding edge is a step
    for output in graph.outputs:
        assert np.abs(got[output].numpy() - want[output]).max() <= share * np.ptp(want[output])


def test_it_exports_with_its_quantizers(files: dict[str, Path]) -> None:
    graph = TorchGraph(onnx.load(files["int8"])).eval()
    program = torch.export.export(graph, (torch.zeros(1, 3, SIZE, SIZE),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum("quantized_decomposed.quantize_per_tensor" in name for name in called) >= 4
    assert sum("dequantize_per_channel" in name for name in called) >= 2


def test_a_converter_may_want_weights_that_the_graph_quantizes(files: dict[str, Path]) -> None:
    def stored(**options: bool) -> set[torch.dtype]:
        return {each.dtype for each in TorchGraph(onnx.load(files["int8"]), **options).buffers()}

    assert torch.int8 in stored() and torch.int8 not in stored(float_weights=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda node: setattr(node, "op_type", "Det"), "operators Det"),
        (
            lambda node: node.attribute.append(
                onnx.helper.make_attribute("auto_pad", "SAME_UPPER")
            ),
            "auto_pad",
        ),
    ],
)
def test_what_no_network_of_ours_has_is_refused(files: dict[str, Path], change, words: str) -> None:
    model = onnx.load(files["fp32"])
    change(next(node for node in model.graph.node if node.op_type == "Conv"))
    with pytest.raises(UnsupportedError, match=words):
        TorchGraph(model)(torch.zeros(1, 3, SIZE, SIZE))
