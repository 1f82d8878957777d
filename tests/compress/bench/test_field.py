"""The shipped model on images of no class and on images that got worse on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from finished_runs import Finished
from PIL import Image

from compress.bench import field
from compress.bench.artifact import BenchArtifact
from compress.bench.unknown import MOST, checks, fingerprint, unknown_images
from compress.data.artifact import DataArtifact
from compress.engine.config import Settings, resolve
from compress.engine.errors import DataError
from compress.engine.stage import StageContext
from compress.evaluate.corruptions import CORRUPTIONS
from runtime import Classifier
from runtime.preprocess import Geometry


def photos(folder: Path, count: int, edge: int = 40) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        pixels = rng.integers(0, 256, (edge, edge, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder


def test_the_field_of_a_bench_is_stored(finished: Finished) -> None:
    stored = BenchArtifact(finished.stages["bench"].path)
    told = stored.field()
    rejection, stress = told["rejection"], told["stress"]
    assert set(rejection["kinds"]) == {field.NOISE, field.FLAT, field.BROKEN, field.LEFT_OUT}
    for row in rejection["kinds"].values():
        assert 0 <= row["auroc"] <= 1 and 0 <= row["fpr95"] <= 1 and 0 <= row["passed"] <= 1
        assert row["wanted"] == rejection["wanted"]
    low, high = rejection["kept_ci95"]
    assert low <= rejection["kept"] <= high
    assert len(stored.passed()) == len(rejection["pictures"]) <= field.SHOWN
    assert set(stress["kinds"]) == set(CORRUPTIONS)
    tests = DataArtifact(finished.stages["data"].path).images("test")
    assert stress["n"] == min(40, len(tests))
    for rows in stress["kinds"].values():
        assert [row["severity"] for row in rows] == [1, 2, 3, 4, 5]
        assert all(0 <= row["top1"] <= 1 and 0 <= row["known"] <= 1 for row in rows)
    worst = stress["kinds"]["noise"][-1]["top1"]
    assert worst < stress["clean"]["top1"], "strong noise costs accuracy"


def context(finished: Finished, tmp_path: Path, **bench: object) -> StageContext:
    settings = finished.settings.model_copy(
        update={"bench": finished.settings.bench.model_copy(update=bench)}
    )
    return StageContext(settings, finished.stages, tmp_path)


def test_the_numbers_are_those_of_the_runtime(finished: Finished, tmp_path: Path) -> None:
    ctx = context(finished, tmp_path, stress_images=20)
    found = field.measure_field(ctx, "int8")
    again = field.measure_field(ctx, "int8")
    assert found.plain() == again.plain()
    classifier = Classifier.load(finished.stages["export"].path / "bundle", "int8", threads=1)
    tests = DataArtifact(finished.stages["data"].path).images("test")
    rejection = found.rejection
    assert rejection is not None and classifier.rejection is not None
    if rejection["wanted"] == len(tests):
        kept = classifier.rejection.known(classifier.logits_u8(np.asarray(tests.pixels)))
        assert rejection["kept"] == pytest.approx(kept.mean())
    assert found.stress is not None and found.stress["n"] == 20
    for pixels, row in zip(found.pictures, rejection["pictures"], strict=True):
        (guess,) = classifier.predict(pixels, top_k=1)
        assert (guess.label, guess.known) == (row["label"], True) and row["above"] >= 0
        assert guess.probability == pytest.approx(row["confidence"], abs=1e-5)


def test_images_of_other_things_take_part(finished: Finished, tmp_path: Path) -> None:
    folder = photos(tmp_path / "others", 9)
    (folder / "broken.png").write_bytes(b"no image")
    ctx = context(finished, tmp_path, stress_images=0, unknown=folder)
    found = field.measure_field(ctx, "int8")
    assert found.rejection is not None and found.stress is None
    assert found.rejection["kinds"][field.OTHER]["others"] == 9


def test_a_bundle_of_before_has_nothing_to_measure(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = field.student

    def without(*arguments: object) -> Classifier:
        loaded = plain(*arguments)  # type: ignore[arg-type]
        loaded.rejection = None
        return loaded

    monkeypatch.setattr(field, "student", without)
    found = field.measure_field(context(finished, tmp_path, stress_images=8), "fp32")
    assert found.rejection is None and len(found.pictures) == 0
    assert found.stress is not None and found.stress["clean"]["known"] is None


def settings(folder: Path) -> Settings:
    return resolve({"bench": {"unknown": folder}})


def test_the_folder_is_a_part_of_the_identity(tmp_path: Path) -> None:
    folder = photos(tmp_path / "others", 2)
    before = fingerprint(settings(folder))
    assert set(before) == {"unknown"} and fingerprint(Settings()) == {}
    Image.new("RGB", (4, 4)).save(folder / "more.png")
    assert fingerprint(settings(folder)) != before
    assert fingerprint(settings(tmp_path / "gone")) == {}


def test_many_images_are_spread(tmp_path: Path) -> None:
    shape = Geometry(8, 8, "bilinear")
    many = unknown_images(settings(photos(tmp_path / "many", MOST + 40, 8)), shape)
    assert many is not None and many.shape == (MOST, 8, 8, 3)
    assert unknown_images(Settings(), shape) is None


def test_a_folder_without_images_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, got in (("empty", "an empty folder"), ("gone", "no folder")):

        class Before:
            settings = resolve({"bench": {"unknown": tmp_path / name}})

        (check,) = checks(Before())  # type: ignore[arg-type]
        with pytest.raises(DataError, match=f"holds no image.*{got}"):
            check()
