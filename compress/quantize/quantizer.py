"""Where int8 goes in a graph: one PT2E quantizer for all targets.

Quantize/dequantize pairs stand on the *inputs* of what runs in int8: convolutions, large linear
layers, both sides of a residual addition, and pooling. Everything else (biases, normalization of
features, the cosine head, SiLU and friends) stays float. TensorRT takes this placement as it is,
onnxruntime after a rewrite (``export/onnx``).

A convolution also needs a pair *behind* it: onnxruntime runs one whose result nobody quantizes in
float, and dequantizes its weights on every call. So its result is quantized too where a reader
stays float (SiLU, layer normalization, a small head).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from compress.quantize.scales import ACTIVATION, DEPTHWISE_WEIGHT, WEIGHT

aten = torch.ops.aten
PAD = aten.pad.default
GROUPS = 6  # position of the groups among a convolution's arguments

#: a linear layer with fewer inputs or outputs stays float: little arithmetic, slow int8 kernels
MIN_LINEAR_WIDTH = 16


def _is_float_activation(arg: Any) -> bool:
    """Whether a node carries a float tensor computed from the images (no parameter or constant)."""
    if not isinstance(arg, fx.Node) or arg.op == "get_attr":
        return False
    value = arg.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _shape_of(arg: Any, graph: fx.GraphModule) -> tuple[int, ...]:
    """The shape of a parameter node (O, I, ...); empty if ``arg`` is no parameter."""
    if not isinstance(arg, fx.Node) or arg.op != "get_attr":
        return ()
    return tuple(operator.attrgetter(str(arg.target))(graph).shape)


def _annotate(inputs: dict[Any, Any], output: Any = None) -> QuantizationAnnotation:
    return QuantizationAnnotation(input_qspec_map=inputs, output_qspec=output, _annotated=True)


def _convolution(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    source, weight = node.args[:2]
    shape = _shape_of(weight, graph)
    if not shape:
        return None
    return _annotate({source: ACTIVATION, weight: _weight_spec(node, shape)})


def _weight_spec(node: fx.Node, shape: tuple[int, ...]) -> QuantizationSpec:
    """Of a layer with weights ``(O, I, ...)``: depthwise if it has a group for each output."""
    groups = node.args[GROUPS] if len(node.args) > GROUPS else 1
    depthwise = node.target in CONVOLUTIONS and shape[1] == 1 and groups == shape[0]
    return DEPTHWISE_WEIGHT if depthwise else WEIGHT


def _linear(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    shape = _shape_of(node.args[1], graph)
    return _convolution(node, graph) if shape and min(shape) >= MIN_LINEAR_WIDTH else None


def _addition(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    sides = node.args[:2]
    float_sides = all(_is_float_activation(side) for side in sides)
    return _annotate(dict.fromkeys(sides, ACTIVATION)) if float_sides else None


def _average_pool(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    source: Any = node.args[0]
    on_maps = _is_float_activation(source) and source.meta["val"].ndim == 4
    return _annotate({source: ACTIVATION}) if on_maps else None


def _pads_zeros(node: fx.Node) -> bool:
    mode: Any = node.args[2] if len(node.args) > 2 else "constant"
    return bool(mode == "constant") and (len(node.args) < 4 or node.args[3] in (None, 0))


def _max_pool(node: fx.Node, graph: fx.GraphModule) -> QuantizationAnnotation | None:
    source: Any = node.args[0]
    if source.target is PAD and not _pads_zeros(source):
        return None  # padded with -inf, as in TF-style networks: that has no place on a grid
    # the maximum of quantized values is one of them: the output must share the input's scale
    return _annotate({source: ACTIVATION}, SharedQuantizationSpec((source, node)))


class Rule(NamedTuple):
    """How an operator runs in int8."""

    kind: str  # convolution, linear, addition or pool
    annotate: Callable[[fx.Node, fx.GraphModule], QuantizationAnnotation | None]  # None = float
    weighted: bool = False  # whether its second argument is weights


#: by operator; an operator without a rule stays float
RULES: dict[Any, Rule] = {
    aten.conv1d.default: Rule("convolution", _convolution, weighted=True),
    aten.conv2d.default: Rule("convolution", _convolution, weighted=True),
    aten.conv2d.padding: Rule("convolution", _convolution, weighted=True),
    aten.linear.default: Rule("linear", _linear, weighted=True),
    aten.add.Tensor: Rule("addition", _addition),
    aten.add_.Tensor: Rule("addition", _addition),
    aten.mean.dim: Rule("pool", _average_pool),
    aten.avg_pool2d.default: Rule("pool", _average_pool),
    aten.adaptive_avg_pool2d.default: Rule("pool", _average_pool),
    aten.max_pool2d.default: Rule("pool", _max_pool),
}

CONVOLUTIONS = {target for target, rule in RULES.items() if rule.kind == "convolution"}
#: run as a part of the convolution before them
CLIPS = {
    aten.relu.default,
    aten.relu_.default,
    aten.hardtanh.default,
    aten.hardtanh_.default,
    aten.clamp.default,
    aten.clamp_min.default,
}
#: engines move quantizers from behind these to before them
LAYOUTS = {
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.squeeze.dims,
    aten.permute.default,
    aten.transpose.int,
}


def _is_float_on_purpose(node: fx.Node) -> bool:
    """Whether a layer with weights has no annotation, or the node is the network's output."""
    rule = RULES.get(node.target)
    is_layer = rule is not None and rule.weighted
    return node.op == "output" or (is_layer and "quantization_annotation" not in node.meta)


def _quantizes(user: fx.Node, source: fx.Node) -> bool:
    """Whether a reader quantizes what it reads of ``source``, itself or through its readers."""
    if user.target in LAYOUTS:
        return all(_quantizes(reader, user) for reader in user.users)
    if user.target is PAD:  # export/onnx/pads.py moves it into convolutions, and only there
        readers = [reader for reader in user.users if reader.target in CONVOLUTIONS | {PAD}]
        folds = len(readers) == len(user.users) and _pads_zeros(user)
        return folds and all(_quantizes(one, user) for one in readers)
    annotation = user.meta.get("quantization_annotation")
    return annotation is not None and source in annotation.input_qspec_map


def _quantize_result(convolution: fx.Node) -> None:
    """Annotates the result of a convolution, clipped or not, if a reader would take it as float."""
    end = convolution
    while len(end.users) == 1 and next(iter(end.users)).target in CLIPS:
        end = next(iter(end.users))
    if any(map(_is_float_on_purpose, end.users)):
        return
    if not all(_quantizes(user, end) for user in end.users):
        annotation = end.meta.get("quantization_annotation") or _annotate({})
        annotation.output_qspec = ACTIVATION
        end.meta["quantization_annotation"] = annotation


class EdgeQuantizer(Quantizer):
    """Annotates a captured graph by ``RULES``, except nodes of ``quantize.float_blocks``."""

    def __init__(self, stays_float: Callable[[fx.Node], bool] = lambda node: False) -> None:
        super().__init__()
        self._stays_float = stays_float

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Marks the nodes that run in int8 (in place) and returns the graph."""
        for node in model.graph.nodes:
            rule = RULES.get(node.target) if node.op == "call_function" else None
            if rule and not self._stays_float(node):
                annotation = rule.annotate(node, model)
                if annotation is not None:
                    node.meta["quantization_annotation"] = annotation
        for node in model.graph.nodes:
            if node.target in CONVOLUTIONS and "quantization_annotation" in node.meta:
                _quantize_result(node)
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Refuses nothing: an operator without a rule stays float."""
