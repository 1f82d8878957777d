"""Operations and bytes of an ONNX graph, kernel by kernel, for one image.

Shapes come from ONNX's own shape inference with batch 1. Nodes are put together as inference
engines do it: an elementwise node runs inside the kernel that made its latest input, Q/DQ pairs and
    reshapes cost nothing, and what only one kernel sees
never reaches memory. One multiply-accumulate is 2 operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from compress.engine.errors import BudgetError

FLOATS: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.DOUBLE: 8,
}
ITEM_BYTES: dict[int, int] = {
    **FLOATS,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
}
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
VIEWS = frozenset(
    {
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Cast",
        "Dropout",
        "Slice",
        "Split",
        "Gather",
        *QUANTIZERS,
    }
)
"""Nothing is computed or moved: their reader reads the original."""
MOVES = frozenset(
    {
        "Transpose",
        "Concat",
        "Pad",
        "Resize",
        "Expand",
        "Tile",
        "DepthToSpace",
        "SpaceToDepth",
        "ScatterND",
    }
)
#: operations per element of the output, inside another node's kernel
POINTWISE = {
    **dict.fromkeys(
        (
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Relu",
            "Clip",
            "Max",
            "Min",
            "Neg",
            "Abs",
            "PRelu",
            "LeakyRelu",
            "Where",
        ),
        1,
    ),
    **dict.fromkeys(
        ("Sqrt", "Reciprocal", "Pow", "HardSigmoid", "HardSwish", "BatchNormalization"), 2
    ),
    **dict.fromkeys(
        (
            "Sigmoid",
            "Tanh",
            "Exp",
            "Log",
            "Erf",
            "Gelu",
            "Elu",
            "Softplus",
            "Mish",
            "Swish",
            "Floor",
            "Round",
        ),
        8,
    ),
}
#: operations per element of the input, a kernel of its own
PER_INPUT = {
    **dict.fromkeys(
        (
            "GlobalAveragePool",
            "GlobalMaxPool",
            "ReduceMean",
            "ReduceSum",
            "ReduceMax",
            "ReduceMin",
            "ArgMax",
        ),
        1,
    ),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare", "ReduceL1", "LpNormalization", "TopK"), 2),
    **dict.fromkeys(("Softmax", "LogSoftmax"), 5),
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization"), 8
    ),
}


@dataclass
class Kernel:
    """What an engine runs in one launch.

    Attributes:
        op: the ONNX type of its first node. name: that node's name. block: the part of the network,
            from the weights' names.
        kind: dense, depthwise or elementwise (which share of the peak it reaches).
        precision: int8 where both operands come from DequantizeLinear, else what the file computes
            in.
        macs: multiply-accumulates of the first node. ops: all operations, 2 per
            multiply-accumulate.
        weight_bytes, read_bytes, write_bytes: parameters, and activations that come from or go to
            other kernels.
        nodes: how many nodes of the file it holds.
    """

    op: str
    name: str
    block: str
    kind: str
    precision: str
    macs: int = 0
    ops: float = 0.0
    weight_bytes: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    nodes: int = 1
    reads: dict[str, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Costs:
    """A graph's kernels, and what is true of the whole.

    Attributes:
        peak_bytes: the most that activations take at one time.
        unpriced: types of nodes that this file does not know; they count as elementwise.
    """

    kernels: tuple[Kernel, ...]
    input_size: tuple[int, ...]
    peak_bytes: float
    unpriced: tuple[str, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(kernel.macs for kernel in self.kernels)

    @property
    def weight_bytes(self) -> float:
        """Parameters as they are stored in the file."""
        return sum(kernel.weight_bytes for kernel in self.kernels)

    @property
    def int8_share(self) -> float:
        """Share of the multiply-accumulates that are int8."""
        return sum(k.macs for k in self.kernels if k.precision == "int8") / max(self.macs, 1)


def costs_of(model: ModelProto | Path) -> Costs:
    """The kernels of a model with a batch of one image.

    Raises:
        BudgetError: a file that is no ONNX model, or a tensor whose shape cannot be inferred.
    """
    if isinstance(model, Path):
        model = _load(model)
    return _Reader(_one_image(model)).costs()


def _load(path: Path) -> ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf, I/O: the reader has no error class of its own
        raise BudgetError(
            "this is no ONNX model",
            got=f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="a bundle, or a .onnx file",
        ) from error


def _one_image(model: ModelProto) -> ModelProto:
    """A copy with batch 1 and the shape of every tensor."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    weights = {tensor.name for tensor in fixed.graph.initializer}
    for value in fixed.graph.input:
        shape = value.type.tensor_type.shape
        if value.name not in weights and shape.dim and not shape.dim[0].dim_value:
            shape.dim[0].dim_value = 1
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    except Exception as error:
        raise BudgetError(
            "the shapes of this model cannot be inferred", got=str(error).splitlines()[0]
        ) from error


class _Reader:
    """Walks a graph once, in its order, and puts its nodes into kernels."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.graph = graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.shapes: dict[str, tuple[int, ...]] = {
            name: tuple(t.dims) for name, t in self.weights.items()
        }
        self.types: dict[str, int] = {name: t.data_type for name, t in self.weights.items()}
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self.types.setdefault(value.name, tensor.elem_type)
            if tensor.HasField("shape") and all(
                dim.HasField("dim_value") for dim in tensor.shape.dim
            ):
                self.shapes.setdefault(value.name, tuple(dim.dim_value for dim in tensor.shape.dim))
        self.makers = {name: node for node in graph.node for name in node.output}
        self.users: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.constant = set(self.weights)
        self.root: dict[str, str] = {}  # a view -> the tensor that is really there
        self.kernel_of: dict[str, int] = {}
        self.kernels: list[Kernel] = []
        self.unpriced: set[str] = set()
        self.block = ""

    def costs(self) -> Costs:
        for node in self.graph.node:
            self._place(node)
        self._count_writes()
        sizes = tuple(self.shapes.get(self.graph.input[0].name, ())) if self.graph.input else ()
        return Costs(tuple(self.kernels), sizes, self._peak(), tuple(sorted(self.unpriced)))

    def _place(self, node: NodeProto) -> None:
        inputs = [name for name in node.input if name]
        if all(name in self.constant for name in inputs) or self._is_arithmetic_of_shapes(node):
            self.constant.update(node.output)  # folded when the engine is built
            return
        self.block = self._block(node) or self.block
        active = [name for name in inputs if name not in self.constant]
        if node.op_type in VIEWS:
            for name in node.output:
                self.root[name] = self._root(active[0])
            return
        index = self._fused_into(node, active)
        if index is None:
            index = len(self.kernels)
            self.kernels.append(self._anchor(node, active))
        else:
            kernel = self.kernels[index]
            kernel.nodes += 1
            kernel.ops += POINTWISE[node.op_type] * self._elements(node.output[0])
            kernel.weight_bytes += self._weights(node)
        for name in active:
            if self.kernel_of.get(self._root(name)) != index:
                self.kernels[index].reads[name] = self._elements(name) * self._item_bytes(name)
        for name in node.output:
            self.kernel_of[name] = index

    def _is_arithmetic_of_shapes(self, node: NodeProto) -> bool:
        """Integers that only say how to reshape (Shape and what follows it)."""
        kind = self.types.get(node.output[0], TensorProto.UNDEFINED)
        return node.op_type in ("Shape", "Size") or (
            kind in (TensorProto.INT64, TensorProto.BOOL)
            and all(n in self.constant for n in node.input if n)
        )

    def _fused_into(self, node: NodeProto, active: list[str]) -> int | None:
        if node.op_type not in POINTWISE:
            return None
        made = [
            self.kernel_of[self._root(name)]
            for name in active
            if self._root(name) in self.kernel_of
        ]
        return max(made) if made else None

    def _anchor(self, node: NodeProto, active: list[str]) -> Kernel:
        out = self._elements(node.output[0])
        macs, ops, kind = 0, 0.0, "elementwise"
        if node.op_type in PRODUCTS:
            macs, depthwise = PRODUCTS[node.op_type](self, node)
            ops, kind = 2.0 * macs, "depthwise" if depthwise else "dense"
        elif node.op_type in ("MaxPool", "AveragePool"):
            ops = out * math.prod(_ints(node, "kernel_shape"))
        elif node.op_type in PER_INPUT:
            ops = PER_INPUT[node.op_type] * self._elements(active[0])
        elif node.op_type in POINTWISE:
            ops = POINTWISE[node.op_type] * out
        elif node.op_type not in MOVES:
            self.unpriced.add(node.op_type)
            ops = out
        name = node.name or node.output[0]
        return Kernel(
            node.op_type,
            name,
            self.block or name,
            kind,
            self._precision(node, active),
            macs,
            ops,
            self._weights(node),
        )

    def _precision(self, node: NodeProto, active: list[str]) -> str:
        operands = node.input[:2] if node.op_type in PRODUCTS else active
        makers = [self.makers.get(name) for name in operands]
        if makers and all(
            maker is not None and maker.op_type == "DequantizeLinear" for maker in makers
        ):
            return "int8"
        return (
            "fp16"
            if FLOATS.get(self.types.get(node.output[0], TensorProto.FLOAT), 4) == 2
            else "fp32"
        )

    def _weights(self, node: NodeProto) -> float:
        total = 0.0
        for name in node.input:
            if name in self.constant:
                source = self._stored(name)
                if self.types.get(source) == TensorProto.INT64:  # axes and shapes, no parameters
                    continue
                total += math.prod(self.shapes.get(source, (0,))) * ITEM_BYTES.get(
                    self.types.get(source, 0), 4
                )
        return total

    def _stored(self, name: str) -> str:
        """The initializer behind a constant: through DequantizeLinear and reshapes."""
        while name not in self.weights and name in self.makers and self.makers[name].input:
            name = self.makers[name].input[0]
        return name

    def _root(self, name: str) -> str:
        return self.root.get(name, name)

    def _elements(self, name: str) -> int:
        if name not in self.shapes:
            maker = self.makers.get(name)
            raise BudgetError(
                "the shape of a tensor cannot be inferred",
                got=f"{name} of {maker.op_type if maker else 'the input'}",
                expected="a model whose shapes follow from its input",
                remedy="simplify the model (onnxslim), and try again",
            )
        return math.prod(self.shapes[name])

    def _item_bytes(self, name: str) -> float:
        """Bytes per element as it lies in memory: 1 where everyone reads it through
        QuantizeLinear.
        """
        root = self._root(name)
        users = self.users.get(root, [])
        if users and all(user.op_type == "QuantizeLinear" for user in users):
            return 1.0
        return float(ITEM_BYTES.get(self.types.get(root, TensorProto.FLOAT), 4))

    def _count_writes(self) -> None:
        leaving = {self._root(value.name) for value in self.graph.output}
        leaving |= {self._root(name) for kernel in self.kernels for name in kernel.reads}
        for name in leaving & set(self.kernel_of):
            self.kernels[self.kernel_of[name]].write_bytes += self._elements(
                name
            ) * self._item_bytes(name)
        for kernel in self.kernels:
            kernel.read_bytes = sum(kernel.reads.values())

    def _peak(self) -> float:
        """The most bytes of activations that are alive at one kernel."""
        last: dict[str, int] = {}
        for index, kernel in enumerate(self.kernels):
            for name in kernel.reads:
                last[self._root(name)] = index
        last |= {self._root(value.name): len(self.kernels) for value in self.graph.output}
        first = {name: self.kernel_of.get(name, 0) for name in last}
        sizes = {name: self._elements(name) * self._item_bytes(name) for name in last}
        alive = [
            sum(sizes[name] for name in last if first[name] <= index <= last[name])
            for index in range(len(self.kernels))
        ]
        return max(alive, default=0.0)

    def _block(self, node: NodeProto) -> str | None:
        """``blocks.1.0`` from a weight called ``trunk.blocks.1.0.conv.weight``; None where no
        weight has such a name.
        """
        names = [self._stored(name) for name in node.input if name in self.constant]
        dotted = next((name for name in names if "." in name and name in self.weights), None)
        if dotted is None:
            return None
        parts = dotted.removeprefix("trunk.").split(".")
        numbers = [i for i, part in enumerate(parts[:3]) if part.isdigit()]
        return ".".join(parts[: numbers[-1] + 1]) if numbers else parts[0]


def _conv(reader: _Reader, node: NodeProto) -> tuple[int, bool]:
    weight = reader.shapes[reader._stored(node.input[1])]
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return reader._elements(node.output[0]) * math.prod(weight[1:]), groups > 1 and weight[1] == 1


def _conv_transpose(reader: _Reader, node: NodeProto) -> tuple[int, bool]:
    weight = reader.shapes[reader._stored(node.input[1])]
    return reader._elements(node.input[0]) * math.prod(weight[1:]), False


def _gemm(reader: _Reader, node: NodeProto) -> tuple[int, bool]:
    transposed = next((a.i for a in node.attribute if a.name == "transA"), 0)
    return reader._elements(node.output[0]) * reader.shapes[node.input[0]][
        0 if transposed else -1
    ], False


def _matmul(reader: _Reader, node: NodeProto) -> tuple[int, bool]:
    return reader._elements(node.output[0]) * reader.shapes[node.input[0]][-1], False


#: node type -> (multiply-accumulates, is it depthwise)
PRODUCTS: dict[str, Callable[[_Reader, NodeProto], tuple[int, bool]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}


def _ints(node: NodeProto, name: str) -> Iterable[int]:
    return next((attribute.ints for attribute in node.attribute if attribute.name == name), ())
