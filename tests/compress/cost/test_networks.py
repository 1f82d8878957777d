"""Students, teachers and parts by name; unknown ones."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("open_clip")

from compress.cost.counting import NotCountable
from compress.cost.networks import clip_config, count_part, count_student, count_teacher
from compress.engine.config import DistillSettings, ImageSettings
from compress.engine.errors import ConfigError


def test_clip_has_the_published_size_and_work() -> None:
    """ViT-L/14 at 224 px: 304 M parameters and 81 G multiply-accumulates in the image tower."""
    found = count_teacher("ViT-L-14/openai")
    assert found and found.text and found.image.width == 768
    assert found.image.flops == pytest.approx(2 * 81e9, rel=0.01)
    assert found.image.params == pytest.approx(304e6, rel=0.01)


def test_the_embedded_teacher_and_a_timm_network() -> None:
    petals = count_teacher("petals")
    assert petals and petals.text and petals.image.width == petals.text.width == 128
    lite = count_teacher("timm:tf_efficientnet_lite0")
    assert lite and lite.text is None and lite.image.width == 1280


def test_a_text_tower_that_only_the_hub_describes_leaves_the_image_tower() -> None:
    found = count_teacher("roberta-ViT-B-32/laion2b_s12b_b32k")
    plain = count_teacher("ViT-B-32/openai")
    assert found and plain and found.text is None
    assert found.image.flops == plain.image.flops


def test_what_is_not_on_this_disk_is_unknown_and_what_does_not_exist_is_refused() -> None:
    assert count_teacher("hf-hub:some/repository") is None
    with pytest.raises(ConfigError, match="did you mean 'ViT-L-1"):
        clip_config("ViT-L-41")
    with pytest.raises(NotCountable, match="no network 'Other'"):
        count_part("unet", {"_class_name": "Other"}, 8)


def test_a_students_work_grows_with_its_image() -> None:
    small = count_student(DistillSettings(student="petal_cnn"), ImageSettings(size=32))
    large = count_student(DistillSettings(student="petal_cnn"), ImageSettings(size=64))
    assert large.flops == 4 * small.flops and large.params == small.params
    with pytest.raises(ConfigError, match="unknown student"):
        count_student(DistillSettings(student="petal_cn"), ImageSettings(size=16))
