"""Blocks of a student: its int8 operators, grouped by place in the network (stem, stages, head).

An operator belongs to the module whose ``forward`` calls it, so blocks carry timm's names
(``conv_stem``, ``blocks.3``, ``layer4``, ``head``), which ``quantize.float_blocks`` takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import GraphModule, Node

from compress.engine.errors import ConfigError, nearest
from compress.quantize.quantizer import RULES

BLOCKS = 10  # at most: enough for the stages of common students, few enough to time each
MAX_SHARE = 0.5  # of the operators; a larger block is cut, e.g. the trunk into its stages
TRUNK = "trunk"


@dataclass(frozen=True)
class Operator:
    """An operator that runs in int8."""

    name: str  # of its node in the captured graph
    path: str  # see `path_of`
    kind: str  # convolution, linear, addition or pool
    weight: str | None = None  # name of its weights in the graph's state, None without any
    bias: str | None = None


@dataclass(frozen=True)
class Block:
    """Operators that are quantized, or left in float, together."""

    name: str  # as shown to users
    paths: tuple[str, ...]  # its entries in ``quantize.float_blocks``
    operators: tuple[Operator, ...]  # in the order of the graph


def path_of(node: Node) -> str:
    """The module whose forward calls ``node``, without "trunk."; "trunk" for the trunk's own."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    path = re.sub(r"@\d+", "", path)  # "@1": the second call of a module
    return path.removeprefix(f"{TRUNK}.") or TRUNK


def operators_of(graph: GraphModule) -> list[Operator]:
    """The operators that the quantizer annotated in a prepared graph, in order."""
    operators = []
    for node in graph.graph.nodes:
        rule = RULES.get(node.target) if "quantization_annotation" in node.meta else None
        if rule is not None:
            source: Any = node.args[1] if rule.weighted else None
            while source is not None and source.op == "call_module":  # its fake quantizer
                source = source.args[0]
            weight = None if source is None else str(source.target)
            offset: Any = node.args[2] if rule.weighted and len(node.args) > 2 else None
            bias = str(offset.target) if offset is not None and offset.op == "get_attr" else None
            operators.append(Operator(node.name, path_of(node), rule.kind, weight, bias))
    return operators


def is_covered(entries: Iterable[str], path: str) -> bool:
    """Whether a module of ``entries`` is, or holds, that at ``path``; "trunk" holds none."""
    names = (entry.removeprefix(f"{TRUNK}.") for entry in entries)
    return any(path == name or path.startswith(f"{name}.") for name in names)


def check_entries(entries: Sequence[str], paths: Sequence[str]) -> None:
    """Raises ConfigError for ``quantize.float_blocks`` that cover all operators, or for one none.

    ``paths`` are those of all operators that may run in int8.
    """
    if paths and all(is_covered(entries, path) for path in paths):
        what = "quantize.float_blocks leaves nothing to quantize"
        raise ConfigError(what, got=", ".join(entries), remedy="ship fp32 instead")
    known = {".".join(path.split(".")[:depth]) for path in paths for depth in range(1, 9)}
    for entry in entries:
        if not any(is_covered([entry], path) for path in paths):
            what = "quantize.float_blocks names nothing that would run in int8"
            remedy = nearest(entry.removeprefix(f"{TRUNK}."), known)
            raise ConfigError(what, got=repr(entry), remedy=remedy)


def blocks_of(operators: Sequence[Operator], limit: int = BLOCKS) -> list[Block]:
    """Cuts a student into at most ``limit`` blocks, in the order of the graph.

    First by the modules of the first level; then the largest block is cut into its children while
    it holds more than ``MAX_SHARE`` of the operators. Too many children are joined into runs of
    neighbors. Blocks without weights (pooling) join the next one. ConfigError for a limit below 2.
    """
    if limit < 2:
        raise ConfigError("too few blocks", got=limit, expected="at least 2", remedy="--blocks 8")
    blocks = _children("", operators)
    final: set[str] = set()  # cannot be cut, or not within the limit
    while True:
        open_blocks = [block for block in blocks if block.name not in final]
        large = max(open_blocks, key=lambda block: len(block.operators), default=None)
        if large is None or len(large.operators) <= MAX_SHARE * len(operators):
            break
        at = blocks.index(large)
        room = limit - len(_weighted(blocks)) + 1
        parts = _cut(large)
        if parts is None or room < 2:
            final.add(large.name)
            continue
        if len(_weighted(parts)) > room:
            parts = _runs(large.paths[0], _weighted(parts), room)
            final.update(part.name for part in parts)
        blocks[at : at + 1] = parts
    blocks = _weighted(blocks)
    return blocks if len(blocks) <= limit else _runs("", blocks, limit)


def _children(prefix: str, operators: Sequence[Operator]) -> list[Block]:
    """One block per module directly below ``prefix``, in the order of their first operators."""
    depth = prefix.count(".") + 1 if prefix else 0
    members: dict[str, list[Operator]] = {}
    for operator in operators:
        members.setdefault(".".join(operator.path.split(".")[: depth + 1]), []).append(operator)
    return [Block(path, (path,), tuple(group)) for path, group in members.items()]


def _cut(block: Block) -> list[Block] | None:
    """The children of a block; None if its own forward holds an operator, which no child names."""
    if len(block.paths) != 1:
        return None
    path = block.paths[0]
    while True:
        if any(operator.path == path for operator in block.operators):
            return None
        children = _children(path, block.operators)
        if len(children) > 1:
            return children
        path = children[0].name


def _weighted(blocks: Sequence[Block]) -> list[Block]:
    """The blocks, those without weights joined to the next one, which reads their result."""
    out: list[Block] = []
    waiting: list[Block] = []
    for block in blocks:
        waiting.append(block)
        if any(operator.weight for operator in block.operators):
            out.append(_joined(block.name, waiting))
            waiting = []
    if waiting:
        last = [*out[-1:], *waiting]
        out[-1:] = [_joined(last[0].name, last)]
    return out


def _runs(parent: str, blocks: Sequence[Block], count: int) -> list[Block]:
    """``count`` runs of neighbors with about as many operators each."""
    total = sum(len(block.operators) for block in blocks)
    runs = [[blocks[0]]]
    held = len(blocks[0].operators)
    for position, block in enumerate(blocks[1:], start=1):
        must = len(blocks) - position <= count - len(runs)  # as many blocks left as runs to open
        if len(runs) < count and (must or held >= total * len(runs) / count):
            runs.append([])
        runs[-1].append(block)
        held += len(block.operators)
    return [_joined(_span(parent, run[0].name, run[-1].name), run) for run in runs]


def _span(parent: str, first: str, last: str) -> str:
    """``blocks.2``, ``blocks.4`` -> ``blocks.2-4``; without a common parent ``layer1+layer3``."""
    span = f"{first}-{last.removeprefix(f'{parent}.')}" if parent else f"{first}+{last}"
    return first if first == last else span


def _joined(name: str, blocks: Sequence[Block]) -> Block:
    paths = tuple(path for block in blocks for path in block.paths)
    return Block(name, paths, tuple(op for block in blocks for op in block.operators))
