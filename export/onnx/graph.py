"""Questions about an ONNX graph: producers, consumers, constants, signs, unused parts."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from compress.engine.errors import ExportError
from runtime.bundle import FEATURES

OUTPUT = "logits"
OUTPUTS = (OUTPUT, FEATURES)  # of every file, see export/onnx/features.py; the logits stay first
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
STANDARD = frozenset({"", "ai.onnx"})  # the two spellings of ONNX's own domain


def op_types(names: str) -> frozenset[str]:
    """A set of operators from their names with spaces between them."""
    return frozenset(names.split())


# Operators whose output is >= 0 for any input, if their first input is, and if all inputs are.
NON_NEGATIVE = op_types("Relu Sigmoid HardSigmoid Softmax Abs Exp Sqrt ReduceL2 ReduceSumSquare")
KEEPS_SIGN = QUANTIZERS | op_types(
    "MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean ReduceMax ReduceSum Reshape "
    "Transpose Flatten Squeeze Unsqueeze Slice Gather Identity"
)
KEEPS_SIGN_OF_ALL = op_types("Add Mul Concat Max")


class GraphView:
    """Producer and consumers of each tensor of a model, and the values of constants."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.consumers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def produced_by(self, name: str, op_type: str) -> NodeProto | None:
        """The producer of a tensor if it is an ``op_type``."""
        node = self.producer.get(name)
        return node if node is not None and node.op_type == op_type else None

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of an initializer or Constant node; None for anything computed."""
        if name in self.initializers:
            return numpy_helper.to_array(self.initializers[name])
        node = self.produced_by(name, "Constant")
        tensor = None if node is None else attribute(node, "value")
        return None if tensor is None else numpy_helper.to_array(tensor)

    def optional_constant(self, node: NodeProto, place: int) -> NDArray[np.generic] | None:
        """The constant at an optional input; None where it is absent or computed."""
        present = len(node.input) > place and node.input[place]
        return self.constant(node.input[place]) if present else None

    def non_negative(self, name: str) -> bool:
        """Whether the tensor provably holds no value below zero."""
        value = self.constant(name)
        if value is not None:
            return bool(np.all(value.astype(np.float64) >= 0))
        node = self.producer.get(name)
        if node is None:
            return False
        if node.op_type == "Clip":
            low = self.optional_constant(node, 1)
            return low is not None and float(low.reshape(-1)[0]) >= 0
        if node.op_type in KEEPS_SIGN:
            return self.non_negative(node.input[0])
        if node.op_type in KEEPS_SIGN_OF_ALL:
            return all(self.non_negative(source) for source in node.input)
        return node.op_type in NON_NEGATIVE

    def quantizes_activation(self, node: NodeProto) -> bool:
        """Whether the node quantizes a computed tensor; weights are stored as int8."""
        return node.op_type == "QuantizeLinear" and self.constant(node.input[0]) is None


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute; text is bytes."""
    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def label(node: NodeProto) -> str:
    """A node's name; its first output where it has none."""
    return node.name or str(node.output[0])


def remove_unused(model: ModelProto) -> None:
    """Removes nodes and initializers that no output needs, in place.

    Not onnx_ir's RemoveUnusedNodesPass: its round trip copies all weights and re-serializes every
    node (value_info appears, empty fields vanish), so files that are finished would change.
    """
    graph = model.graph
    needed = {value.name for value in graph.output}
    for index in reversed(range(len(graph.node))):  # nodes are in topological order
        if needed.isdisjoint(graph.node[index].output):
            del graph.node[index]
        else:
            needed.update(graph.node[index].input)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)


def without_features(model: ModelProto) -> ModelProto:
    """A copy of a file's model that has its other outputs alone, and nothing that they do not need.

    Raises: ExportError: there are no features.
    """
    twin = copy.deepcopy(model)
    features = [value for value in twin.graph.output if value.name == FEATURES]
    if not features:
        got = ", ".join(value.name for value in model.graph.output)
        raise ExportError("the model has no features", got=got, expected=FEATURES)
    twin.graph.output.remove(features[0])
    remove_unused(twin)
    return twin
