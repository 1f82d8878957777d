"""A student as a graph: capture, fold batch norms -> prepare (fake quantizers) -> calibrate, train
-> convert to int8.

The graph is captured in inference mode with a free batch size, so it holds no dropout, no
stochastic depth and no
batch statistics: training it means training exactly the function that ships. It has no train/eval
    modes to switch
either; ``PreparedStudent`` makes those calls harmless.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from compress.engine.errors import ExportError

STATE_FILE = "prepared.safetensors"


class PreparedStudent(nn.Module):
    """A graph with fake quantizers: ``images (B, 3, S, S) -> logits (B, K)``, trainable like any
    module.

    ``train()`` and ``eval()`` do nothing: a captured graph refuses them, and this one computes the
    same in both.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> Tensor:
        return self.graph(images)

    def train(self, mode: bool = True) -> PreparedStudent:
        return self


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silences the exporters' progress talk and deprecation notes; errors still raise."""
    loggers = [
        logging.getLogger(name)
        for name in ("torch.onnx", "torch.export", "torchao", "onnxscript", "onnx_ir")
    ]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def fold_batch_norms(graph: GraphModule) -> None:
    """Folds every batch norm that follows a convolution or a linear layer into it, in place.

    The only use of torchao's private pass. Its training-mode rewrite hard-codes eps 1e-5 (wrong for
    timm's ``tf_*`` nets) and ``torch.fx``'s fusion does not see timm's ``BatchNormAct2d``; folding
    before preparing avoids both.
    """
    from torchao.quantization.pt2e.utils import _fuse_conv_bn_

    _fuse_conv_bn_(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    graph.requires_grad_(
        True
    )  # a bias that folding made for a convolution without one would not be trained


def drop_dropouts(graph: GraphModule) -> None:
    """Removes the switched-off dropouts of an inference graph, in place."""
    for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten.dropout.default):
        node.replace_all_uses_with(node.args[0])
        graph.graph.erase_node(node)
    graph.recompile()


def capture(model: nn.Module, example: Tensor) -> GraphModule:
    """The inference graph of ``model`` with batch norms folded; ``model`` itself is not changed.

    Args:
        model: ``(B, 3, S, S) -> (B, K)``; a ``reparameterize`` step (RepVGG, MobileOne, FastViT) is
            taken first.
        example: ``(B, 3, S, S)`` float32; only its shape matters.

    Raises:
        ExportError: when torch.export cannot capture the model.
    """
    twin = copy.deepcopy(model).cpu().float().eval()
    for module in twin.modules():
        step = getattr(module, "reparameterize", None)
        if callable(step):
            step()
    shape = torch.zeros(
        (2, *example.shape[1:]), dtype=torch.float32
    )  # batch 1 would be specialized
    try:
        with quiet_exporter():
            batch = torch.export.Dim("batch", min=1)
            graph = torch.export.export(twin, (shape,), dynamic_shapes=({0: batch},)).module()
    except Exception as error:
        raise ExportError(
            f"{type(model).__name__} cannot be captured as a graph",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="a model whose forward has no data-dependent control flow",
            remedy="choose another student: --student (compress list students)",
        ) from error
    assert isinstance(graph, GraphModule)
    drop_dropouts(graph)
    fold_batch_norms(graph)
    return graph


def prepare(
    student: nn.Module, example: Tensor, float_blocks: Sequence[str] = ()
) -> PreparedStudent:
    """The student with fake quantizers inserted: observers on, fake quantization on, not yet
    calibrated.

    Args:
        float_blocks: modules whose operators stay in float ("layer4", "blocks.5.0", "head"), see
            ``blocks.py``.

    Raises:
        ExportError: when torch.export cannot capture the model.
        ConfigError: a name of ``float_blocks`` that leaves nothing in float.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    from compress.quantize.blocks import check_entries, is_covered, path_of
    from compress.quantize.quantizer import RULES, EdgeQuantizer

    graph = capture(student, example)
    check_entries(
        float_blocks, [path_of(node) for node in graph.graph.nodes if node.target in RULES]
    )
    with quiet_exporter():
        quantizer = EdgeQuantizer(lambda node: is_covered(float_blocks, path_of(node)))
        return PreparedStudent(prepare_qat_pt2e(graph, quantizer))


def fake_quantizers(model: nn.Module) -> list[nn.Module]:
    """Every fake quantizer, in graph order."""
    from torchao.quantization.pt2e import FakeQuantize

    return [module for module in model.modules() if isinstance(module, FakeQuantize)]


def set_observers(model: nn.Module, *, observe: bool, quantize: bool) -> None:
    """Switches range observation and rounding of every fake quantizer; both states are saved with
    the weights.
    """
    for module in fake_quantizers(model):
        module.observer_enabled[0] = int(observe)  # type: ignore[index, operator]
        module.fake_quant_enabled[0] = int(quantize)  # type: ignore[index, operator]


def set_averaging(model: nn.Module, constant: float) -> None:
    """Weight of the newest batch in each activation's running range (weights always use their
    current range).
    """
    for module in fake_quantizers(model):
        if not module.is_per_channel:
            module.activation_post_process.averaging_constant = constant  # type: ignore[union-attr]


def convert(prepared: PreparedStudent) -> GraphModule:
    """The real int8 graph: weights stored as int8, quantize/dequantize pairs on activations.
    ``prepared`` is kept.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    with quiet_exporter():
        return convert_pt2e(copy.deepcopy(prepared.graph))


def save_prepared(prepared: PreparedStudent, folder: Path) -> None:
    """Writes weights, ranges and observer states as safetensors."""
    from safetensors.torch import save_file

    state = {
        name: value.detach().clone().contiguous() for name, value in prepared.state_dict().items()
    }
    save_file(state, folder / STATE_FILE)


def load_prepared(student: nn.Module, folder: Path) -> PreparedStudent:
    """The prepared graph that the quantize stage stored in ``folder``.

    Args:
        student: the float student it was made from (its architecture is captured again; its weights
            are replaced).
        folder: a finished quantize stage.

    Raises:
        ExportError: when the stored state does not fit this student.
    """
    from safetensors.torch import load_file

    facts = json.loads((folder / "quantize.json").read_text())
    example = torch.zeros((2, 3, facts["input_size"], facts["input_size"]))
    prepared = prepare(student, example, facts.get("float_blocks", ()))
    state = load_file(folder / STATE_FILE)
    try:
        prepared.load_state_dict(state)
    except RuntimeError as error:
        raise ExportError(
            f"{STATE_FILE} does not belong to this student",
            got=str(error).splitlines()[-1].strip(),
            expected="the state that the quantize stage made from the same student",
            remedy="remake it: compress clean, then compress build",
        ) from error
    return prepared
