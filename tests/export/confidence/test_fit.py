"""What a build finds out about its own confidence, on small finished stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_models import SIZE, stage_context

from compress.data.spare import SpareImages
from compress.distill.artifact import DistillArtifact
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.quantize import stage as quantize
from export.confidence import wanted
from export.confidence.fit import BATCH, OF_A_KIND, Model, fit_confidence
from export.stage import export_student
from runtime import Classifier
from runtime.files.confidence import problems
from runtime.host import telemetry

K = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[StageContext, dict[str, Path]]:
    root = tmp_path_factory.mktemp("confidence")
    ctx = stage_context(root, "quantize", quantize={"steps": 0, "mode": "ptq"})
    done = Artifact("quantize", ctx.folder, quantize.run(ctx), "content of quantize")
    ctx = stage_context(root, "export", quantize={"steps": 0, "mode": "ptq"})
    ctx = StageContext(ctx.settings, {**ctx.inputs, "quantize": done}, ctx.folder, ctx.seed)
    student = DistillArtifact(ctx.inputs["distill"].path).student()
    spec = student.spec.preprocess(ctx.settings.image)
    images = np.random.default_rng(0).normal(size=(4, 3, SIZE, SIZE)).astype(np.float32)
    files, _ = export_student(ctx, student, spec, images, root / "models")
    return ctx, files


def spec_of(ctx: StageContext):  # type: ignore[no-untyped-def]
    student = DistillArtifact(ctx.inputs["distill"].path).student()
    return student.spec.preprocess(ctx.settings.image)


def spare(ctx: StageContext, most: int) -> SpareImages:
    """Views of the synthetic images, as labeled images."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (60, SIZE, SIZE, 3), dtype=np.uint8)
    return SpareImages(pixels, np.arange(60) % K)


def test_labeled_images_come_first(
    made: tuple[StageContext, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, files = made
    monkeypatch.setattr(wanted, "spare_images", spare)
    found = fit_confidence(ctx, files, spec_of(ctx))
    temperature, rejection = (found.document[key] for key in ("temperature", "rejection"))
    assert temperature["fitted_on"] == rejection["set_on"] == wanted.LABELED
    assert temperature["n"] == rejection["n"] == 60 and "because" not in temperature
    assert set(temperature["models"]) == set(rejection["models"]) == set(files)
    assert temperature["models"]["int8"] == temperature["models"]["int8.trt"]
    assert all(after <= before for before, after in temperature["nll_before_after"].values())
    kinds = {"noise", "flat", "patches", "dead_leaves", "left_out"}
    assert all(set(row) == kinds for row in rejection["auroc"]["int8"].values())
    assert rejection["others_of_a_kind"] == OF_A_KIND and rejection["keep"] == 0.95
    assert found.prototypes is not None and found.prototypes.shape[0] == K
    np.testing.assert_allclose(np.linalg.norm(found.prototypes, axis=1), 1, atol=1e-3)
    document = json.loads(json.dumps(found.document))
    assert not list(problems(document, {"prototypes.npz": {}}))
    again = fit_confidence(ctx, files, spec_of(ctx))
    assert again.document == found.document


def test_few_labeled_images_leave_it_to_the_teacher(
    made: tuple[StageContext, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, files = made
    found = fit_confidence(ctx, files, spec_of(ctx))  # the data are of no source: none is spare
    temperature, rejection = (found.document[key] for key in ("temperature", "rejection"))
    assert temperature["fitted_on"] == wanted.TEACHER
    assert rejection["set_on"] == wanted.LEFT_ONE_OUT and rejection["score"] == "prototype"
    views = wanted.prototype_views(ctx)
    assert views is not None and rejection["n"] == len(views.labels)
    assert set(rejection["auroc"]["int8"]) == {"prototype"}
    assert "other classes" in temperature["because"]
    few = SpareImages(spare(ctx, 9).pixels[:9], np.arange(9) % K)
    monkeypatch.setattr(wanted, "spare_images", lambda ctx, most: few)
    assert (
        "only 9 labeled images"
        in fit_confidence(ctx, files, spec_of(ctx)).document["temperature"]["because"]
    )


def test_one_shot_a_class_is_judged_by_its_views(
    made: tuple[StageContext, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, files = made
    monkeypatch.setattr(wanted.PrototypeViews, "has_several", lambda self, classes: False)
    rejection = fit_confidence(ctx, files, spec_of(ctx)).document["rejection"]
    assert rejection["set_on"] == wanted.HELD_OUT and rejection["n"] == wanted.VIEWS
    assert len(rejection["auroc"]["int8"]) == 4


def test_several_images_are_counted_by_class() -> None:
    def views(labels: list[int], images: list[int]) -> wanted.PrototypeViews:
        pixels = np.zeros((len(labels), 1, 1, 3), np.uint8)
        return wanted.PrototypeViews(pixels, np.array(labels), np.array(images))

    assert views([0, 0, 1, 1], [0, 1, 2, 3]).has_several(2)
    assert not views([0, 0, 1, 1], [0, 1, 2, 2]).has_several(2)
    assert not views([0, 0], [0, 1]).has_several(2)


def test_where_nothing_shows_the_classes_nothing_is_rejected(
    made: tuple[StageContext, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, files = made
    monkeypatch.setattr(wanted, "shows_classes", lambda ctx: False)
    found = fit_confidence(ctx, files, spec_of(ctx))
    assert set(found.document) == {"temperature"} and found.prototypes is None


def test_the_bundle_of_an_export_holds_it(
    made: tuple[StageContext, dict[str, Path]], tmp_path: Path
) -> None:
    from export.bundle.write import write_bundle

    ctx, files = made
    spec = spec_of(ctx)
    found = fit_confidence(ctx, files, spec)
    golden = [np.full((SIZE, SIZE, 3), 9, np.uint8)]
    labels = [{"name": f"class {index}"} for index in range(K)]
    write_bundle(
        tmp_path / "bundle", files, spec, labels, {}, golden, "# a\n", "int8", confidence=found
    )
    model = Classifier.load(tmp_path / "bundle", threads=1)
    assert model.temperature == found.temperatures["int8"] != 1.0
    assert model.rejection is not None and model.rejection.score in ("combined", "prototype")
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    assert model.predict(noise)[0].known in (True, False)
    alone = Classifier.load(tmp_path / "bundle" / "model.int8.onnx", threads=1)
    assert alone.temperature == pytest.approx(model.temperature, rel=1e-5)


def test_the_number_of_cores_changes_no_bit(
    made: tuple[StageContext, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, files = made
    pixels = np.random.default_rng(0).integers(0, 256, (3 * BATCH, SIZE, SIZE, 3), np.uint8)
    found = []
    for cores in (1, 2, 7):
        monkeypatch.setattr(telemetry, "usable_cores", lambda cores=cores: cores)
        answers = Model(files["fp32"], spec_of(ctx)).answers(pixels)
        found.append(answers.logits.tobytes() + answers.features.tobytes())
    assert len(set(found)) == 1
