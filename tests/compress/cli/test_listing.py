"""What ``compress list`` prints."""

from __future__ import annotations

import pytest
import yaml

from compress.cli.listing import KINDS, STUDENTS, lines, names
from compress.cost.networks import count_student
from compress.engine.config import Settings
from compress.engine.errors import ConfigError

KNOWN = yaml.safe_load(STUDENTS.read_text(encoding="utf-8"))


def test_every_kind_of_name_is_listed() -> None:
    expected = {
        "datasets": "petals",
        "teachers": "ViT-L-14/openai",
        "students": "petal_cnn",
        "generators": "kandinsky-2.2",
        "decoders": "petals-vq",
        "strategies": "sidclip",
        "prompts": "contrastive",
        "objectives": "kd",
        "presets": "smoke",
        "methods": "img2img CP",
        "devices": "orin-nano",
    }
    assert set(expected) == set(KINDS)
    assert all(any(name in line for line in names(kind)) for kind, name in expected.items())
    with pytest.raises(ConfigError, match="did you mean 'students'"):
        names("student")


def test_of_datasets_and_presets_more_than_the_name_is_told() -> None:
    (flowers,) = lines("datasets", "flowers")
    assert flowers.startswith("flowers") and "Oxford Flowers-102  102 classes" in flowers
    (pacs,) = lines("datasets", "pacs")
    assert "4 domains" in pacs
    (smoke,) = lines("presets", "smoke")
    assert smoke.startswith("smoke  Seconds, not minutes: every stage runs")
    for kind in ("datasets", "presets"):
        assert [line.split()[0] for line in lines(kind)] == names(kind)
    with pytest.raises(ConfigError, match="did you mean 'presets'"):
        list(lines("preset"))


def test_students_are_the_measured_ones_or_all() -> None:
    head, *rows, hint = lines("students")
    assert head.split()[:3] == ["student", "edge", "params"] and "--all" in hint
    assert [row.split()[0] for row in rows] == list(KNOWN)
    every = names("students")
    assert list(lines("students", everything=True)) == every and set(KNOWN) <= set(every)
    some = list(lines("students", "mobilenetv4_conv"))
    assert some == [name for name in every if "mobilenetv4_conv" in name] and len(some) > 3


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow][: name != "petal_cnn"]) for name in KNOWN]
)
def test_what_is_told_of_a_student_is_counted(name: str) -> None:
    row, settings = KNOWN[name], Settings()
    distill = settings.distill.model_copy(update={"student": name, "init": "random"})
    image = settings.image.model_copy(update={"size": row["edge"]})
    counted = count_student(distill, image)
    assert counted.params / 1e6 == pytest.approx(row["params"], abs=0.006)
    assert counted.flops / 1e9 == pytest.approx(row["gflops"], rel=0.02)
