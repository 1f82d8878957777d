"""Stage "label": one teacher answer per view, replayable, resumable; and the agreement filter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")
from safetensors.numpy import load_file, save_file
from tiny_sources import CLASSES, MODEL, save_folder, write_data

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
from compress.evaluate.metrics import domain_gap
from compress.label import stage as label
from compress.label.stage import agreeing, balanced_views, run, vote
from compress.teacher.clip import Teacher, load_teacher

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
    heads = {
        "zero_shot": head[::-1].copy(),
        "probe": head,
        "logit_scale": np.asarray(7.5, np.float32),
    }
    save_file(heads, root / "teacher/heads.safetensors")
    made = root / "generate"
    made.mkdir()
    np.save(
        made / "synthetic.npy",
        np.random.default_rng(4).integers(0, 255, (SYNTHETIC, 8, 8, 3), dtype=np.uint8),
    )
    records = [json.dumps({"class_id": i % CLASSES}) + "\n" for i in range(SYNTHETIC)]
    (made / "synthetic.jsonl").write_text("".join(records))
    paths = {"data": data.path, "teacher": root / "teacher", "generate": made}
    return {name: Artifact(name, path, {}, name) for name, path in paths.items()}


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

    import runtime

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
    head = load_file(inputs["teacher"].path / "heads.safetensors")["probe"]
    stored = json.loads((ctx.folder / "views.json").read_text())
    image = np.load(inputs["generate"].path / "synthetic.npy")[4]
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
    monkeypatch.setattr(label, "load_teacher", None)  # complete shards need no teacher
    assert run(broken) == facts


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
    made = tmp_path / "none"
    made.mkdir()
    np.save(made / "synthetic.npy", np.empty((0, 8, 8, 3), np.uint8))
    (made / "synthetic.jsonl").write_text("")
    ctx = context(
        {**inputs, "generate": Artifact("generate", made, {}, "n")}, tmp_path / "a", real_views=None
    )
    facts = run(ctx)
    targets = load_file(ctx.folder / "targets.safetensors")
    assert targets["synthetic_logits"].shape == (0, 3, 3)
    assert targets["synthetic_features"].dtype == np.float16
    assert targets["real_logits"].shape == (6, 3, 3)
    assert facts["teacher_agreement_synthetic"] is None


def test_views_are_balanced() -> None:
    assert balanced_views(96, 1536, 4) == 64
    assert balanced_views(10, 21, 2) == 5
    assert balanced_views(100, 0, 4) == 4
    assert balanced_views(0, 100, 4) == 4


@pytest.mark.parametrize("asked, left_out", [("real", "synthetic"), ("synthetic", "real")])
def test_a_pool_that_is_left_out_costs_no_teacher_call(
    inputs: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    left_out: str,
) -> None:
    """methods.md A.7, oracle 5: the teacher sees the real images and no other."""
    seen = []
    encode = Teacher.encode_images

    def counting(self: Teacher, images: np.ndarray, batch: int = 256) -> np.ndarray:
        seen.append(len(images))
        return encode(self, images, batch)

    monkeypatch.setattr(Teacher, "encode_images", counting)
    ctx = context(inputs, tmp_path / "a", pools=(asked,), views=1, real_views=1)
    facts = run(ctx)
    count = {"real": 6, "synthetic": SYNTHETIC}
    assert sum(seen) == facts["teacher_images"] == count[asked], "one call an image"
    targets = load_file(ctx.folder / "targets.safetensors")
    assert set(targets) == {f"{asked}_features", f"{asked}_logits", "keep"}
    assert targets["keep"].all() and len(targets["keep"]) == SYNTHETIC
    assert (
        facts[f"teacher_agreement_{left_out}"]
        is None
        is facts[f"diversity_{left_out}"]
        is facts["domain_gap"]
    )
    assert facts[f"teacher_agreement_{asked}"] is not None and facts[f"diversity_{asked}"] > 0
    assert facts[f"{left_out}_images"] == count[left_out] and facts["pools"] == [asked]
    pools = json.loads((ctx.folder / "views.json").read_text())["pools"]
    assert pools[asked]["asked"] and not pools[left_out]["asked"] and pools[left_out]["views"] == 1


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
