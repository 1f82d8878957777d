"""Blocks of int8 operators, and ``quantize.float_blocks``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import images, quantized, settled, student

from compress.engine.errors import ConfigError
from compress.quantize.artifact import QuantizeArtifact
from compress.quantize.blocks import (
    Block,
    Operator,
    blocks_of,
    check_entries,
    is_covered,
    operators_of,
)
from compress.quantize.graph import PreparedStudent, load_prepared, prepare
from compress.quantize.scales import fake_quantizers

SPLIT = {
    "resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4", "head"],
    "mobilenetv4_conv_small": [
        "conv_stem",
        *(f"blocks.{i}" for i in range(5)),
        "conv_head",
        "head",
    ],
    "efficientnet_b0": ["conv_stem", *(f"blocks.{i}" for i in range(7)), "conv_head", "head"],
    "petal_cnn": [*(f"layers.{i}" for i in range(0, 18, 3)), "proj"],
}


def prepared(arch: str, size: int = 32) -> PreparedStudent:
    return prepare(student(arch, size), torch.zeros(2, 3, size, size))


@pytest.mark.parametrize("arch", sorted(SPLIT))
def test_blocks_are_the_stages_of_the_network(arch: str) -> None:
    operators = operators_of(prepared(arch).graph)
    blocks = blocks_of(operators)
    assert [block.name for block in blocks] == SPLIT[arch]
    dealt = [operator.name for block in blocks for operator in block.operators]
    assert sorted(dealt) == sorted(operator.name for operator in operators) and len(
        set(dealt)
    ) == len(dealt)
    for block in blocks:  # what a user has to name finds these operators and no others
        named = {operator.name for operator in operators if is_covered(block.paths, operator.path)}
        assert named == {operator.name for operator in block.operators}
        assert any(operator.weight for operator in block.operators)


@pytest.mark.parametrize("limit", [2, 3, 5, 8])
def test_no_more_blocks_than_asked_for(limit: int) -> None:
    operators = operators_of(prepared("efficientnet_b0").graph)
    blocks = blocks_of(operators, limit)
    assert 2 <= len(blocks) <= limit
    assert sum(len(block.operators) for block in blocks) == len(operators)


def test_too_few_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few blocks"):
        blocks_of([], 1)


def test_neighbors_are_joined_when_children_are_too_many() -> None:
    operators = [Operator(f"op{i}", f"blocks.{i}.conv", "convolution", "w") for i in range(12)]
    blocks = blocks_of([*operators, Operator("last", "head", "linear", "w")], 5)
    assert [block.name for block in blocks] == [
        "blocks.0-2",
        "blocks.3-5",
        "blocks.6-8",
        "blocks.9-11",
        "head",
    ]
    assert blocks[0].paths == ("blocks.0", "blocks.1", "blocks.2")


def test_a_block_whose_own_forward_adds_is_not_cut() -> None:
    """Its addition could not be named without naming its children too."""
    inner = [Operator(f"c{i}", f"unit.conv{i}", "convolution", "w") for i in range(5)]
    blocks = blocks_of(
        [*inner, Operator("add", "unit", "addition"), Operator("fc", "head", "linear", "w")]
    )
    assert [block.name for block in blocks] == ["unit", "head"]


@pytest.mark.parametrize(
    ("entry", "path", "inside"),
    [
        ("layer1", "layer1.0.conv1", True),
        ("layer1", "layer10.conv", False),
        ("layer1.0", "layer1.0", True),
        ("trunk.layer1", "layer1.0.conv1", True),
        ("trunk", "layer1.0.conv1", False),
        ("trunk", "trunk", True),
    ],
)
def test_a_name_covers_a_module_and_what_is_in_it(entry: str, path: str, inside: bool) -> None:
    assert is_covered([entry], path) is inside


def test_a_name_that_leaves_nothing_in_float_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="layer4"):
        check_entries(["layre4"], ["layer4.0.conv1", "head"])
    with pytest.raises(ConfigError, match="nothing to quantize"):
        check_entries(["layer4", "head"], ["layer4.0.conv1", "head"])
    with pytest.raises(ConfigError, match="names nothing"):
        prepare(student("petal_cnn", 32), torch.zeros(2, 3, 32, 32), ["layer9"])


@pytest.mark.parametrize(
    ("arch", "names"), [("resnet18", ("layer2", "head")), ("petal_cnn", ("layers.0", "trunk"))]
)
def test_named_blocks_have_no_quantizers(arch: str, names: tuple[str, ...]) -> None:
    model = settled(student(arch, 32))
    whole, mixed = prepare(model, images(2)), prepare(model, images(2), names)
    all_operators = operators_of(whole.graph)
    expected = [operator.path for operator in all_operators if not is_covered(names, operator.path)]
    assert 0 < len(expected) < len(all_operators)
    assert [operator.path for operator in operators_of(mixed.graph)] == expected
    assert len(fake_quantizers(mixed)) < len(fake_quantizers(whole))


def test_float_blocks_travel_with_the_stored_state(tmp_path: Path) -> None:
    model = settled(student("petal_cnn", 32))
    made = prepare(model, images(2), ["layers.0"])
    made(images(8))
    artifact = QuantizeArtifact(tmp_path)
    artifact.write(made.state_dict(), {"input_size": 32, "float_blocks": ["layers.0"]}, [], [])
    loaded = load_prepared(model, artifact)
    everywhere = len(fake_quantizers(quantized(model)))
    assert len(fake_quantizers(loaded)) == len(fake_quantizers(made)) < everywhere
    with torch.no_grad():
        assert torch.equal(loaded(images(4)), made(images(4)))


def test_blocks_keep_their_order() -> None:
    blocks: list[Block] = blocks_of(operators_of(prepared("resnet18").graph))
    order = [operator.name for operator in operators_of(prepared("resnet18").graph)]
    starts = [order.index(block.operators[0].name) for block in blocks]
    assert starts == sorted(starts)
