"""A frozen trunk: features once, the head's start, and the way back to raw features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
import torch

from compress.data.split import ClassInfo
from compress.distill.frozen import Space, start_head
from compress.distill.students import StudentSpec, build
from compress.engine.config import DistillSettings
from compress.engine.packages import installed, packaged_classifier
from compress.teacher.artifact import unit

LITE0 = "tf_efficientnet_lite0"
OWN = DistillSettings(init="timm", train="head")


def student(arch: str = "test_resnet", classes: int = 3, init: str = "timm"):  # type: ignore[no-untyped-def]
    half = (0.5, 0.5, 0.5)
    return build(StudentSpec(arch, classes, None, 64, half, half, init))


def features(width: int, classes: int = 3) -> tuple[torch.Tensor, np.ndarray]:
    labels = np.arange(30) % classes
    torch.manual_seed(0)
    rows = 5 + torch.randn(30, width) + 3 * torch.eye(classes, width)[labels]
    return rows, labels


def infos(*names: str) -> list[ClassInfo]:
    return [ClassInfo(name, name) for name in names]


def test_leaving_the_space_changes_no_logit() -> None:
    net = student()
    rows, _ = features(net.width)
    space = Space.of(rows)
    inside = net.head(space.enter(rows))
    space.leave(net.head)
    torch.testing.assert_close(net.head(rows), inside, atol=1e-4, rtol=1e-4)


def test_the_head_starts_as_the_discriminant_and_names_its_views() -> None:
    net = student()
    rows, labels = features(net.width)
    space = Space.of(rows)
    assert (
        start_head(OWN, net, space, rows, labels, np.arange(30), infos("x", "y", "z"), None)
        == "discriminant"
    )
    assert (net.head(space.enter(rows)).argmax(1).numpy() == labels).all()


@pytest.mark.skipif(installed(LITE0) is None, reason="the package is not installed")
def test_the_head_starts_as_its_networks_own_rows_where_it_knows_all_names() -> None:
    net = student(LITE0, 2)
    rows, labels = features(net.width, 2)
    space = Space.of(rows)
    assert (
        start_head(OWN, net, space, rows, labels, np.arange(30), infos("ant", "bee"), None)
        == "names"
    )
    space.leave(net.head)
    weight, bias = packaged_classifier(LITE0)
    expected = rows @ weight[[310, 309]].T + bias[[310, 309]]
    torch.testing.assert_close(net.head(rows), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.skipif(installed(LITE0) is None, reason="the package is not installed")
def test_a_name_that_its_network_knows_moves_a_row_of_the_discriminant() -> None:
    net = student(LITE0, 2)
    rows, labels = features(net.width, 2)
    space = Space.of(rows)
    started = []
    for names in (infos("ant", "windflower"), infos("colts-foot", "windflower")):
        start = start_head(OWN, net, space, rows, labels, labels, names, None)
        assert start == "discriminant"
        started.append(unit(net.head.weight.detach().numpy()))
    weight, _ = packaged_classifier(LITE0)
    ant = unit((weight[310] - weight.mean(0)).numpy())
    assert started[0][0] @ ant > started[1][0] @ ant + 0.05
    np.testing.assert_allclose(started[0][1], started[1][1], atol=1e-5)


@pytest.mark.skipif(installed(LITE0) is None, reason="the package is not installed")
def test_a_trunk_with_other_weights_has_no_use_for_its_networks_rows(tmp_path: Path) -> None:
    net = student(LITE0, 2)
    rows, labels = features(net.width, 2)
    space = Space.of(rows)
    for other in ({"init": "random"}, {"init_path": tmp_path / "own.safetensors"}):
        settings = OWN.model_copy(update=other)
        names = infos("ant", "bee")
        start = start_head(settings, net, space, rows, labels, np.arange(30), names, None)
        assert start == "discriminant"
