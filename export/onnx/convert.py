"""Graphs to ONNX files: one float32 input ``images (batch, 3, S, S)``, batch 1..64, output(s)
named; bytes that repeat.

Everything that differs between two runs of the exporter (producer version, stack traces, doc
strings) is removed, so that the same weights give the same bytes. Labels and preprocessing are
added when the file goes into a bundle (bundle.py).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from torch import nn

from compress.engine.errors import ExportError
from compress.quantize.graph import quiet_exporter
from export.onnx.names import name_after_modules

INPUT = "images"
OUTPUT = "logits"
MIN_BATCH, MAX_BATCH = 1, 64
MIN_OPSET, MAX_OPSET = 18, 22
"""18 is the oldest the exporter writes (asked for 17 it silently writes 18); 22 is the newest of IR
10.
"""
MAX_IR = 10
"""onnxruntime 1.18+ and the onnx parser of TensorRT 10 read IR 10; exporters write newer ones
without need.
"""
MAX_BYTES = 2**31 - 1
"""Protobuf's limit for one file: a larger model would need external data, which a bundle does not
have.
"""


def to_onnx(
    model: nn.Module, size: int, *, opset: int = 20, outputs: Sequence[str] = (OUTPUT,)
) -> ModelProto:
    """The ONNX form of ``model``: ``(B, 3, size, size) float32 -> (B, K)`` for each name in
    ``outputs``.

    Args:
        model: a float module in eval mode, a captured graph, or a converted int8 graph.
        size: edge of the input in pixels.
        opset: 18..22.
        outputs: names, in the order in which the model returns its tensors.

    Raises:
        ExportError: an opset outside 18..22, a model that does not export, or one above 2 GB.
    """
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise ExportError(
            "opset cannot be exported",
            got=opset,
            expected=f"{MIN_OPSET}..{MAX_OPSET}",
            remedy="--set export.opset=20",
        )
    weights = sum(
        value.numel() * value.element_size() for value in (*model.parameters(), *model.buffers())
    )
    if weights > MAX_BYTES:
        raise ExportError(
            "the model does not fit one ONNX file",
            got=f"{weights / 2**30:.1f} GiB of weights",
            expected="less than 2 GiB (a bundle has no external data)",
            remedy="choose a smaller model (ViT-L-14 fits)",
        )
    batch = torch.export.Dim("batch", min=MIN_BATCH, max=MAX_BATCH)
    example = torch.zeros((2, 3, size, size))
    try:
        with quiet_exporter(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                opset_version=opset,
                external_data=False,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
            buffer = io.BytesIO()
            program.save(buffer, external_data=False)  # type: ignore[union-attr, arg-type]
    except Exception as error:
        raise ExportError(
            f"{type(model).__name__} cannot be exported to ONNX",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected=f"operators of opset {opset}",
            remedy="choose another student or opset",
        ) from error
    made = onnx.load_from_string(buffer.getvalue())
    _drop_expand(made)
    return normalize_bytes(name_after_modules(made))


def _drop_expand(model: ModelProto) -> None:
    """Removes the Expand and its shape arithmetic in ``x / norm(x).expand_as(x)``, in place: Div
    broadcasts.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        norm = makers.get(node.input[1]) if node.op_type == "Div" else None
        if norm is None or norm.op_type != "Expand":
            continue
        root: onnx.NodeProto | None = makers.get(norm.input[0])
        while root is not None and root.op_type in ("Clip", "Max"):
            root = makers.get(root.input[0])
        if (
            root is not None
            and root.op_type in ("ReduceL2", "Sqrt", "Pow")
            and root.input[0] == node.input[0]
        ):
            node.input[1] = norm.input[0]
    drop_dead(model)


def drop_dead(model: ModelProto) -> None:
    """Removes nodes and constants that nothing reads, in place."""
    outputs = {value.name for value in model.graph.output}
    while True:
        used = {name for node in model.graph.node for name in node.input} | outputs
        dead = [node for node in model.graph.node if not used.intersection(node.output)]
        if not dead:
            break
        for node in dead:
            model.graph.node.remove(node)
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def normalize_bytes(model: ModelProto) -> ModelProto:
    """Removes what the exporter adds for debugging, bounds the IR version and names the batch axis,
    in place.
    """
    graph = model.graph
    model.ir_version = min(model.ir_version, MAX_IR)
    model.producer_name, model.producer_version = "clip2edge", ""
    model.doc_string = model.domain = graph.doc_string = ""
    graph.name = "clip2edge"
    del (
        model.metadata_props[:],
        graph.metadata_props[:],
        graph.value_info[:],
        graph.quantization_annotation[:],
    )
    used = {node.domain for node in graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain not in used | {""}]:
        model.opset_import.remove(entry)
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for named in (*graph.initializer, *graph.input, *graph.output):
        named.doc_string = ""
        del named.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def save(model: ModelProto, path: Path) -> Path:
    """Checks the model and writes it with a fixed serialization order.

    Raises:
        ExportError: when ONNX's checker refuses the model, or it holds external data.
    """
    external = [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    if external:
        raise ExportError(
            f"{path.name} would need a second file",
            got=f"external data in {external[0]}",
            expected="one self-contained file",
        )
    try:
        onnx.checker.check_model(model)
    except (
        Exception
    ) as error:  # the checker raises its own error, and ValueError for protobuf's limit
        raise ExportError(
            f"{path.name} is not a valid ONNX model",
            got=str(error).splitlines()[0],
            expected="what onnx.checker accepts",
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path
