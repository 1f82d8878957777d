"""Frozen networks in onnxruntime: torch's features, and a module that is left as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
import timm
import torch

from compress.engine import frozen
from compress.engine.frozen import FrozenNetwork, frozen_network, quiet_exporter


def test_it_gives_torchs_features_of_any_number_of_images() -> None:
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=0).eval()
    fast = FrozenNetwork(net, 48)
    images = np.random.default_rng(0).normal(size=(19, 3, 48, 48)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(fast(images), expected, atol=1e-4)


def test_the_features_do_not_depend_on_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = timm.create_model("test_efficientnet", num_classes=0).eval()
    images = np.random.default_rng(0).normal(size=(19, 3, 64, 64)).astype(np.float32)
    features = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        features.append(FrozenNetwork(net, 64)(images))
    assert np.array_equal(features[0], features[1]) and np.array_equal(features[0], features[2])


def test_the_features_do_not_depend_on_the_images_in_a_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = timm.create_model("test_efficientnet", num_classes=0).eval()
    images = np.random.default_rng(0).normal(size=(19, 3, 64, 64)).astype(np.float32)
    features = []
    for most in (1, 2, 16):
        monkeypatch.setattr(frozen, "MOST", most)
        features.append(FrozenNetwork(net, 64)(images))
    assert np.array_equal(features[0], features[1]) and np.array_equal(features[0], features[2])
    monkeypatch.undo()
    assert [frozen.batch_of(size) for size in (32, 224, 260, 1024)] == [16, 2, 1, 1]


def test_the_same_network_is_exported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    nets = [timm.create_model("test_resnet", num_classes=0).eval() for _ in range(2)]
    nets.append(copy.deepcopy(nets[0]))
    other = copy.deepcopy(nets[0])  # the same weights in other layers
    for name, part in other.named_modules():
        if isinstance(part, torch.nn.ReLU):
            other.set_submodule(name, torch.nn.GELU())
    made = []
    exported = frozen._exported
    monkeypatch.setattr(frozen, "_sessions", {})
    monkeypatch.setattr(frozen, "_exported", lambda *net: made.append(net) or exported(*net))
    images = np.random.default_rng(0).normal(size=(2, 3, 48, 48)).astype(np.float32)
    features = [FrozenNetwork(net, 48)(images) for net in (*nets, other)]
    assert len(made) == 3 and np.array_equal(features[0], features[2])
    assert all(np.abs(features[0] - features[i]).max() > 1e-3 for i in (1, 3))


def test_few_images_and_transformers_stay_with_torch() -> None:
    net = timm.create_model("test_resnet", num_classes=0)
    assert frozen_network(net, 48, 1, "cpu") is None
    assert frozen_network(net, 48, 10_000, "cuda") is None
    assert frozen_network(timm.create_model("test_vit", num_classes=0), 160, 10_000, "cpu") is None


def test_relu6_is_out_of_place_only_while_a_module_is_exported() -> None:
    net = torch.nn.Sequential(torch.nn.ReLU6(inplace=True), torch.nn.ReLU6(), torch.nn.ReLU(True))
    with pytest.raises(RuntimeError), quiet_exporter(net):
        assert [part.inplace for part in net] == [False, False, True]
        raise RuntimeError
    assert [part.inplace for part in net] == [True, False, True]
