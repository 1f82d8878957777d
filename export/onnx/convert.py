"""Graphs to ONNX files: one float32 input ``images (batch, 3, S, S)``, batch 1..64; stable bytes.

Everything that differs between two runs of the exporter (producer version, stack traces, doc
strings) is removed, so that the same weights give the same bytes. Labels and preprocessing are
added when the file goes into a bundle (export/bundle/write.py).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from onnx.external_data_helper import uses_external_data
from torch import nn

from compress.engine.errors import ExportError
from compress.engine.frozen import quiet_exporter
from export.onnx.graph import OUTPUT, GraphView, remove_unused
from export.onnx.names import name_after_modules
from export.onnx.pads import fold_pads
from runtime.bundle import INPUT

MIN_BATCH = 1
MAX_BATCH = 64
# 18 is the oldest opset the exporter writes (for 17 it silently writes 18); 22 the newest of IR 10.
MIN_OPSET = 18
MAX_OPSET = 22
# onnxruntime 1.18+ and TensorRT 10's parser read IR 10; exporters write newer ones without need.
MAX_IR = 10
NORMS = frozenset({"ReduceL2", "Sqrt", "Pow"})
# Protobuf's limit for one file: a larger model needs external data, which a bundle does not have.
MAX_BYTES = 2**31 - 1


def to_onnx(
    model: nn.Module, size: int, *, opset: int = 20, outputs: Sequence[str] = (OUTPUT,)
) -> ModelProto:
    """``(B, 3, size, size) float32 -> (B, K)`` in ONNX, for each name in ``outputs``.

    Args:
        model: a float module in eval mode, a captured graph, or a converted int8 graph.
        size: edge of the input in pixels.
        opset: 18..22.
        outputs: names, in the order in which the model returns its tensors.

    Raises: ExportError: an opset outside 18..22, a model that does not export, or one above 2 GB.
    """
    if not MIN_OPSET <= opset <= MAX_OPSET:
        expected = f"{MIN_OPSET}..{MAX_OPSET}"
        remedy = "--set export.opset=20"
        raise ExportError("opset cannot be exported", got=opset, expected=expected, remedy=remedy)
    weights = sum(value.nbytes for value in (*model.parameters(), *model.buffers()))
    if weights > MAX_BYTES:
        raise ExportError(
            "the model does not fit one ONNX file (a bundle has no external data)",
            got=f"{weights / 2**30:.1f} GiB of weights",
            expected="less than 2 GiB",
            remedy="choose a smaller model (ViT-L-14 fits)",
        )
    buffer = io.BytesIO()
    try:
        with quiet_exporter(model), torch.no_grad():
            program = torch.onnx.export(
                model,
                (torch.zeros((2, 3, size, size)),),
                dynamo=True,
                opset_version=opset,
                external_data=False,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim("batch", min=MIN_BATCH, max=MAX_BATCH)},),
                verbose=False,
            )
            program.save(buffer, external_data=False)  # type: ignore[union-attr, arg-type]
    except Exception as error:
        what = f"{type(model).__name__} cannot be exported to ONNX in opset {opset}"
        remedy = "choose another student or opset"
        raise ExportError(what, got=brief(error), remedy=remedy) from error
    exported = onnx.load_from_string(buffer.getvalue())
    _drop_expand(exported)
    fold_pads(exported)
    return normalize_bytes(name_after_modules(exported))


def brief(error: Exception) -> str:
    """Type and first line of another library's exception."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _drop_expand(model: ModelProto) -> None:
    """Removes Expand from ``x / norm(x).expand_as(x)``, in place: Div broadcasts by itself."""
    view = GraphView(model)
    for node in model.graph.node:
        norm = view.produced_by(node.input[1], "Expand") if node.op_type == "Div" else None
        if norm is None:
            continue
        root = view.producer.get(norm.input[0])
        while root is not None and root.op_type in ("Clip", "Max"):
            root = view.producer.get(root.input[0])
        if root is not None and root.op_type in NORMS and root.input[0] == node.input[0]:
            node.input[1] = norm.input[0]
    remove_unused(model)


def normalize_bytes(model: ModelProto) -> ModelProto:
    """Removes the exporter's debugging data, bounds the IR version, names the batch; in place."""
    graph = model.graph
    model.ir_version = min(model.ir_version, MAX_IR)
    model.producer_name = graph.name = "clip2edge"
    model.producer_version = model.doc_string = model.domain = graph.doc_string = ""
    for listed in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del listed.metadata_props[:]
    del graph.value_info[:], graph.quantization_annotation[:]
    used = {"", *(node.domain for node in graph.node)}
    for entry in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(entry)
    for named in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        named.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def save(model: ModelProto, path: Path) -> Path:
    """Checks the model and writes it with a fixed serialization order.

    Raises: ExportError: ONNX's checker refuses the model, or it holds external data.
    """
    external = [tensor.name for tensor in model.graph.initializer if uses_external_data(tensor)]
    if external:
        got = f"external data in {external[0]}"
        raise ExportError(f"{path.name} would need a second file", got=got)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker's own error, or ValueError for protobuf's limit
        got = str(error).splitlines()[0]
        raise ExportError(f"{path.name} is not a valid ONNX model", got=got) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path
