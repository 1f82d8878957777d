"""What is refused of teachers before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("timm")
import timm
from safetensors.torch import save_file

from compress.api import plan
from compress.engine.errors import ConfigError
from compress.engine.options import settings_for

NET = "test_resnet"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "net.safetensors"
    save_file(timm.create_model(NET).state_dict(), file)
    return file


def refused(**options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(settings_for(classes=["ant", "bee"], offline=True, **options))  # type: ignore[arg-type]
    return str(caught.value)


def test_the_same_teacher_twice_is_no_second_opinion(weights: Path) -> None:
    name = f"timm:{NET}@{weights}"
    assert "the same teacher is named twice" in refused(teacher=[name, name])


def test_a_network_without_its_prefix_is_told_how_to_say_it() -> None:
    assert "--teacher timm:resnet18" in refused(teacher=["resnet18"])


def test_a_file_of_another_network_is_refused_before_any_work(weights: Path) -> None:
    assert "not the weights of test_vit" in refused(teacher=[f"timm:test_vit@{weights}"])


def test_names_need_a_classifier_in_the_file(weights: Path, tmp_path: Path) -> None:
    save_file(timm.create_model(NET, num_classes=0).state_dict(), tmp_path / "bare.safetensors")
    text = refused(teacher=[f"timm:{NET}@{tmp_path / 'bare.safetensors'}"])
    assert "weights come without a classifier of known names" in text


def test_one_fault_of_a_teacher_is_one_line(tmp_path: Path) -> None:
    """Names without shots ask the network again: for what it was trained to name."""
    assert "unknown timm network" in refused(teacher=["timm:resnet81"])
    missing = refused(teacher=[f"timm:{NET}@{tmp_path / 'none.safetensors'}"])
    assert missing.startswith("the teacher's file does not exist")
