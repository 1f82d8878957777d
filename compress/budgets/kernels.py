"""Kernels: the nodes of an ONNX graph, put together as inference engines do it.

An elementwise node runs inside the kernel that made its latest input, Q/DQ pairs and reshapes cost
nothing, and what only one kernel sees never reaches memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import get_attribute_value

from compress.budgets import operations
from compress.engine.errors import BudgetError


@dataclass
class Kernel:
    """What an engine runs in one launch."""

    op: str  # the ONNX type of its first node
    name: str
    block: str  # the part of the network, from the names of the weights
    kind: str  # dense, depthwise or elementwise: which share of the peak it reaches
    precision: str  # int8 where both operands come from DequantizeLinear, else the file's float
    macs: int = 0  # of the first node
    ops: float = 0.0  # all operations, 2 per multiply-accumulate
    weight_bytes: float = 0.0
    read_bytes: float = 0.0  # activations of other kernels, the sum of ``reads``
    write_bytes: float = 0.0  # activations for other kernels
    nodes: int = 1
    reads: dict[str, float] = field(default_factory=dict, repr=False)  # tensor -> bytes


class KernelFusion:
    """The kernels of a graph whose tensors have shapes; walks the graph once, in its order."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.graph = graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.shapes = {name: tuple(t.dims) for name, t in self.weights.items()}
        self.types: dict[str, int] = {name: t.data_type for name, t in self.weights.items()}
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self.types.setdefault(value.name, tensor.elem_type)
            dims = tensor.shape.dim
            if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
                self.shapes.setdefault(value.name, tuple(dim.dim_value for dim in dims))
        self.makers = {name: node for node in graph.node for name in node.output}
        self.users: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.constant = set(self.weights)
        self.root: dict[str, str] = {}  # a view -> the tensor that it shows
        self.kernel_of: dict[str, int] = {}
        self.kernels: list[Kernel] = []
        self.unpriced: set[str] = set()
        self.block = ""
        for node in graph.node:
            self._place(node)
        leaving = {self._root(value.name) for value in graph.output}
        leaving |= {self._root(name) for kernel in self.kernels for name in kernel.reads}
        for name in leaving & set(self.kernel_of):
            self.kernels[self.kernel_of[name]].write_bytes += self._bytes(name)
        for kernel in self.kernels:
            kernel.read_bytes = sum(kernel.reads.values())

    @property
    def input_size(self) -> tuple[int, ...]:
        """Shape of the first input; empty where there is none."""
        return self.shapes.get(self.graph.input[0].name, ()) if self.graph.input else ()

    def peak_bytes(self) -> float:
        """The most bytes of activations that are alive at one kernel."""
        last: dict[str, int] = {}
        for index, kernel in enumerate(self.kernels):
            last |= dict.fromkeys(map(self._root, kernel.reads), index)
        last |= {self._root(value.name): len(self.kernels) for value in self.graph.output}
        first = {name: self.kernel_of.get(name, 0) for name in last}
        sizes = {name: self._bytes(name) for name in last}
        alive = (
            sum(sizes[name] for name in last if first[name] <= index <= last[name])
            for index in range(len(self.kernels))
        )
        return max(alive, default=0.0)

    def _place(self, node: NodeProto) -> None:
        inputs = [name for name in node.input if name]
        if node.op_type in ("Shape", "Size") or all(name in self.constant for name in inputs):
            self.constant.update(node.output)  # folded when the engine is built
            return
        self.block = self._block(node) or self.block
        active = [name for name in inputs if name not in self.constant]
        if node.op_type in operations.VIEWS:
            self.root |= dict.fromkeys(node.output, self._root(active[0]))
            return
        roots = map(self._root, active)
        makers = [self.kernel_of[root] for root in roots if root in self.kernel_of]
        if node.op_type in operations.POINTWISE and makers:
            index = max(makers)
            kernel = self.kernels[index]
            kernel.nodes += 1
            kernel.ops += operations.POINTWISE[node.op_type] * self.elements(node.output[0])
            kernel.weight_bytes += self._weight_bytes(node)
        else:
            index = len(self.kernels)
            self.kernels.append(self._new_kernel(node, active))
        for name in active:
            if self.kernel_of.get(self._root(name)) != index:
                self.kernels[index].reads[name] = self._bytes(name)
        self.kernel_of |= dict.fromkeys(node.output, index)

    def _new_kernel(self, node: NodeProto, active: list[str]) -> Kernel:
        elements = self.elements(node.output[0])
        macs = 0
        ops = 0.0
        kind = "elementwise"
        if node.op_type in operations.PRODUCTS:
            macs = self._macs(node)
            ops = 2.0 * macs
            kind = "depthwise" if self._is_depthwise(node) else "dense"
        elif node.op_type in operations.POOLS:
            ops = elements * math.prod(_attribute(node, "kernel_shape", ()))
        elif node.op_type in operations.PER_INPUT:
            ops = operations.PER_INPUT[node.op_type] * self.elements(active[0])
        elif node.op_type in operations.POINTWISE:
            ops = operations.POINTWISE[node.op_type] * elements
        elif node.op_type not in operations.MOVES:
            self.unpriced.add(node.op_type)
            ops = elements
        name = node.name or node.output[0]
        precision = self._precision(node, active)
        weights = self._weight_bytes(node)
        return Kernel(node.op_type, name, self.block or name, kind, precision, macs, ops, weights)

    def _macs(self, node: NodeProto) -> int:
        """Multiply-accumulates: elements of the output times the length of each dot product."""
        if node.op_type in ("Conv", "ConvTranspose"):
            placed = node.output[0] if node.op_type == "Conv" else node.input[0]
            return self.elements(placed) * math.prod(self.shapes[self.stored(node.input[1])][1:])
        inner = 0 if _attribute(node, "transA", 0) else -1
        return self.elements(node.output[0]) * self.shapes[node.input[0]][inner]

    def _is_depthwise(self, node: NodeProto) -> bool:
        return (
            node.op_type == "Conv"
            and _attribute(node, "group", 1) > 1
            and self.shapes[self.stored(node.input[1])][1] == 1
        )

    def _precision(self, node: NodeProto, active: list[str]) -> str:
        operands = node.input[:2] if node.op_type in operations.PRODUCTS else active
        makers = [self.makers.get(name) for name in operands]
        if makers and all(maker and maker.op_type == "DequantizeLinear" for maker in makers):
            return "int8"
        output_type = self.types.get(node.output[0], TensorProto.FLOAT)
        return "fp16" if operations.FLOATS.get(output_type, 4) == 2 else "fp32"

    def _weight_bytes(self, node: NodeProto) -> float:
        total = 0
        for name in (self.stored(name) for name in node.input if name in self.constant):
            item_type = self.types.get(name, 0)
            if item_type != TensorProto.INT64:  # axes and shapes, not parameters
                item = operations.ITEM_BYTES.get(item_type, 4)
                total += math.prod(self.shapes.get(name, (0,))) * item
        return float(total)

    def stored(self, name: str) -> str:
        """The initializer behind a constant: through DequantizeLinear and reshapes."""
        while name not in self.weights and name in self.makers and self.makers[name].input:
            name = self.makers[name].input[0]
        return name

    def elements(self, name: str) -> int:
        """Elements of a tensor; raises BudgetError if its shape is not known."""
        if name not in self.shapes:
            maker = self.makers.get(name)
            raise BudgetError(
                "the shape of a tensor cannot be inferred",
                got=f"{name} of {maker.op_type if maker else 'the input'}",
                remedy="simplify the model (onnxslim), and try again",
            )
        return math.prod(self.shapes[name])

    def _root(self, name: str) -> str:
        return self.root.get(name, name)

    def _bytes(self, name: str) -> float:
        """Bytes of a tensor in memory: int8 where all users read it through QuantizeLinear."""
        root = self._root(name)
        users = self.users.get(root, [])
        is_int8 = bool(users) and all(user.op_type == "QuantizeLinear" for user in users)
        item = operations.ITEM_BYTES.get(self.types.get(root, TensorProto.FLOAT), 4)
        return float(self.elements(name) * (1 if is_int8 else item))

    def _block(self, node: NodeProto) -> str | None:
        """``blocks.1.0`` of a weight ``trunk.blocks.1.0.conv.weight``; None without such names."""
        names = [self.stored(name) for name in node.input if name in self.constant]
        dotted = next((name for name in names if "." in name and name in self.weights), None)
        if dotted is None:
            return None
        parts = dotted.removeprefix("trunk.").split(".")
        numbers = [i for i, part in enumerate(parts[:3]) if part.isdigit()]
        return ".".join(parts[: numbers[-1] + 1]) if numbers else parts[0]


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((get_attribute_value(a) for a in node.attribute if a.name == name), default)
