"""A student as a graph: capture and fold batch norms, prepare, (calibrate, train,) convert to int8.

The graph is captured in inference mode with a free batch size, so it holds no dropout, stochastic
depth or batch statistics: training it trains exactly the function that ships.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from compress.engine.errors import ExportError
from compress.engine.frozen import quiet_exporter
from compress.quantize.artifact import STATE, QuantizeArtifact

aten = torch.ops.aten
DROPOUTS = {  # identities in inference mode
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    aten.feature_dropout_.default,
    aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
}


class PreparedStudent(nn.Module):
    """A trainable graph with fake quantizers: ``images (B, 3, S, S) -> logits (B, K)``.

    ``train()`` and ``eval()`` do nothing: a captured graph refuses them and has no such modes.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> Tensor:
        return self.graph(images)

    def train(self, mode: bool = True) -> PreparedStudent:
        return self


def reparameterized(model: nn.Module) -> nn.Module:
    """A float copy for inference, the branches of RepVGG, MobileOne or FastViT joined into one."""
    twin = copy.deepcopy(model).cpu().float().eval()
    for module in twin.modules():
        step = getattr(module, "reparameterize", None)
        if callable(step):
            step()
    return twin


def capture(model: nn.Module, example: Tensor) -> GraphModule:
    """The inference graph of ``model`` without dropouts, batch norms folded into their layers.

    torchao's pass is private, but its training-mode rewrite hard-codes eps 1e-5 (wrong for timm's
    ``tf_*`` nets) and ``torch.fx``'s fusion does not see timm's ``BatchNormAct2d``.

    A ``reparameterized`` copy is captured; of ``example (B, 3, S, S)`` only the shape matters.
    ExportError if torch.export refuses.
    """
    from torchao.quantization.pt2e.utils import _fuse_conv_bn_

    twin = reparameterized(model)
    images = torch.zeros((2, *example.shape[1:]))  # a batch of 1 would be specialized
    try:
        with quiet_exporter(twin):
            batch = torch.export.Dim("batch", min=1)
            graph = torch.export.export(twin, (images,), dynamic_shapes=({0: batch},)).module()
    except Exception as error:
        raise ExportError(
            f"{type(model).__name__} cannot be captured as a graph",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="a model whose forward has no data-dependent control flow",
            remedy="choose another student: --student (compress list students)",
        ) from error
    assert isinstance(graph, GraphModule)
    for node in graph.graph.nodes:
        if node.target in DROPOUTS:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    _fuse_conv_bn_(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    graph.requires_grad_(True)  # else a bias that folding adds to a convolution stays untrained
    return graph


def prepare(
    student: nn.Module, example: Tensor, float_blocks: Sequence[str] = ()
) -> PreparedStudent:
    """The student with fake quantizers: observers and rounding on, not yet calibrated.

    Operators of the modules in ``float_blocks`` ("layer4", "blocks.5.0", "head") stay float.
    ConfigError if one holds none, or together they hold all.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    from compress.quantize.blocks import check_entries, is_covered, path_of
    from compress.quantize.quantizer import RULES, EdgeQuantizer

    graph = capture(student, example)
    paths = [path_of(node) for node in graph.graph.nodes if node.target in RULES]
    check_entries(float_blocks, paths)
    with quiet_exporter():
        quantizer = EdgeQuantizer(lambda node: is_covered(float_blocks, path_of(node)))
        return PreparedStudent(prepare_qat_pt2e(graph, quantizer))


def head_of(graph: GraphModule) -> Node | None:
    """The last linear layer before the logits, which a cosine head scales; None without one."""
    output = next(node for node in graph.graph.nodes if node.op == "output")
    waiting: list[Node] = [output]
    seen = {output}
    while waiting:
        node = waiting.pop(0)
        if node.target is aten.linear.default:
            return node
        new = [source for source in node.all_input_nodes if source not in seen]
        waiting += new
        seen.update(new)
    return None


def convert(prepared: PreparedStudent) -> GraphModule:
    """The int8 graph of a copy: int8 weights, quantize/dequantize pairs on activations."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    with quiet_exporter():
        return convert_pt2e(copy.deepcopy(prepared.graph))


def load_prepared(student: nn.Module, artifact: QuantizeArtifact) -> PreparedStudent:
    """The prepared graph of a finished quantize stage; ExportError if of another student."""
    example = torch.zeros((2, 3, artifact.input_size, artifact.input_size))
    prepared = prepare(student, example, artifact.float_blocks)
    try:
        prepared.load_state_dict(artifact.state())
    except RuntimeError as error:
        raise ExportError(
            f"{STATE} does not belong to this student",
            got=str(error).splitlines()[-1].strip(),
            remedy="remake it: compress clean, then compress build",
        ) from error
    return prepared
