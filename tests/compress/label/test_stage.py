"""Stage "label": one teacher answer per view, replayable, resumable; and the agreement filter."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")
from safetensors.numpy import load_file
from synthetic_records import PLAIN, write_records
from tiny_sources import CLASSES, MODEL, save_folder, write_data

import runtime
from compress.data.augment import ViewRecipe, render_view
from compress.engine.config import (
    DataSettings,
    ImageSettings,
    LabelSettings,
    Settings,
    TeacherSettings,
)
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.evaluate.diversity import domain_gap
from compress.generate.artifact import IMAGES
from compress.label import work
from compress.label.artifact import LabelArtifact, PoolTargets
from compress.label.stage import agreeing, averaged, class_shares, run, vote
from compress.teacher.artifact import Head, Heads, TeacherArtifact
from compress.teacher.loading import load_teacher
from compress.teacher.teacher import Teacher

SYNTHETIC = 5


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Finished data, teacher and generate stages around a tiny saved open_clip model."""
    root = tmp_path_factory.mktemp("inputs")
    save_folder(root / "clip", MODEL)
    data = write_data(root / "data", 2)
    head = np.random.default_rng(0).normal(size=(CLASSES, 24)).astype(np.float32)
    head /= np.linalg.norm(head, axis=1, keepdims=True)
    (root / "teacher").mkdir()
    TeacherArtifact(root / "teacher").write_heads(Heads((Head(head[::-1], head, 7.5),)))
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 255, (SYNTHETIC, 8, 8, 3), dtype=np.uint8)
    return {
        "data": Artifact("data", data.path, {}, "data"),
        "teacher": Artifact("teacher", root / "teacher", {}, "teacher"),
        "generate": write_synthetic(root / "generate", pixels),
    }


def write_synthetic(folder: Path, pixels: np.ndarray) -> Artifact:
    """A generate stage whose images are of one class after the other."""
    folder.mkdir()
    np.save(folder / IMAGES, pixels)
    write_records(folder, [replace(PLAIN, class_id=i % CLASSES) for i in range(len(pixels))])
    return Artifact("generate", folder, {}, "generate")


def context(inputs: dict[str, Artifact], folder: Path, **options: object) -> StageContext:
    """Student views of 16 px; the teacher wants 32."""
    folder.mkdir(exist_ok=True)
    values = {"views": 3, "real_views": 4, "batch": 7, "randaug_num_ops": 2, **options}
    settings = Settings(
        data=DataSettings(shots=2),
        image=ImageSettings(size=16),
        label=LabelSettings(**values),
        teacher=TeacherSettings(name=str(inputs["data"].path.parent / "clip")),
        seed=11,
    )
    return StageContext(settings, inputs, folder, 11)


def test_targets_are_the_teachers_answer_to_the_replayed_view(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    from PIL import Image

    ctx = context(inputs, tmp_path / "a")
    facts = run(ctx)
    targets = load_file(ctx.folder / "targets.safetensors")
    shapes = {name: (value.shape, str(value.dtype)) for name, value in targets.items()}
    assert shapes == {
        "real_features": ((6, 4, 24), "float16"),
        "real_logits": ((6, 4, 3), "float32"),
        "synthetic_features": ((5, 3, 24), "float16"),
        "synthetic_logits": ((5, 3, 3), "float32"),
        "keep": ((5,), "bool"),
    }
    teacher = load_teacher(ctx.settings.teacher)
    head = TeacherArtifact(inputs["teacher"].path).heads().probe
    stored = json.loads((ctx.folder / "views.json").read_text())
    image = np.load(inputs["generate"].path / IMAGES)[4]
    view = render_view(image, ViewRecipe(**stored["recipe"]), derive(11, "view", "synthetic", 4, 2))
    features = teacher.encode_images(runtime.geometry(Image.fromarray(view), teacher.spec)[None])
    np.testing.assert_allclose(targets["synthetic_features"][4, 2], features[0], atol=1e-3)
    np.testing.assert_allclose(
        targets["synthetic_logits"][4, 2], 7.5 * features[0] @ head.T, atol=1e-4
    )
    assert facts["real_views"] == 4
    assert facts["synthetic_images"] == 5
    assert 0 <= facts["teacher_agreement_synthetic"] <= 1
    json.dumps(facts)


def test_teachers_with_views_of_their_own_see_the_same_crop_at_their_size(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"input_size": 32}
    known = {**inputs, "teacher": replace(inputs["teacher"], facts=about)}
    own = context(known, tmp_path / "own", teacher_view="own")
    seen: list[np.ndarray] = []
    rows = Teacher.unit_rows

    def watched(self: Teacher, pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return rows(self, pixels)

    monkeypatch.setattr(Teacher, "unit_rows", watched)
    facts = run(own)
    assert facts["teacher_view_sizes"] == [32]
    recipe = ViewRecipe.from_settings(own.settings.label, own.settings.image)
    assert json.loads((own.folder / "views.json").read_text())["recipe"] == asdict(recipe)
    image = np.load(inputs["generate"].path / IMAGES)[4]
    view = render_view(image, recipe.at(32), derive(11, "view", "synthetic", 4, 2))
    teacher = load_teacher(own.settings.teacher)
    pixels = runtime.normalize(view[None], teacher.spec)
    assert any((block == pixels[0]).all((1, 2, 3)).any() for block in seen)
    feature = teacher.unit_rows(pixels)[0]
    found = load_file(own.folder / "targets.safetensors")["synthetic_features"][4, 2]
    np.testing.assert_allclose(found, feature, atol=1e-3)
    facts = run(context(known, tmp_path / "student"))
    assert "teacher_view_sizes" not in facts
    other = load_file(tmp_path / "student" / "targets.safetensors")["synthetic_features"][4, 2]
    assert np.abs(other - found).max() > 1e-2


def test_many_real_images_have_fewer_views_each(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    ctx = context(inputs, tmp_path / "a", most_views=1)
    facts = run(ctx)
    assert facts["real_views"] == 1 and facts["synthetic_views"] == 3


def test_a_resumed_stage_equals_an_uninterrupted_one(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = context(inputs, tmp_path / "whole"), context(inputs, tmp_path / "broken")
    facts = run(whole)
    calls = []
    encode = Teacher.encode_images

    def dying(self: Teacher, images: np.ndarray, batch: int = 256) -> np.ndarray:
        calls.append(len(images))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(self, images, batch)

    monkeypatch.setattr(Teacher, "encode_images", dying)
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    calls[:] = [0] * 10
    assert run(broken) == facts
    for file in ("targets.safetensors", "views.json"):
        assert (broken.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    assert len(calls) - 10 == (6 + 3) - 3, (
        "six shards of one real image, three of two synthetic, three were finished"
    )
    monkeypatch.setattr(work, "load_for", None)  # complete shards need no teacher
    assert run(broken) == facts


def test_the_teacher_expects_the_views_of_all_pools_also_on_resume(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a resumed stage could take another way to the features than the killed one."""
    expected: list[int] = []
    monkeypatch.setattr(Teacher, "expect", lambda self, images: expected.append(images))
    ctx = context(inputs, tmp_path / "out")
    facts = run(ctx)
    for shard in ctx.partial.glob("label_synthetic*"):
        shard.unlink()
    run(ctx)
    assert expected == [facts["teacher_images"]] * 2


def test_the_filter_drops_and_records(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    plain = run(context(inputs, tmp_path / "plain"))
    assert (plain["dropped"], plain["dropped_per_class"]) == (0, {})
    ctx = context(inputs, tmp_path / "filtered", agreement_filter=True)
    facts = run(ctx)
    keep = load_file(ctx.folder / "targets.safetensors")["keep"]
    assert facts["dropped"] == (~keep).sum() == sum(facts["dropped_per_class"].values())
    assert {i % CLASSES for i in np.flatnonzero(keep)} == {0, 1, 2}, "no class is lost"


def test_a_class_without_agreement_keeps_its_best_image() -> None:
    votes = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    assert agreeing(votes, np.array([0, 0, 1, 1])).tolist() == [True, False, False, True]
    assert agreeing(votes[:0], np.array([], np.int64)).tolist() == []


def test_the_vote_is_the_mean_probability() -> None:
    logits = np.log(np.array([[[0.9, 0.1], [0.3, 0.7]]], np.float32)) + 5
    np.testing.assert_allclose(vote(logits), [[0.6, 0.4]], rtol=1e-5)


def test_without_synthetic_images_the_arrays_are_empty(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    none = write_synthetic(tmp_path / "none", np.empty((0, 8, 8, 3), np.uint8))
    ctx = context({**inputs, "generate": none}, tmp_path / "a", real_views=None)
    facts = run(ctx)
    targets = load_file(ctx.folder / "targets.safetensors")
    assert targets["synthetic_logits"].shape == (0, 3, 3)
    assert targets["synthetic_features"].dtype == np.float16
    assert targets["real_logits"].shape == (6, 3, 3)
    assert facts["teacher_agreement_synthetic"] is None


@pytest.mark.parametrize("labeled, left_out", [("real", "synthetic"), ("synthetic", "real")])
def test_a_pool_that_is_left_out_costs_no_teacher_call(
    inputs: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labeled: str,
    left_out: str,
) -> None:
    seen = []
    encode = Teacher.encode_images

    def counting(self: Teacher, images: np.ndarray, batch: int = 256) -> np.ndarray:
        seen.append(len(images))
        return encode(self, images, batch)

    monkeypatch.setattr(Teacher, "encode_images", counting)
    ctx = context(inputs, tmp_path / "a", pools=(labeled,), views=1, real_views=1)
    facts = run(ctx)
    count = {"real": 6, "synthetic": SYNTHETIC}
    assert sum(seen) == facts["teacher_images"] == count[labeled], "one call an image"
    targets = load_file(ctx.folder / "targets.safetensors")
    assert set(targets) == {f"{labeled}_features", f"{labeled}_logits", "keep"}
    assert targets["keep"].all() and len(targets["keep"]) == SYNTHETIC
    assert (
        facts[f"teacher_agreement_{left_out}"]
        is None
        is facts[f"diversity_{left_out}"]
        is facts["domain_gap"]
    )
    assert facts[f"teacher_agreement_{labeled}"] is not None and facts[f"diversity_{labeled}"] > 0
    assert facts[f"{left_out}_images"] == count[left_out] and facts["pools"] == [labeled]
    pools = json.loads((ctx.folder / "views.json").read_text())["pools"]
    assert (
        pools[labeled]["asked"] and not pools[left_out]["asked"] and pools[left_out]["views"] == 1
    )


def test_without_a_pool_no_teacher_is_asked(
    inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.label.work.load_for", None)
    facts = run(context(inputs, tmp_path / "a", pools=()))
    assert (facts["teacher_images"], facts["pools"]) == (0, [])
    artifact = LabelArtifact(tmp_path / "a")
    assert artifact.targets("real") is None is artifact.targets("synthetic")
    assert artifact.views("real") == 4 and artifact.keep.all()


def test_teacher_images_count_every_view_also_on_resume(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    facts = run(context(inputs, tmp_path / "a"))
    assert facts["teacher_images"] == 6 * 4 + SYNTHETIC * 3
    assert run(context(inputs, tmp_path / "a")) == facts, "nothing was left to do, the number stays"


def test_a_filter_without_votes_says_so(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    facts = run(context(inputs, tmp_path / "a", pools=("real",), agreement_filter=True))
    assert facts["dropped"] == 0 and "did nothing" in facts["notes"][0]
    assert run(context(inputs, tmp_path / "b", agreement_filter=True))["notes"] == []


def test_diversity_and_gap_come_from_the_first_views(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    ctx = context(inputs, tmp_path / "a")
    facts = run(ctx)
    first = {
        k: v[:, 0].astype(np.float64)
        for k, v in load_file(ctx.folder / "targets.safetensors").items()
        if "feat" in k
    }
    real = first["real_features"] / np.linalg.norm(first["real_features"], axis=1, keepdims=True)
    labels = np.arange(6) // 2
    pairs = [1 - real[2 * k] @ real[2 * k + 1] for k in range(CLASSES)]
    assert facts["diversity_real"] == pytest.approx(np.mean(pairs))
    gap = domain_gap(
        first["synthetic_features"], np.arange(SYNTHETIC) % CLASSES, first["real_features"], labels
    )
    assert facts["domain_gap"] == pytest.approx(gap) and 0 < gap < 2


def test_averaged_targets_are_the_mean_probabilities_of_an_images_views(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    answers = np.log(np.array([[[0.9, 0.1], [0.3, 0.7]]], np.float32)) + 5
    found = averaged(PoolTargets(np.zeros((1, 2, 4), np.float16), answers)).logits
    np.testing.assert_allclose(np.exp(found), [[[0.6, 0.4], [0.6, 0.4]]], rtol=1e-5)
    plain = run(context(inputs, tmp_path / "plain"))
    facts = run(context(inputs, tmp_path / "mean", average_targets=True))
    assert facts == plain, "the vote over views is the same"
    own, mean = (LabelArtifact(tmp_path / name).targets("synthetic") for name in ("plain", "mean"))
    assert own is not None and mean is not None
    np.testing.assert_array_equal(own.features, mean.features)
    assert mean.logits.shape == own.logits.shape and np.ptp(own.logits, axis=1).max() > 0.01
    assert np.ptp(mean.logits, axis=1).max() == 0
    np.testing.assert_allclose(vote(mean.logits), vote(own.logits), atol=1e-6)


def test_weights_are_the_teachers_probability_of_the_class_at_an_even_share_of_classes(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    votes = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.98, 0.02]], np.float32)
    found = class_shares(votes, np.array([0, 0, 0, 1]))
    by_hand = np.array([0.9, 0.2, 0.3]) / ((0.9 + 0.2 + 0.3) / 3)
    np.testing.assert_allclose(found, [*by_hand, 1.0], rtol=1e-5)
    assert class_shares(votes[:0], np.array([], np.int64)).shape == (0,)
    run(context(inputs, tmp_path / "none"))
    assert LabelArtifact(tmp_path / "none").weight is None
    run(context(inputs, tmp_path / "soft", weight="teacher"))
    artifact = LabelArtifact(tmp_path / "soft")
    answers = artifact.targets("synthetic")
    assert answers is not None and artifact.weight is not None and artifact.keep.all()
    classes = np.arange(SYNTHETIC) % CLASSES
    np.testing.assert_allclose(artifact.weight, class_shares(vote(answers.logits), classes))
    facts = run(context(inputs, tmp_path / "real", weight="teacher", pools=("real",)))
    assert any("label.weight did nothing" in note for note in facts["notes"])
