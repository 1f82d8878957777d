"""Deep inversion: the loss by hand, images that the network names, the same ones every time."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from compress.data.split import ClassInfo
from compress.engine.config import GenerateSettings, InversionSettings, TeacherSettings
from compress.engine.errors import ConfigError
from compress.generate.inversion.decoders import load_decoder
from compress.generate.inversion.deep_inversion import (
    DeepInversion,
    inputs_of,
    moved,
    statistics_loss,
    variation,
)
from compress.generate.jobs import GeneratedBatch, job_at
from compress.generate.sources import Sources
from compress.teacher.checks import require_named
from compress.teacher.clip import ClipTeacher
from compress.teacher.loading import load_teacher
from compress.teacher.timm_net import Classifier, TimmTeacher, batch_norms
from runtime import PreprocessSpec

NAMES = ("ant", "bee")
ROWS = (310, 309)  # of ImageNet


@cache
def network(name: str = "test_resnet", named: bool = True) -> TimmTeacher:
    torch.manual_seed(0)
    rows = np.random.default_rng(0).normal(size=(1000, 96)).astype(np.float32)
    own = Classifier(rows, np.zeros(1000, np.float32), "imagenet-1k")
    model = timm.create_model(name, num_classes=0)
    spec = PreprocessSpec(64, 64, "bicubic", (0.5,) * 3, (0.5,) * 3)
    return TimmTeacher(
        name=f"timm:{name}", model=model, spec=spec, classifier=own if named else None
    )


def settings(**inversion: Any) -> GenerateSettings:
    small = {"decoder": "pixels", "image_size": 32, "steps": 12, "lr": 0.05, "class_weight": 1.0}
    return GenerateSettings(
        strategy="deep-inversion", inversion=InversionSettings(**{**small, **inversion})
    )


def strategy(
    teacher: TimmTeacher | ClipTeacher, names: tuple[str, ...] = NAMES, **inversion: Any
) -> DeepInversion:
    classes = [ClassInfo(name, name) for name in names]
    nobody: Any = None
    none = np.zeros((0, 32, 32, 3), np.uint8)
    no_labels = np.zeros(0, np.int64)
    sources = Sources(classes, none, no_labels, [], 5, nobody, networks=lambda: teacher)
    return DeepInversion(settings(**inversion), sources)


def made(deep: DeepInversion, images: int = 4) -> GeneratedBatch:
    jobs = [job_at(index, len(NAMES), 5) for index in range(images)]
    return deep.generate(jobs, load_decoder(deep.settings))


def test_statistics_are_compared_in_kept_deviations() -> None:
    norm = nn.BatchNorm2d(2, eps=0.0).eval()
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(torch.tensor([1.0, -2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    values = torch.tensor([-1.0, 1.0])  # mean 0, deviation 1
    same = torch.stack([1 + 2 * values, -2 + 3 * values])[None, :, :, None]
    with inputs_of([norm]) as seen:
        norm(same)
    assert float(statistics_loss(seen)) == pytest.approx(0, abs=1e-9)
    # channel 0: one deviation to the side and half as wide; channel 1: as it was
    other = torch.stack([3 + 1 * values, -2 + 3 * values])[None, :, :, None]
    assert float(statistics_loss([(norm, other)])) == pytest.approx((1 + 0.25) / 2)


def test_nothing_is_kept_once_the_context_is_closed() -> None:
    norm = nn.BatchNorm2d(2).eval()
    with inputs_of([norm]) as seen:
        norm(torch.zeros(1, 2, 3, 3))
    norm(torch.zeros(1, 2, 3, 3))
    assert len(seen) == 1


def test_variation_by_hand() -> None:
    image = torch.zeros(1, 1, 2, 2)
    image[0, 0, 0, 0] = 1.0  # one difference of two down, one of two across
    assert variation(image).tolist() == [1.0]


def test_a_batch_moves_together_by_no_more_than_an_eighth() -> None:
    image = torch.arange(16.0)[None, None, None].expand(2, 1, 16, 16)
    for step in range(20):
        one, other = moved(image, 3, step)
        assert torch.equal(one, other)
        row = one[0, 0].long()
        steps = set((row.diff() % 16).tolist())
        assert steps in ({1}, {15})  # shifted around, or mirrored too
        shift = int((-row[0]) % 16) if steps == {1} else int((row[0] - 15) % 16)
        assert min(shift, 16 - shift) <= 2
    assert torch.equal(moved(image, 3, 7), moved(image, 3, 7))


def test_the_network_comes_to_see_the_classes() -> None:
    teacher = load_teacher(TeacherSettings(name="timm:tf_efficientnet_lite0"))
    assert isinstance(teacher, TimmTeacher)
    weights = {"statistics_weight": 1.0, "variation_weight": 1.0}
    deep = strategy(teacher, image_size=96, steps=40, lr=0.05, **weights)
    assert deep.rows == ROWS
    batch = made(deep)
    assert batch.images.shape == (4, 96, 96, 3) and batch.conditions.shape == (4, 0)
    assert [record.class_id for record in batch.records] == [0, 1, 0, 1]
    assert all(record.loss and record.loss[1] < 0.7 * record.loss[0] for record in batch.records)
    shown = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float() / 255
    mean, std = (
        torch.tensor(part)[:, None, None] for part in (teacher.spec.mean, teacher.spec.std)
    )
    with torch.no_grad():
        logits = deep.logits((shown - mean) / std)
    assert logits[:, list(ROWS)].argmax(1).tolist() == [0, 1, 0, 1]
    assert deep.facts() == {"inverted": "timm:tf_efficientnet_lite0"}


def test_the_statistics_come_nearer() -> None:
    def distance(weight: float) -> float:
        deep = strategy(network(), statistics_weight=weight)
        shown = torch.from_numpy(made(deep).images).permute(0, 3, 1, 2).float() / 255
        return float(deep.losses(shown, torch.tensor([*ROWS] * 2))[1]) / weight

    assert distance(10.0) < distance(1e-6)


def test_a_batch_is_the_same_every_time() -> None:
    assert np.array_equal(made(strategy(network())).images, made(strategy(network())).images)


def test_names_that_the_network_does_not_know_are_refused() -> None:
    with pytest.raises(ConfigError, match="gribbet"):
        strategy(network(), ("ant", "gribbet")).rows  # noqa: B018


@pytest.mark.parametrize("teacher", [network(named=False), network("test_vit")])
def test_a_network_without_names_or_batch_norms_is_refused(teacher: TimmTeacher) -> None:
    with pytest.raises(ConfigError, match="batch norms"):
        strategy(teacher).network  # noqa: B018


def test_batch_norms_are_those_with_statistics() -> None:
    assert len(batch_norms(network().model)) > 3
    assert not batch_norms(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)))


def test_a_clip_with_batch_norms_is_asked_by_its_texts() -> None:
    """The embedded teacher is one; its images come nearer to the texts of their classes."""
    teacher = load_teacher(TeacherSettings(name="petals"))
    assert isinstance(teacher, ClipTeacher)
    names = ("red pointed flower", "blue round flower")
    deep = strategy(teacher, names, image_size=32, steps=30, lr=0.1, statistics_weight=1.0)
    deep.sources.templates = ("a photo of a {}",)
    assert deep.network is teacher and deep.rows == (0, 1)
    result = made(deep)
    first, last = np.mean([record.loss for record in result.records if record.loss], axis=0)
    assert last < first
    features = torch.from_numpy(teacher.encode_images(result.images))
    texts = torch.from_numpy(teacher.class_head([[f"a photo of a {name}"] for name in names]))
    wanted = [record.class_id for record in result.records]
    assert (features @ texts.T).argmax(1).tolist() == wanted


@pytest.mark.parametrize(
    ("name", "fits"),
    [("petals", True), ("RN50/openai", True), ("ViT-B-32/openai", False), ("timm:resnet50", True)],
)
def test_which_teachers_fit_is_known_before_they_are_loaded(name: str, fits: bool) -> None:
    classes = [ClassInfo(one, one) for one in NAMES]
    if fits:
        require_named(TeacherSettings(name=name), classes, "generate.strategy=deep-inversion")
        return
    with pytest.raises(ConfigError, match="with batch norms · got ViT-B-32/openai"):
        require_named(TeacherSettings(name=name), classes, "generate.strategy=deep-inversion")
