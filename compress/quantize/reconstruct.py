"""Weights rounded layer by layer, so that each layer's outputs stay those of the float student.

Rounding each weight to the nearest step ignores what the layers before have done to its inputs.
Here every convolution and linear layer is fitted in the order of the graph, on calibration images:
with X its float inputs and Q those that the rounded layers before it give,

    W' = argmin |W' Q - W X|² + λ |W' - W|²

takes back all errors of weights and activations so far that a linear map can take back. W' is then
rounded column by column, and the error of each column is spread over the columns that are still
free (GPTQ: Frantar et al., ICLR 2023, algorithm 1). The bias makes the means equal, as the
correction of biases does (Nagel et al., ICCV 2019, section 4.2).

λ is ``RIDGE + columns / samples`` times the mean square of an input: a layer that sees few samples
stays near its trained weights.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.nn import functional
from torchao.quantization.pt2e import FakeQuantize

from compress.engine.progress import SILENT, Task
from compress.quantize.graph import PreparedStudent
from compress.quantize.scales import finer, set_observers

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv2d.default, aten.conv2d.padding)
RIDGE = 0.01
SAMPLES = 20_000  # columns of a layer's inputs: further ones change its covariance by little
# Of the images at most: all values of a layer are in memory at once, 2.5 GB for EfficientNet-Lite0.
# In a trial on CIFAR-10 16, 32, 64 and 128 images left 0.072, 0.072, 0.067 and 0.064 of the spread.
PIXELS = 32 * 224**2
BLOCK = 128  # columns whose errors go to all later ones at once


@dataclass(frozen=True)
class Layer:
    """A convolution or a linear layer whose weights are rounded."""

    name: str  # of its weight in the graph's state
    weight: nn.Parameter  # (O, I / groups, kernel, kernel); of a linear layer (O, I)
    bias: nn.Parameter | None
    quantizer: FakeQuantize  # of the weight
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, right, top, bottom
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    offset: str | None = None  # the name of its bias

    def columns(self, inputs: Tensor, places: Tensor, width: int) -> Tensor:
        """What the weights of an output meet at some places of the maps: ``(G, D, N * P)``.

        Args:
            inputs: ``(N, C, H, W)``.
            places: ``(P,)`` of the output's positions, row by row, in maps of ``width``.
        """
        kernel = self.weight.shape[2:]
        padded = functional.pad(inputs, self.padding) if any(self.padding) else inputs
        row, column = places // width * self.stride[0], places % width * self.stride[1]
        rows = row[:, None] + torch.arange(kernel[0]) * self.dilation[0]
        wide = column[:, None] + torch.arange(kernel[1]) * self.dilation[1]
        found = padded[:, :, rows[:, :, None], wide[:, None, :]]  # (N, C, P, k, k)
        images, channels, count = found.shape[:3]
        found = found.reshape(images, self.groups, channels // self.groups, count, -1)
        return found.permute(1, 2, 4, 0, 3).reshape(self.groups, -1, images * count)


@torch.no_grad()
def reconstruct(
    prepared: PreparedStudent, images: Tensor, task: Task = SILENT
) -> dict[str, Tensor]:
    """Fits and rounds the weights of all layers in place.

    Args:
        prepared: calibrated; observers are off afterwards, rounding is on.
        images: ``(n, 3, S, S)`` float32, normalized; the first of them are used.
        task: told of every layer.

    Returns: the fitted weights and biases before they were rounded, by their names in the graph.
    """
    set_observers(prepared, observe=False, quantize=True)
    images = images[: max(1, PIXELS // (images.shape[-1] * images.shape[-2]))]
    with finer(prepared):
        return _reconstruct(prepared.graph, images, task)


def _reconstruct(graph: GraphModule, images: Tensor, task: Task) -> dict[str, Tensor]:
    fitted: dict[str, Tensor] = {}
    exact: dict[Node, Any] = {}
    rounded: dict[Node, Any] = {}
    for node, last in _in_order(graph):
        if node.op == "placeholder":
            exact[node] = rounded[node] = images
        elif node.op == "get_attr":
            exact[node] = rounded[node] = _attribute(graph, node)
        elif node.op == "call_module" and node.all_input_nodes:
            quantizer, source = graph.get_submodule(str(node.target)), node.all_input_nodes[0]
            exact[node], rounded[node] = exact[source], quantizer(rounded[source])
        elif node.op == "call_function":
            exact[node] = _called(node, exact)
            layer = layer_of(graph, node)
            if layer is not None:
                source, weight = node.all_input_nodes[:2]
                fitted |= fit_layer(layer, rounded[source], exact[node])
                rounded[weight] = layer.quantizer(layer.weight)
                task.advance()
            rounded[node] = _called(node, rounded)
        for done in last:
            exact.pop(done, None)
            rounded.pop(done, None)
    return fitted


def layers_of(prepared: PreparedStudent) -> list[Layer]:
    """The layers of a prepared student that can be fitted."""
    found = [layer_of(prepared.graph, node) for node in prepared.graph.graph.nodes]
    return [layer for layer in found if layer is not None]


def layer_of(graph: GraphModule, node: Node) -> Layer | None:
    """The layer that a node computes; None if its weights stay float or are nobody's alone."""
    if node.target not in (*CONVOLUTIONS, aten.linear.default):
        return None
    quantizer, name = _weight_of(graph, node.args[1])
    if quantizer is None:
        return None
    bias = node.args[2] if len(node.args) > 2 else None
    offset = str(bias.target) if isinstance(bias, Node) and bias.op == "get_attr" else None
    if bias is not None and offset is None:
        return None
    weight = graph.get_parameter(name)
    shift = None if offset is None else graph.get_parameter(offset)
    if node.target is aten.linear.default:
        return Layer(name, weight, shift, quantizer, offset=offset)
    names = ("stride", "padding", "dilation", "groups")
    given: dict[str, Any] = dict(zip(names, node.args[3:], strict=False))
    kernel = weight.shape[2:]
    stride, dilation = _pair(given.get("stride", 1)), _pair(given.get("dilation", 1))
    padding = _padding(given.get("padding", 0), kernel, dilation)
    groups = int(given.get("groups", 1))
    return Layer(name, weight, shift, quantizer, stride, padding, dilation, groups, offset)


def _weight_of(graph: GraphModule, node: object) -> tuple[FakeQuantize, str] | tuple[None, str]:
    """The quantizer of a weight and the name of the weight, which no other node reads."""
    if isinstance(node, Node) and node.op == "call_module":
        quantizer = graph.get_submodule(str(node.target))
        source = node.all_input_nodes[0]
        alone = source.op == "get_attr" and len(source.users) == len(node.users) == 1
        if alone and isinstance(quantizer, FakeQuantize):
            return quantizer, str(source.target)
    return None, ""


def _attribute(graph: GraphModule, node: Node) -> Any:
    """A parameter or a constant of the graph."""
    return operator.attrgetter(str(node.target))(graph)


def _pair(value: Any) -> tuple[int, int]:
    both = [value] if isinstance(value, int) else list(value)
    return int(both[0]), int(both[-1])


def _padding(
    given: Any, kernel: Sequence[int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Zeros left, right, above and below, as `torch.nn.functional.pad` takes them."""
    if given == "same":  # of stride 1 alone; an odd one more stands behind
        needed = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        (top, left), (bottom, right) = [n // 2 for n in needed], [n - n // 2 for n in needed]
        return left, right, top, bottom
    high, wide = (0, 0) if given == "valid" else _pair(given)
    return wide, wide, high, high


def _in_order(graph: GraphModule) -> Iterator[tuple[Node, list[Node]]]:
    """Each node, and those that nobody reads after it."""
    last = {source: node for node in graph.graph.nodes for source in node.all_input_nodes}
    done: dict[Node, list[Node]] = {}
    for source, node in last.items():
        done.setdefault(node, []).append(source)
    for node in graph.graph.nodes:
        yield node, done.get(node, [])


def _called(node: Node, values: Mapping[Node, Any]) -> Any:
    """What an operator gives for values of its inputs."""
    function: Callable[..., Any] = node.target  # type: ignore[assignment]
    args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
    return function(*args, **kwargs)


def fit_layer(layer: Layer, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Sets weight, scale and bias of a layer so that rounded inputs give its float outputs.

    Args:
        inputs: ``(N, C, H, W)`` or ``(..., C)`` as the layer gets them.
        outputs: ``(N, O, H', W')`` or ``(..., O)`` as it should give them.

    Returns: weight and bias, fitted and not rounded, by their names.
    """
    columns, wanted = _samples(layer, inputs, outputs)
    weight = layer.weight.reshape(layer.groups, -1, columns.shape[1]).double()
    columns, wanted = columns.double(), wanted.double()
    means = (columns.mean(2), wanted.mean(1))
    if layer.bias is not None:
        columns, wanted = columns - means[0][:, :, None], wanted - means[1][:, None]
    samples = columns.shape[2]
    gram = columns @ columns.transpose(1, 2) / samples
    level = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    ridge = level * (RIDGE + columns.shape[1] / samples)
    gram += ridge[:, None, None] * torch.eye(columns.shape[1], dtype=gram.dtype)
    missing = wanted.transpose(1, 2) - weight @ columns
    weight = weight + torch.linalg.solve(gram, (missing @ columns.transpose(1, 2) / samples).mT).mT
    fitted = _set(layer, weight, means)
    scale = _observed_scale(layer).double().reshape(layer.groups, -1)
    _set(layer, rounded_columns(weight, gram, scale, int(layer.quantizer.quant_max)), means)
    return fitted


def _set(layer: Layer, weight: Tensor, means: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Sets a weight ``(G, O, D)`` and the bias that makes the means equal; copies of both."""
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    found = {layer.name: layer.weight.detach().clone()}
    if layer.bias is not None and layer.offset is not None:
        layer.bias.copy_((means[1] - (weight @ means[0][:, :, None])[:, :, 0]).reshape(-1))
        found[layer.offset] = layer.bias.detach().clone()
    return found


def _samples(layer: Layer, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Some of a layer's inputs ``(G, D, M)`` and outputs ``(G, M, O / G)``."""
    draw = torch.Generator().manual_seed(0)
    if layer.weight.ndim == 2:
        rows, answers = inputs.reshape(-1, inputs.shape[-1]), outputs.reshape(-1, outputs.shape[-1])
        order = torch.randperm(len(rows), generator=draw)[:SAMPLES]
        return rows[order].T[None], answers[order][None]
    order = torch.randperm(outputs.shape[2] * outputs.shape[3], generator=draw)
    order = order[: max(1, SAMPLES // len(outputs))]
    answers = outputs[:, :, order // outputs.shape[3], order % outputs.shape[3]]  # (N, O, P)
    answers = answers.reshape(len(answers), layer.groups, -1, len(order))
    answers = answers.permute(1, 0, 3, 2).reshape(layer.groups, -1, answers.shape[2])
    return layer.columns(inputs, order, outputs.shape[3]), answers


def _observed_scale(layer: Layer) -> Tensor:
    """The scale of the current weight; that of later ones, too."""
    quantizer = layer.quantizer
    quantizer.observer_enabled[0] = 1
    quantizer(layer.weight)
    quantizer.observer_enabled[0] = 0
    scale: Tensor = quantizer.scale
    return scale


def rounded_columns(weight: Tensor, gram: Tensor, scale: Tensor, limit: int) -> Tensor:
    """The weights on their grid, with little change of what they make of their inputs.

    Args:
        weight: ``(G, O, D)``.
        gram: ``(G, D, D)``, positive definite: the covariance of the inputs.
        scale: ``(G, O)``, a step of each output's weights.
        limit: steps at most, either way.
    """
    factor = torch.linalg.cholesky(torch.linalg.inv(gram), upper=True)
    left, found = weight.clone(), torch.empty_like(weight)
    errors = torch.empty_like(weight)
    for start in range(0, weight.shape[2], BLOCK):
        end = min(start + BLOCK, weight.shape[2])
        for index in range(start, end):
            column = left[:, :, index]
            found[:, :, index] = (column / scale).round().clamp(-limit, limit) * scale
            error = (column - found[:, :, index]) / factor[:, index, index, None]
            errors[:, :, index] = error
            left[:, :, index + 1 : end] -= (
                error[:, :, None] * factor[:, None, index, index + 1 : end]
            )
        left[:, :, end:] -= errors[:, :, start:end] @ factor[:, start:end, end:]
    return found
