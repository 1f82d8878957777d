"""What runs in the environment of LiteRT's converter: an ONNX file in, a .tflite file out.

Its arguments are the two files and the precision; ``export.engines.litert`` starts it, because the
converter needs another torch than ours. int8: the quantizers of the file become the types and
scales of the tensors; no range is observed again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import torch

from export.engines.torch_graph import TorchGraph


def convert(source: Path, target: Path, base: str) -> None:
    """Writes ``target`` for one image a call, float32 NCHW or its int8 steps."""
    import litert_torch  # type: ignore[import-not-found,unused-ignore]

    model = onnx.load(str(source))
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    is_int8 = base == "int8"
    graph = TorchGraph(model, float_weights=is_int8).eval()
    options = {"quant_config": _types_of_the_graph()} if is_int8 else {}
    converted = litert_torch.convert(graph, (torch.zeros(1, 3, size, size),), **options)
    converted.export(str(target))


def _types_of_the_graph() -> object:
    """The converter's sign that a graph is quantized; the quantizer in it is not run."""
    from litert_torch.quantize import pt2e_quantizer  # type: ignore[import-not-found,unused-ignore]
    from litert_torch.quantize.quant_config import QuantConfig  # type: ignore[import-not-found,unused-ignore]

    symmetric = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    return QuantConfig(pt2e_quantizer=pt2e_quantizer.PT2EQuantizer().set_global(symmetric))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
