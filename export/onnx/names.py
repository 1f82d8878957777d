"""Names a person can follow: nodes and tensors called after the modules they come from, as Netron
and trtexec show them.

    blocks.0.conv_dw/Conv                    the node; its output is blocks.0.conv_dw/Conv_output
    blocks.0.conv_dw.weight                  its weights, in an int8 file too
    blocks.0.conv_dw/Relu_output/QuantizeLinear      the quantizer of a tensor

The exporter writes the module path of a node into its metadata, and names nodes by counting.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping

from onnx import ModelProto, NodeProto

SCOPES = "pkg.torch.onnx.name_scopes"
NO_SCOPE = "_empty_nn_module"  # the exporter's sign for nodes that belong to no module
STORED = "_frozen_param"  # its name for int8 weights
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def name_after_modules(model: ModelProto) -> ModelProto:
    """Renames nodes, their outputs and int8 weights, in place; must see the exporter's metadata.
    Inputs and outputs stay.

    Names are distinct, and the same graph gets the same names.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    fixed = {value.name for value in (*graph.input, *graph.output)}
    makers = {name: node for node in graph.node for name in node.output}
    taken: Counter[str] = Counter(weights | fixed)
    tensors: dict[str, str] = {}  # old name -> new one
    readers: dict[str, str] = {}  # stored weights -> the path of the module that reads them

    def fresh(wanted: str) -> str:
        taken[wanted] += 1
        name = wanted if taken[wanted] == 1 else f"{wanted}_{taken[wanted]}"
        return name if name == wanted else fresh(name)

    for node in (
        graph.node
    ):  # the weighted first: their stored weights, and the nodes that dequantize them, follow
        path = _path(node, makers, weights)
        stored = (
            makers.get(node.input[1]) if node.op_type in WEIGHTED and len(node.input) > 1 else None
        )
        if (
            stored is not None
            and stored.op_type == "DequantizeLinear"
            and stored.input[0] in weights
        ):
            readers[stored.output[0]] = path
            if stored.input[0].startswith(STORED):
                tensors[stored.input[0]] = fresh(f"{path}.weight")
    for node in graph.node:
        if node.op_type in QUANTIZERS:
            of = (
                f"{readers[node.output[0]]}.weight"
                if node.output[0] in readers
                else _quantized(node, makers, tensors)
            )
            node.name = fresh(f"{of}/{node.op_type}")
        else:
            path = _path(node, makers, weights)
            node.name = fresh(f"{path}/{node.op_type}" if path else node.op_type)
        for index, name in enumerate(node.output):
            if name and name not in fixed:
                tensors[name] = fresh(f"{node.name}_output{index or ''}")
    for tensor in graph.initializer:
        tensor.name = tensors.get(tensor.name, tensor.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = tensors.get(name, name)
    return model


def _quantized(node: NodeProto, makers: Mapping[str, NodeProto], tensors: Mapping[str, str]) -> str:
    """The tensor that a quantizer is about: what its QuantizeLinear reads."""
    source = makers.get(node.input[0])
    if (
        node.op_type == "DequantizeLinear"
        and source is not None
        and source.op_type == "QuantizeLinear"
    ):
        node = source
    return tensors.get(node.input[0], node.input[0])


def _path(node: NodeProto, makers: Mapping[str, NodeProto], weights: set[str]) -> str:
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
