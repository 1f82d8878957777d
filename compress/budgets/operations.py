"""The price of each ONNX operation, for one image; one multiply-accumulate is 2 operations."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto

#: element type -> bytes
FLOATS: Mapping[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.DOUBLE: 8,
}
ITEM_BYTES: Mapping[int, int] = {
    **FLOATS,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _prices(table: Mapping[int, str]) -> dict[str, int]:
    return {name: price for price, names in table.items() for name in names.split()}


#: sums of products
PRODUCTS = _names("Conv ConvTranspose Gemm MatMul")
#: compute and move nothing: their reader reads the original
VIEWS = _names(
    "Reshape Flatten Squeeze Unsqueeze Identity Cast Dropout Slice Split Gather "
    "QuantizeLinear DequantizeLinear"
)
#: compute nothing, but move every element
MOVES = _names("Transpose Concat Pad Resize Expand Tile DepthToSpace SpaceToDepth ScatterND")
#: operations per element of the output, inside another node's kernel
POINTWISE = _prices(
    {
        1: "Add Sub Mul Div Relu Clip Max Min Neg Abs PRelu LeakyRelu Where",
        2: "Sqrt Reciprocal Pow HardSigmoid HardSwish BatchNormalization",
        8: "Sigmoid Tanh Exp Log Erf Gelu Elu Softplus Mish Swish Floor Round",
    }
)
#: operations per element of the input, a kernel of its own
PER_INPUT = _prices(
    {
        1: "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ArgMax",
        2: "ReduceL2 ReduceSumSquare ReduceL1 LpNormalization TopK",
        5: "Softmax LogSoftmax",
        8: "LayerNormalization GroupNormalization InstanceNormalization RMSNormalization",
    }
)
#: operations per element of the output and of the window
POOLS = _names("MaxPool AveragePool")
