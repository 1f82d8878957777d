"""Where heads start: texts, names, or shots; and what a teacher without texts refuses."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
import timm

from compress.data.split import ClassInfo
from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.teacher.artifact import unit
from compress.teacher.checks import require_texts
from compress.teacher.named import known_names
from compress.teacher.priors import prior_of, require_origin
from compress.teacher.timm_net import Classifier, TimmTeacher
from runtime import PreprocessSpec

WIDTH = 8
NONE = np.empty((0, WIDTH), np.float32)
NO_LABELS = np.empty(0, np.int64)


def infos(*names: str) -> list[ClassInfo]:
    return [ClassInfo(name, name) for name in names]


@pytest.fixture(scope="module")
def teacher() -> TimmTeacher:
    rows = np.random.default_rng(0).normal(size=(1000, WIDTH)).astype(np.float32)
    return TimmTeacher(
        name="timm:test_resnet",
        model=timm.create_model("test_resnet", num_classes=0),
        spec=PreprocessSpec(64, 64, "bicubic", (0.5,) * 3, (0.5,) * 3),
        classifier=Classifier(rows, np.zeros(1000, np.float32), "imagenet-1k"),
    )


def views(classes: int, each: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(classes), each)
    noise = 0.3 * rng.normal(size=(len(labels), WIDTH))
    return unit(np.eye(classes, WIDTH)[labels] + noise), labels, np.arange(len(labels))


def test_known_names_need_no_shots_and_are_the_zero_shot_head(teacher: TimmTeacher) -> None:
    prior = prior_of(teacher, infos("ant", "bee"), (), NONE, NO_LABELS, NO_LABELS)
    assert teacher.classifier is not None
    expected = unit(teacher.classifier.rows[[310, 309]])
    np.testing.assert_allclose(prior.start, expected, atol=1e-6)
    assert prior.zero_shot is prior.start and prior.anchored.all() and prior.scale is None
    assert prior.facts["names"] == {"ant": "ant, emmet, pismire", "bee": "bee"}


def test_unknown_names_start_from_the_shots(teacher: TimmTeacher) -> None:
    features, labels, images = views(3)
    prior = prior_of(
        teacher, infos("windflower", "ant", "colts-foot"), (), features, labels, images
    )
    assert prior.zero_shot is None and prior.scale is not None and prior.center is not None
    seen = unit(features - prior.center)
    assert ((seen @ prior.start.T).argmax(axis=1) == labels).all()


def test_a_known_name_counts_as_one_shot_beside_classes_of_other_names(
    teacher: TimmTeacher,
) -> None:
    features, labels, images = views(2)
    prior = prior_of(teacher, infos("windflower", "ant"), (), features, labels, images)
    unnamed = prior_of(teacher, infos("windflower", "colts-foot"), (), features, labels, images)
    assert teacher.classifier is not None
    rows = teacher.classifier.rows
    row = unit(rows[310] - rows.mean(axis=0))
    assert prior.start[1] @ row > unnamed.start[1] @ row + 0.05


def test_a_named_class_without_shots_keeps_its_row_beside_others_with_shots(
    teacher: TimmTeacher,
) -> None:
    features, labels, images = views(1, each=1)
    prior = prior_of(teacher, infos("windflower", "ant"), (), features, labels, images)
    assert teacher.classifier is not None
    rows = teacher.classifier.rows
    np.testing.assert_allclose(prior.start[1], unit(rows[310] - rows.mean(axis=0)), atol=1e-6)


def test_classes_without_shot_or_name_are_listed_with_the_ambiguous_ones(
    teacher: TimmTeacher,
) -> None:
    with pytest.raises(ConfigError) as caught:
        prior_of(teacher, infos("ant", "crane", "windflower"), (), NONE, NO_LABELS, NO_LABELS)
    text = str(caught.value)
    assert "crane, windflower" in text and "of several meanings: crane (n02012849 crane, " in text
    assert "chooses one" in text
    assert "--shots 1" in text


def test_what_needs_names_does_not_blame_missing_shots() -> None:
    known = known_names("imagenet-1k", infos("ant", "emmet"))
    with pytest.raises(ConfigError) as caught:
        require_origin("timm:x", infos("ant", "emmet"), known, setting="generate.strategy=y")
    text = str(caught.value)
    assert text.startswith("generate.strategy=y makes images of the classes whose names timm:x")
    assert "several names of one thing: ant (n02219486" in text and "shots" not in text
    with pytest.raises(ConfigError, match="weights come without a classifier of known names"):
        require_origin("timm:x", infos("ant"), known_names(None, infos("ant")))


@pytest.mark.parametrize("others", [(), ("ViT-L-14/openai",)], ids=["alone", "beside a CLIP"])
def test_a_setting_that_needs_texts_is_named_with_the_teacher(others: tuple[str, ...]) -> None:
    settings = TeacherSettings(name="timm:resnet18", others=others)
    with pytest.raises(ConfigError, match=r"distill.objective=ld needs .* timm:resnet18.*kd"):
        require_texts(settings, "distill.objective=ld", "--set distill.objective=kd")


def test_clip_teachers_have_texts() -> None:
    require_texts(TeacherSettings(name="ViT-L-14/openai", others=("petals",)), "x", "y")
