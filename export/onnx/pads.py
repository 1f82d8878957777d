"""Zero padding as a part of the convolution that reads it: ``Pad -> Conv`` becomes ``Conv``.

TF-style "SAME" networks pad one row and column more at the end than at the start. PyTorch's
convolutions cannot express that, so these networks call ``F.pad``; ONNX's can. A Pad before a
quantizer hides it from the convolution before, which onnxruntime then leaves in float. Quantizers
map 0 to 0 exactly, whatever their zero point, so padding before or after them is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, helper

from export.onnx.graph import QUANTIZERS, GraphView, attribute, remove_unused

SPATIAL = 2  # the first axis that a convolution can pad, after batch and channels


def fold_pads(model: ModelProto) -> None:
    """Moves zero padding of rows and columns into the convolutions behind it, in place.

    A Pad stays for readers other than convolutions, and with other values, axes or modes.
    """
    view = GraphView(model)
    for node in reversed(model.graph.node):  # of two Pads in a row, the second goes first
        amounts = _zeros_around(view, node) if node.op_type == "Pad" else None
        if amounts is None:
            continue
        for user in list(view.consumers.get(node.output[0], [])):
            readers = list(_readers(view, user, node.output[0]))
            if readers and all(_can_pad(reader, name) for reader, name in readers):
                for reader, _ in readers:
                    _add_pads(reader, amounts)
                user.input[0] = node.input[0]
                view.consumers[node.output[0]].remove(user)
                view.consumers[node.input[0]].append(user)
    remove_unused(model)


def _zeros_around(view: GraphView, node: NodeProto) -> list[int] | None:
    """Zeros that a Pad adds to the spatial axes, starts before ends; None if it does more."""
    amounts = view.optional_constant(node, 1)
    has_value, has_axes = (len(node.input) > place and node.input[place] for place in (2, 3))
    value = view.optional_constant(node, 2) if has_value else np.zeros(1)
    mode = attribute(node, "mode", b"constant")
    if amounts is None or value is None or has_axes or value.any() or mode != b"constant":
        return None
    counts = [int(count) for count in amounts]
    starts, ends = counts[: len(counts) // 2], counts[len(counts) // 2 :]
    is_spatial = not any(starts[:SPATIAL] + ends[:SPATIAL])
    return starts[SPATIAL:] + ends[SPATIAL:] if is_spatial and min(counts) >= 0 else None


def _readers(view: GraphView, user: NodeProto, name: str) -> Iterator[tuple[NodeProto, str]]:
    """The node that reads a tensor, or those that read it dequantized, with the tensor's name."""
    if user.op_type not in QUANTIZERS:
        yield user, name
        return
    for reader in view.consumers.get(user.output[0], []):
        yield from _readers(view, reader, user.output[0])


def _can_pad(node: NodeProto, name: str) -> bool:
    """Whether a node is a convolution of the tensor with explicit padding."""
    is_explicit = attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
    return node.op_type == "Conv" and list(node.input).index(name) == 0 and is_explicit


def _add_pads(node: NodeProto, amounts: list[int]) -> None:
    own = attribute(node, "pads", [0] * len(amounts))
    total = [count + more for count, more in zip(own, amounts, strict=True)]
    kept = [entry for entry in node.attribute if entry.name != "pads"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", total)])
