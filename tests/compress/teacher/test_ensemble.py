"""Several teachers as one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
import timm
import torch
from scipy.special import softmax

from compress.teacher.artifact import Head, Heads, unit
from compress.teacher.ensemble import Ensemble
from compress.teacher.timm_net import TimmTeacher
from runtime import PreprocessSpec


def teacher(name: str, size: int, mean: float) -> TimmTeacher:
    torch.manual_seed(size)
    spec = PreprocessSpec(size, size, "bicubic", (mean,) * 3, (0.5,) * 3)
    return TimmTeacher(name=name, model=timm.create_model(name, num_classes=0), spec=spec)


@pytest.fixture(scope="module")
def members() -> list[TimmTeacher]:
    return [teacher("test_resnet", 64, 0.5), teacher("test_efficientnet", 96, 0.4)]


def images(count: int, edge: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, edge, edge, 3), dtype=np.uint8)


def test_a_feature_is_the_members_features_side_by_side(members: list[TimmTeacher]) -> None:
    both = Ensemble.of(members)
    assert both.spec.size == 96 and both.embed_dim == sum(one.embed_dim for one in members)
    pictures = images(2, 96)
    features = both.encode_images(pictures)
    own = members[1].encode_images(pictures)  # at its own size, with its own normalization
    width = members[0].embed_dim
    np.testing.assert_allclose(features[:, width:] * np.sqrt(2), own, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)


def test_a_member_of_another_size_sees_resized_images(members: list[TimmTeacher]) -> None:
    from PIL import Image

    both = Ensemble.of(members)
    picture = Image.effect_noise((96, 96), 60).convert("RGB").resize((96, 96))
    large = np.asarray(picture)[None]
    small = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR))[None]
    width = members[0].embed_dim
    seen = unit(both.encode_images(large)[:, :width])
    assert float((seen * members[0].encode_images(small)).sum()) > 0.999


def test_images_of_another_size_are_seen_as_by_each_member_alone(
    members: list[TimmTeacher],
) -> None:
    both = Ensemble.of(members)
    pictures = images(3, 64)  # the size of the first
    parts = np.concatenate([member.encode_images(pictures) for member in members], axis=1)
    np.testing.assert_array_equal(both.encode_images(pictures), unit(parts))


def test_views_at_several_sizes_go_each_to_the_member_of_that_size(
    members: list[TimmTeacher],
) -> None:
    both = Ensemble.of(members)
    views = {64: images(3, 64), 96: images(3, 96)}
    parts = [member.encode_images(views[member.spec.size]) for member in members]
    np.testing.assert_array_equal(both.encode_views(views), unit(np.concatenate(parts, axis=1)))
    np.testing.assert_array_equal(both.encode_views({64: views[64]}), both.encode_images(views[64]))
    np.testing.assert_array_equal(
        members[0].encode_views({48: images(3, 48)}), members[0].encode_images(images(3, 48))
    )


def test_probabilities_are_averaged(members: list[TimmTeacher]) -> None:
    rng = np.random.default_rng(1)
    features = unit(
        np.concatenate([unit(rng.normal(size=(5, one.embed_dim))) for one in members], axis=1)
    )
    heads = [
        Head(None, unit(rng.normal(size=(3, one.embed_dim)).astype(np.float32)), 7.0)
        for one in members
    ]
    together = softmax(Heads(tuple(heads)).logits(features), axis=1)
    split = np.split(features, [members[0].embed_dim], axis=1)
    each = [
        softmax(7.0 * unit(part) @ head.probe.T, axis=1)
        for head, part in zip(heads, split, strict=True)
    ]
    np.testing.assert_allclose(together, np.mean(each, axis=0), atol=1e-5)


def test_the_exported_file_answers_as_the_features_and_heads_do(
    members: list[TimmTeacher], tmp_path: object
) -> None:
    ort = pytest.importorskip("onnxruntime")
    from export.teacher.network import TeacherClassifier, teacher_to_onnx
    from runtime import normalize

    rng = np.random.default_rng(2)
    heads = Heads(
        tuple(
            Head(
                None,
                unit(rng.normal(size=(3, one.embed_dim)).astype(np.float32)),
                7.0,
                0.1 * unit(rng.normal(size=one.embed_dim).astype(np.float32)),
            )
            for one in members
        )
    )
    both = Ensemble.of(members)
    classifier = TeacherClassifier(both.image_tower, heads)
    assert classifier.names == ("logits", "logits_0", "logits_1", "features")
    model = teacher_to_onnx(classifier, both.spec.size)
    session = ort.InferenceSession(model.SerializeToString())
    pictures = images(2, 96)
    outputs = session.run(None, {"images": normalize(pictures, both.spec)})
    features = heads.space(both.encode_images(pictures))
    np.testing.assert_allclose(outputs[0], heads.logits(features), atol=2e-3)
    np.testing.assert_allclose(
        outputs[0],
        np.log(np.mean([softmax(row, axis=1) for row in outputs[1:3]], axis=0)),
        atol=1e-4,
    )
