"""What stages have to do, against what a finished build says and leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.api import settings_for
from compress.cost import work
from compress.cost.amounts import Amounts, known_amounts
from compress.cost.counting import NotCountable
from compress.cost.networks import count_student, count_teacher
from compress.cost.work import (
    UNKNOWN_STUDENT,
    Work,
    data_work,
    distill_work,
    generate_work,
    label_work,
    quantize_work,
    teacher_work,
)
from compress.data.artifact import TEST, DataArtifact
from compress.distill.objectives import objective_spec
from compress.engine.config import Settings, resolve
from compress.engine.store import Artifact, Store
from compress.generate.artifact import GenerateArtifact
from compress.label.artifact import LabelArtifact

SMOKE = settings_for("petals", shots=1, preset="smoke")


def changed(settings: Settings, **sections: Any) -> Settings:
    return resolve(settings.plain(), sections)


@pytest.fixture(scope="module")
def made(smoke_work: Path) -> dict[str, Artifact]:
    """The newest stages of the smoke build."""
    return {artifact.stage: artifact for artifact in Store(smoke_work / "store").stages()}


@pytest.fixture(scope="module")
def amounts() -> Amounts:
    return known_amounts(SMOKE)


def test_images_views_and_steps_are_those_of_the_finished_build(
    made: dict[str, Artifact], amounts: Amounts
) -> None:
    facts = {name: artifact.facts for name, artifact in made.items()}
    teacher = teacher_work(SMOKE, amounts)
    generate = generate_work(SMOKE, amounts)
    label = label_work(SMOKE, amounts, generate.amount)
    assert teacher.amount == teacher.teacher_calls == facts["teacher"]["probe"]["views"]
    assert generate.amount == facts["generate"]["images"]
    assert label.amount == label.teacher_calls == facts["label"]["teacher_images"]
    assert distill_work(SMOKE, amounts, generate.amount).amount == facts["distill"]["steps"]
    assert quantize_work(SMOKE, amounts).amount == facts["quantize"]["steps"]


def test_bytes_are_those_of_the_arrays(made: dict[str, Artifact], amounts: Amounts) -> None:
    data, generated = DataArtifact(made["data"].path), GenerateArtifact(made["generate"].path)
    pixels = data.shots.pixels.nbytes + data.images(TEST).pixels.nbytes
    assert data_work(SMOKE, amounts).bytes == pixels
    images = generated.images.nbytes + generated.conditions.nbytes
    assert generate_work(SMOKE, amounts).bytes == images
    label = label_work(SMOKE, amounts, len(generated.images))
    kept = [LabelArtifact(made["label"].path).targets(kind) for kind in ("real", "synthetic")]
    assert label.bytes == sum(one.features.nbytes + one.logits.nbytes for one in kept if one)
    assert label.peak_bytes == 2 * label.bytes
    weights = sum(file.stat().st_size for file in made["distill"].path.glob("*.safetensors"))
    assert distill_work(SMOKE, amounts, 128).bytes == pytest.approx(weights, rel=0.3)


def test_flops_are_units_times_networks(amounts: Amounts) -> None:
    teacher, student = count_teacher("petals"), count_student(SMOKE.distill, SMOKE.image)
    assert teacher is not None
    label = label_work(SMOKE, amounts, 128)
    assert label.flops == label.amount * teacher.image.flops
    per_image = student.flops + 2 * student.width * amounts.classes
    distill = distill_work(SMOKE, amounts, 128)
    assert distill.flops == 12 * 32 * 3 * per_image
    plain = changed(SMOKE, quantize={"mode": "ptq"})
    calibrated = quantize_work(plain, amounts)
    assert calibrated.unit == "images" and calibrated.amount == 32 and calibrated.on_cpu
    # calibrated; float and rounded, layer by layer; float, fitted and calibrated on 32 more
    asked = 0 if objective_spec(plain.distill).logits_only else 1
    assert calibrated.flops == (3 * 32 + 32 * 3 * (1 + asked)) * per_image
    nearest = quantize_work(changed(SMOKE, quantize={"steps": 0, "rounding": "nearest"}), amounts)
    assert calibrated.flops - nearest.flops == 2 * 32 * per_image


def test_a_teacher_that_is_asked_twice_as_much_costs_twice(amounts: Amounts) -> None:
    two = changed(SMOKE, label={"views": 2, "real_views": 4})
    one = label_work(SMOKE, amounts, 128)
    both = label_work(two, amounts, 128)
    assert both.amount == 2 * one.amount and both.flops == 2 * (one.flops or 0)
    ensemble = changed(SMOKE, teacher={"others": ["petals"]})
    assert label_work(ensemble, amounts, 128).teacher_calls == 2 * one.teacher_calls
    only = changed(SMOKE, label={"pools": ["synthetic"]})
    assert label_work(only, amounts, 128).amount == 128


def test_a_frozen_trunk_sees_each_view_once(amounts: Amounts) -> None:
    student = count_student(SMOKE.distill, SMOKE.image)
    frozen = changed(SMOKE, distill={"train": "head"})
    views = label_work(frozen, amounts, 128).amount
    head = 2 * student.width * amounts.classes
    assert distill_work(frozen, amounts, 128).flops == views * student.flops + 12 * 32 * 3 * head
    first = changed(SMOKE, distill={"train": "head", "feature_steps": 4})
    moving = 4 * 32 * 3 * (student.flops + head)
    resting = 8 * 32 * (student.flops + 3 * head)
    assert distill_work(first, amounts, 128).flops == moving + resting


def test_what_is_left_out_is_said(amounts: Amounts) -> None:
    gendd = changed(SMOKE, distill={"objective": "gendd"})
    assert "without the denoiser of gendd" in distill_work(gendd, amounts, 128).notes
    both = changed(SMOKE, distill={"objective": "gendd", "gendd": {"pretrain_share": 0.5}})
    assert distill_work(both, amounts, 128).amount == 18  # stage 1 before the 12 others
    meta = changed(SMOKE, distill={"meta": {"mode": "exact"}})
    assert any("meta.mode=exact" in note for note in distill_work(meta, amounts, 128).notes)
    unknown = changed(SMOKE, teacher={"name": "hf-hub:some/repository"})
    for found in (teacher_work(unknown, amounts), label_work(unknown, amounts, 128)):
        assert found.flops is None and found.notes and found.amount
    elsewhere = changed(SMOKE, generate={"generator": "some/repository"})
    assert generate_work(elsewhere, amounts).flops is None


def without_probing(**generate: Any) -> Settings:
    return changed(SMOKE, generate={"probing": {"candidates": []}, **generate})


def test_probing_adds_small_batches_and_keeps_the_dearest(amounts: Amounts) -> None:
    offered = [{"strategy": "sidclip"}, {"strategy": "sidclip", "steps": 4}]
    probed = changed(SMOKE, generate={"probing": {"candidates": offered, "per_class": 2}})
    found = generate_work(probed, amounts)
    bulk = generate_work(without_probing(steps=4), amounts)
    seen = 2 * 2 * amounts.classes + amounts.shots
    assert found.amount == bulk.amount and found.teacher_calls == seen
    assert (found.flops or 0) > (bulk.flops or 0) and "1 of 2" in found.notes[0]
    first = generate_work(probed, amounts, chosen=0)
    assert (first.flops or 0) < (found.flops or 0) and not first.notes


def test_a_candidate_without_shots_is_left_out() -> None:
    none = Amounts(classes=4, shots=0)
    offered = [{"strategy": "img2img"}, {"strategy": "cls2img"}]
    probed = changed(SMOKE, generate={"probing": {"candidates": offered}})
    assert generate_work(probed, none).amount == 4 * SMOKE.generate.per_class
    assert not generate_work(probed, none).notes


def test_strategies_that_make_no_image_or_few() -> None:
    few = Amounts(classes=4, shots=8)
    assert generate_work(without_probing(strategy="none"), few) == Work(
        "generate", "images", 0, on_cpu=True
    )
    drawn = generate_work(without_probing(strategy="dead-leaves", per_class=500), few)
    assert drawn.amount == 128 and drawn.flops == 0 and drawn.on_cpu
    share = generate_work(without_probing(synth_ratio=3), few)
    assert share.amount == 24


def test_inversion_counts_the_teacher(amounts: Amounts) -> None:
    options = {"decoder": "pixels", "steps": 3, "cutouts": 2}
    inverted = without_probing(strategy="inversion", inversion=options, batch=100)
    found = generate_work(inverted, amounts)
    padded = -(-found.amount // 100) * 100
    assert found.teacher_calls == padded * 6 and found.arithmetic == "auto"


def test_a_student_that_cannot_be_counted_is_said(
    amounts: Amounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise NotCountable("an operator that meta does not know")

    monkeypatch.setattr(work, "count_student", refuse)
    for found in (distill_work(SMOKE, amounts, 128), quantize_work(SMOKE, amounts)):
        assert found.flops is None and found.notes == (UNKNOWN_STUDENT,) and found.amount
