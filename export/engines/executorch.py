"""ExecuTorch's program (.pte): what XNNPACK computes goes to it, the rest to portable kernels.

int8 has the scales of the training. ExecuTorch's own quantizers are not run: the quantizers of our
file are the operators that they would have put in.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from onnx import ModelProto

from export.engines.converter import refused
from export.engines.torch_graph import TorchGraph
from export.engines.xnnpack import fusible
from runtime.files import executorch as executorch_file


def write(model: ModelProto, file: Path, base: str) -> tuple[Path, ...]:
    """Writes ``model`` for one image a call as ``file`` (.pte).

    Raises:
        ModuleNotFoundError: executorch is absent.
        ExportError: it refuses the model.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its programming interface may change, it says
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
        try:
            graph = TorchGraph(fusible(model)).eval()
            traced = torch.export.export(graph, (torch.zeros(1, 3, size, size),))
            lowered = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()])
            file.write_bytes(lowered.to_executorch().buffer)
        except Exception as error:  # its exceptions share no base class of their own
            raise refused(file, error) from error
    executorch_file.check(file)
    return (file,)
