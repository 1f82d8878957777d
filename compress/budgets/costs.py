"""Operations and bytes of an ONNX graph for one image, kernel by kernel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto

from compress.budgets.kernels import Kernel, KernelFusion
from compress.engine.errors import BudgetError
from runtime.bundle import FEATURES


@dataclass(frozen=True)
class Costs:
    """A graph's kernels, and facts about the whole."""

    kernels: tuple[Kernel, ...]
    input_size: tuple[int, ...]  # (1, 3, S, S)
    peak_bytes: float  # the most that activations take at one time
    unpriced: tuple[str, ...]  # node types without a price, which count as elementwise

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
    """The costs of a model with a batch of one image; shapes are those that ONNX infers.

    Raises:
        BudgetError: not an ONNX model, or a tensor whose shape cannot be inferred.
    """
    if isinstance(model, Path):
        try:
            loaded = onnx.load(model, load_external_data=False)
        except Exception as error:  # protobuf, I/O: the reader has no error class of its own
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise BudgetError("this is not an ONNX model", got=f"{model}: {reason}") from error
        return costs_of(loaded)
    fused = KernelFusion(_one_image(model))
    unpriced = tuple(sorted(fused.unpriced))
    return Costs(tuple(fused.kernels), fused.input_size, fused.peak_bytes(), unpriced)


def _forget_features(model: ModelProto) -> None:
    """Removes the output ``features``, and the nodes that nothing else reads."""
    graph = model.graph
    others = [output for output in graph.output if output.name != FEATURES]
    if len(others) in (0, len(graph.output)):
        return
    del graph.output[:]
    graph.output.extend(others)
    needed = {output.name for output in others}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _one_image(model: ModelProto) -> ModelProto:
    """A copy with batch 1 and the shape of every tensor, without what only features need.

    An engine that is asked for logits alone does not compute the rest.
    """
    fixed = ModelProto()
    fixed.CopyFrom(model)
    _forget_features(fixed)
    del fixed.graph.value_info[:]
    weights = {tensor.name for tensor in fixed.graph.initializer}
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in weights and dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    except Exception as error:  # onnx raises several classes here
        reason = str(error).splitlines()[0]
        raise BudgetError("the shapes of this model cannot be inferred", got=reason) from error
