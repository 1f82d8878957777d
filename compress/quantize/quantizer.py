"""Where int8 goes in a graph: one PT2E quantizer; TensorRT takes its placement as it is,
onnxruntime after a rewrite.

Activations are symmetric int8 per tensor (zero point 0, -128..127), weights symmetric int8 per
output channel (-127..127, so that negating a kernel is exact). Quantize/dequantize pairs stand on
the *inputs* of what runs in int8: convolutions, large linear layers, both sides of a residual
    addition, and pooling. Everything else (biases,
normalization of features, the cosine head, SiLU and friends) stays float.

The fake quantizers are torchao's plain ``FakeQuantize``: its fused default trains on another grid
than conversion emits (zero point -128 and half the scale after a ReLU): what ships would not be
what was trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torchao.quantization.pt2e import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

aten = torch.ops.aten

MIN_LINEAR_WIDTH = 16
"""A linear layer with fewer inputs or outputs stays float: int8 kernels lose there and it is nearly
no arithmetic.
"""

EPS = 2.0**-12
"""Smallest scale: keeps a channel that is all zero (pruned, dead ReLU) from dividing by nothing."""

ACTIVATION = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_symmetric,
    is_dynamic=False,
    observer_or_fake_quant_ctr=FakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver, eps=EPS
    ),
)

WEIGHT = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    is_dynamic=False,
    observer_or_fake_quant_ctr=FakeQuantize.with_args(
        observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=EPS
    ),
)


def _is_float_activation(arg: Any) -> bool:
    """True for a node that carries a float tensor computed from the images (parameters and
    constants are not).
    """
    if not isinstance(arg, fx.Node) or arg.op == "get_attr":
        return False
    value = arg.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _shape_of(arg: Any, graph: fx.GraphModule) -> tuple[int, ...]:
    """The shape of a parameter node (O, I, ...); empty when ``arg`` is no parameter."""
    if not isinstance(arg, fx.Node) or arg.op != "get_attr":
        return ()
    owner: Any = graph
    for part in str(arg.target).split("."):
        owner = getattr(owner, part)
    return tuple(owner.shape)


def _convolution(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    source, weight = node.args[0], node.args[1]
    if not _shape_of(weight, graph):
        return None
    return QuantizationAnnotation(
        input_qspec_map={source: ACTIVATION, weight: WEIGHT}, _annotated=True
    )  # type: ignore[dict-item]


def _linear(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    shape = _shape_of(node.args[1], graph)
    return _convolution(node, graph) if shape and min(shape) >= MIN_LINEAR_WIDTH else None


def _addition(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    sides = node.args[:2]
    if not all(_is_float_activation(side) for side in sides):
        return None
    return QuantizationAnnotation(input_qspec_map=dict.fromkeys(sides, ACTIVATION), _annotated=True)  # type: ignore[misc]


def _average_pool(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    source = node.args[0]
    if not _is_float_activation(source) or source.meta["val"].ndim != 4:  # type: ignore[union-attr]
        return None
    return QuantizationAnnotation(input_qspec_map={source: ACTIVATION}, _annotated=True)  # type: ignore[dict-item]


def _max_pool(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    source = node.args[0]
    # max of quantized values is one of them: the output must share the input's scale
    return QuantizationAnnotation(
        input_qspec_map={source: ACTIVATION},  # type: ignore[dict-item]
        output_qspec=SharedQuantizationSpec((source, node)),  # type: ignore[arg-type]
        _annotated=True,
    )


Rule = Callable[[fx.Node, fx.GraphModule], QuantizationAnnotation | None]

RULES: dict[Any, Rule] = {
    aten.conv1d.default: _convolution,
    aten.conv2d.default: _convolution,
    aten.conv2d.padding: _convolution,
    aten.linear.default: _linear,
    aten.add.Tensor: _addition,
    aten.add_.Tensor: _addition,
    aten.mean.dim: _average_pool,
    aten.avg_pool2d.default: _average_pool,
    aten.adaptive_avg_pool2d.default: _average_pool,
    aten.max_pool2d.default: _max_pool,
}
"""What runs in int8, by operator; an operator that is not here stays float."""

KINDS: dict[Rule, str] = {
    _convolution: "convolution",
    _linear: "linear",
    _addition: "addition",
    _average_pool: "pool",
    _max_pool: "pool",
}
"""What a rule is about, in words."""


def kind_of(target: Any) -> str | None:
    """The kind of an operator that ``RULES`` knows: convolution, linear, addition or pool."""
    rule = RULES.get(target)
    return None if rule is None else KINDS[rule]


class EdgeQuantizer(Quantizer):
    """Annotates a captured graph by ``RULES``.

    Args:
        stays_float: says of a node that it stays in float although there is a rule for it
            (``quantize.float_blocks``).
    """

    def __init__(self, stays_float: Callable[[fx.Node], bool] | None = None) -> None:
        super().__init__()
        self._stays_float = stays_float or (lambda node: False)

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Marks the nodes that run in int8 (in place) and returns the graph."""
        for node in model.graph.nodes:
            rule = RULES.get(node.target) if node.op == "call_function" else None
            annotation = rule(node, model) if rule and not self._stays_float(node) else None
            if annotation is not None:
                node.meta["quantization_annotation"] = annotation
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Nothing to refuse: an operator without a rule stays float."""
