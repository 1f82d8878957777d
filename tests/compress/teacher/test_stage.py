"""Stage "teacher": both heads and their facts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")
from scipy.special import softmax
from tiny_sources import CLASSES, MODEL, save_folder, write_data

from compress.engine.config import (
    DataSettings,
    ImageSettings,
    LabelSettings,
    Settings,
    TeacherSettings,
)
from compress.engine.errors import ConfigError
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.teacher.artifact import TeacherArtifact
from compress.teacher.checks import _heads
from compress.teacher.loading import load_teacher
from compress.teacher.stage import run
from compress.teacher.teacher import Teacher


def context(tmp_path: Path, shots: int, **teacher: object) -> StageContext:
    save_folder(tmp_path / "clip", MODEL)
    data = write_data(tmp_path / "data", shots)
    (tmp_path / "out").mkdir()
    values = {
        "name": str(tmp_path / "clip"),
        "templates": ("a {}", "one {}"),
        "probe_views": 3,
        "probe_steps": 5,
    }
    values |= teacher
    settings = Settings(
        data=DataSettings(shots=shots),
        image=ImageSettings(size=16),
        label=LabelSettings(batch=8),
        teacher=TeacherSettings(**values),
    )
    return StageContext(
        settings, {"data": Artifact("data", data.path, {}, "c")}, tmp_path / "out", 0
    )


def test_the_stage_writes_both_heads(tmp_path: Path) -> None:
    ctx = context(tmp_path, 2)
    facts = run(ctx)
    heads = TeacherArtifact(ctx.folder).heads()
    teacher = load_teacher(ctx.settings.teacher)
    expected = teacher.class_head([[f"a {n}", f"one {n}"] for n in ("rose", "oak", "daisy")])
    np.testing.assert_allclose(heads.zero_shot, expected, atol=1e-6)
    assert heads.probe.shape == (CLASSES, 24)
    assert not np.allclose(heads.probe, heads.zero_shot)
    assert heads.logit_scale == pytest.approx(teacher.logit_scale)
    assert (facts["head"], facts["probe"]["views"], facts["embed_dim"], facts["input_size"]) == (
        "probe",
        18,
        24,
        32,
    )
    assert facts["fingerprint"] == teacher.fingerprint()
    json.dumps(facts)
    seen = TeacherArtifact(ctx.folder).seen()
    assert seen is not None and seen.rows.tolist() == list(range(6))
    np.testing.assert_allclose(np.linalg.norm(seen.features, axis=1), 1, atol=1e-3)


def test_the_penalty_of_the_probe_is_a_mean_over_classes_or_as_published_a_sum(
    tmp_path: Path,
) -> None:
    found = {}
    for form in ("mean", "sum"):
        (tmp_path / form).mkdir()
        ctx = context(tmp_path / form, 2, probe_anchor=form, probe_steps=60, probe_lr=1e-2)
        found[form] = run(ctx)["probe"]
        assert found[form]["anchor"] == form
    assert found["mean"]["cos_probe_text"] < found["sum"]["cos_probe_text"]


@pytest.mark.parametrize(
    ("shots", "options"), [(0, {}), (2, {"probe": False}), (2, {"probe_steps": 0})]
)
def test_without_shots_or_probe_the_head_is_zero_shot(
    tmp_path: Path, shots: int, options: dict[str, object]
) -> None:
    ctx = context(tmp_path, shots, **options)
    facts = run(ctx)
    heads = TeacherArtifact(ctx.folder).heads()
    np.testing.assert_array_equal(heads.probe, heads.zero_shot)
    assert facts["head"] == "zero_shot"
    assert TeacherArtifact(ctx.folder).seen() is None


def test_a_teacher_with_views_of_its_own_is_probed_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = Teacher.encode_images

    def watched(self: Teacher, images: np.ndarray, batch: int = 256) -> np.ndarray:
        sizes.append(images.shape[1])
        return encode(self, images, batch)

    monkeypatch.setattr(Teacher, "encode_images", watched)
    ctx = context(tmp_path, 2)
    run(ctx)
    assert set(sizes) == {16}
    sizes.clear()
    label = ctx.settings.label.model_copy(update={"teacher_view": "own"})
    run(replace(ctx, settings=ctx.settings.model_copy(update={"label": label})))
    assert set(sizes) == {32}


def test_many_shots_are_probed_with_fewer_views_each(tmp_path: Path) -> None:
    ctx = context(tmp_path, 2)
    label = ctx.settings.label.model_copy(update={"most_views": 2 * CLASSES * 2})
    fewer = replace(ctx, settings=ctx.settings.model_copy(update={"label": label}))
    assert run(fewer)["probe"]["views"] == 2 * CLASSES * 2


def test_of_too_many_shots_a_part_is_probed_and_told(tmp_path: Path) -> None:
    ctx = context(tmp_path, 2)
    label = ctx.settings.label.model_copy(update={"most_views": CLASSES})
    facts = run(replace(ctx, settings=ctx.settings.model_copy(update={"label": label})))
    assert facts["probe"]["views"] == CLASSES, "one image of each class"
    seen = TeacherArtifact(ctx.folder).seen()
    assert seen is not None and len(seen.rows) == len(seen.features) == CLASSES
    assert facts["notes"] == ["the teacher's head was fitted on 3 of 6 images (label.most_views)"]


def test_several_heads_answer_with_the_mean_of_their_probabilities(tmp_path: Path) -> None:
    names = ("probe", "tip-adapter", "lp++", "prolip")
    ctx = context(tmp_path, 2, heads=names)
    facts = run(ctx)
    head = TeacherArtifact(ctx.folder).heads().members[0]
    assert len(head.answers) == 4 and facts["head"] == "probe"
    assert list(facts["probe"]["heads"]) == list(names)
    features = np.eye(24, dtype=np.float32)
    each = [softmax(answer.logits(features), axis=1) for answer in head.answers]
    found = softmax(head.logits(features), axis=1)
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(head.probe, axis=1), 1, atol=1e-5)
    json.dumps(facts)


def test_heads_from_texts_are_refused_for_a_teacher_without_texts(tmp_path: Path) -> None:
    settings = TeacherSettings(name="timm:tf_efficientnet_lite0", heads=("probe", "lp++"))
    with pytest.raises(
        ConfigError, match=r"heads=\[probe, lp\+\+\] needs the texts .*heads=\[probe\]"
    ):
        _heads(settings)
    _heads(TeacherSettings(name="timm:tf_efficientnet_lite0"))
    _heads(TeacherSettings(heads=("prolip",)))
