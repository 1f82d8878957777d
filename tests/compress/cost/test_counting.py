"""FLOPs by hand, and what the cache keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import nn

from compress.cost import counting
from compress.cost.counting import INPUT_GRADIENT, TRAINING, Counted, counted, measure

SHAPE = (1, 3, 8, 8)


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 1, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


def test_a_small_conv_net_by_hand() -> None:
    with torch.device("meta"):
        net = conv_net()
    found = measure(net, net, torch.zeros(SHAPE, device="meta"))
    first = 2 * 64 * 8 * 3 * 9
    depthwise = 2 * 64 * 8 * 9
    pointwise = 2 * 16 * 16 * 8
    assert found.flops == first + depthwise + pointwise + 2 * 16 * 5
    assert found.params == 8 * 27 + 8 + 8 * 9 + 8 + 16 * 8 + 16 + 16 * 5 + 5
    assert found.width == 5


def test_a_small_transformer_by_hand() -> None:
    """Torch has a fused kernel for this layer on real devices, which no counter sees."""
    tokens, width, hidden = 10, 64, 256
    with torch.device("meta"):
        layer = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True)
        found = measure(layer, layer, torch.zeros(1, tokens, width))
    projections = 4 * 2 * tokens * width * width
    attention = 2 * 2 * tokens * tokens * width
    assert found.flops == projections + attention + 2 * 2 * tokens * width * hidden


def test_backward_passes_cost_what_the_factors_say() -> None:
    """Of a net without grouped convolutions: torch's count of their gradients is wrong."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 5))
        images = torch.zeros(1, 4, 8, 8, requires_grad=True)
        with FlopCounterMode(display=False) as training:
            net(images).sum().backward()
        net.requires_grad_(False)
        with FlopCounterMode(display=False) as frozen:
            net(images).sum().backward()
        forward = measure(net, net, images).flops
    assert training.get_total_flops() == TRAINING * forward
    assert frozen.get_total_flops() == INPUT_GRADIENT * forward


def test_a_count_is_kept_under_all_that_decides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path))
    made: list[int] = []

    def count() -> Counted:
        made.append(1)
        return Counted(7, 3, 2)

    assert counted({"net": "a"}, count) == counted({"net": "a"}, count) == Counted(7, 3, 2)
    assert len(made) == 1
    counted({"net": "b"}, count)
    monkeypatch.setattr(counting, "_versions", lambda: {"torch": "another"})
    counted({"net": "a"}, count)
    assert len(made) == 3


@pytest.mark.parametrize("damaged", ["", "[]", '{"flops": 1, "other": 2}'])
def test_a_damaged_file_of_the_cache_is_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path))
    counted({"net": "a"}, lambda: Counted(7, 3))
    (file,) = tmp_path.rglob("*.json")
    file.write_text(damaged, encoding="utf-8")
    assert counted({"net": "a"}, lambda: Counted(8, 3)) == Counted(8, 3)
