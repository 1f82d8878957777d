"""The students and resolutions that a search considers."""

from __future__ import annotations

from pathlib import Path

import timm

import compress.petals.nets  # noqa: F401  # registers the embedded students
from compress.api import settings_for
from compress.search.zoo import sizes, students, with_candidate


def test_each_world_has_its_zoo_and_smaller_resolutions_come_later() -> None:
    embedded, hub = settings_for("petals"), settings_for("flowers", student="efficientnet_b0")
    assert "petal_cnn_w8" in students(embedded) and "petal_cnn" in students(embedded)
    assert {"mobilenetv4_conv_small", "efficientnet_b0"} <= set(
        students(hub)
    ) and "petal_cnn" not in students(hub)
    assert sizes(embedded)[0] == (32,) and sizes(embedded)[1:] == [(24,), (16,)]
    assert sizes(hub)[0] == (224,) and sizes(hub)[1:] == [(192,), (160,), (128,), (96,)]
    named = settings_for(
        "petals", overrides={"budget": {"sizes": [24, 32], "students": ["petal_cnn_w4"]}}
    )
    assert sizes(named) == [(32, 24)] and students(named) == ("petal_cnn_w4",)
    lite = settings_for("flowers", student="tf_efficientnet_lite0")
    assert students(lite) == tuple(f"tf_efficientnet_lite{i}" for i in range(3))
    assert set(students(embedded)) | set(students(hub)) <= set(timm.list_models())


def test_another_student_starts_from_what_its_world_has(tmp_path: Path) -> None:
    base = settings_for(
        "petals", overrides={"distill": {"init_path": str(tmp_path / "mine.safetensors")}}
    )
    assert with_candidate(base, "petal_cnn", 32).distill.init_path is not None
    narrow = with_candidate(base, "petal_cnn_w8", 24)
    assert (narrow.distill.init, narrow.distill.init_path, narrow.image.size) == ("clip", None, 24)
    generic = settings_for("petals", overrides={"distill": {"init": "generic"}})
    assert with_candidate(generic, "petal_cnn_w8", 32).distill.init == "random"
    hub = settings_for("flowers", overrides={"distill": {"init": "clip"}})
    assert with_candidate(hub, "resnet18", 224).distill.init == "timm"
