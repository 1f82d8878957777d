"""Readable names: nodes and tensors are called after their modules, in Netron and trtexec too.

    blocks.0.conv_dw/Conv                        a node; its output is blocks.0.conv_dw/Conv_output
    blocks.0.conv_dw.weight                      its weights, in an int8 file too
    blocks.0.conv_dw/Relu_output/QuantizeLinear  the quantizer of a tensor

The exporter writes the module path of a node into its metadata, and names nodes by counting.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Mapping

from onnx import ModelProto, NodeProto

from export.onnx.graph import QUANTIZERS, GraphView

SCOPES = "pkg.torch.onnx.name_scopes"
NO_SCOPE = "_empty_nn_module"  # the exporter's mark of nodes that belong to no module
STORED = "_frozen_param"  # its name for int8 weights
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def name_after_modules(model: ModelProto) -> ModelProto:
    """Renames nodes, their outputs and int8 weights, in place; the model's inputs and outputs stay.

    Needs the exporter's metadata. Names are distinct, and the same graph gets the same names.
    """
    graph = model.graph
    view = GraphView(model)
    fixed = {value.name for value in (*graph.input, *graph.output)}
    taken = Counter(fixed.union(view.initializers))
    tensors: dict[str, str] = {}  # old name -> new one
    readers: dict[str, str] = {}  # dequantized weights -> the path of the module that reads them

    def fresh(name: str) -> str:
        taken[name] += 1
        return name if taken[name] == 1 else fresh(f"{name}_{taken[name]}")

    # Weighted nodes come first: names of stored weights and their dequantizers follow from them.
    for node in graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            continue
        stored = view.produced_by(node.input[1], "DequantizeLinear")
        if stored is not None and stored.input[0] in view.initializers:
            readers[stored.output[0]] = path = _path(node, view.initializers)
            if stored.input[0].startswith(STORED):
                tensors[stored.input[0]] = fresh(f"{path}.weight")
    for node in graph.node:
        if node.op_type in QUANTIZERS:
            reader = readers.get(node.output[0])
            tensor = f"{reader}.weight" if reader is not None else _quantized(node, view, tensors)
            node.name = fresh(f"{tensor}/{node.op_type}")
        else:
            path = _path(node, view.initializers)
            node.name = fresh(f"{path}/{node.op_type}" if path else node.op_type)
        for index, name in enumerate(node.output):
            if name and name not in fixed:
                tensors[name] = fresh(f"{node.name}_output{index or ''}")
    for tensor in graph.initializer:
        tensor.name = tensors.get(tensor.name, tensor.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [tensors.get(name, name) for name in names]
    return model


def _quantized(node: NodeProto, view: GraphView, tensors: Mapping[str, str]) -> str:
    """The tensor that a quantizer is about: the input of its QuantizeLinear."""
    quantize = view.produced_by(node.input[0], "QuantizeLinear")
    if node.op_type == "DequantizeLinear" and quantize is not None:
        node = quantize
    return tensors.get(node.input[0], node.input[0])


def _path(node: NodeProto, weights: Collection[str]) -> str:
    """The module that ``node`` comes from; "" for the model itself."""
    if node.op_type in WEIGHTED and len(node.input) > 1:
        name = node.input[1]
        if name in weights and name.endswith(".weight"):
            return name.removesuffix(".weight")
    text = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ""
    path = scopes[-2] if isinstance(scopes, list) and len(scopes) > 1 else ""
    return "" if not isinstance(path, str) or path.startswith(NO_SCOPE) else path
