"""The classifier on real models in a real engine."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from odd_models import change, one_row_for_a_batch, times, whole_number_logits
from PIL import Image
from tiny_bundles import SIZE, SPEC, encoded, float_model, make_bundle, photo

from runtime import (
    BackendError,
    BundleError,
    Classifier,
    ImageError,
    Prediction,
    geometry,
    normalize,
    open_bundle,
)
from runtime.backends import BACKENDS, load

KEPT = {"manifest.json", "labels.json", "preprocess.json", "model.int8.onnx"}


@pytest.fixture(scope="module")
def classifier(bundle: Path) -> Classifier:
    return Classifier.load(bundle, precision="fp32", threads=1)


def test_logits_are_those_of_the_model(bundle: Path, classifier: Classifier) -> None:
    session = onnxruntime.InferenceSession(
        str(bundle / "model.fp32.onnx"), providers=["CPUExecutionProvider"]
    )
    images = [photo(seed) for seed in range(3)]
    tensor = normalize(classifier.pixels(images), SPEC)
    want = session.run(["logits"], {"images": tensor})[0]
    assert np.abs(classifier.logits(images) - want).max() < 1e-5


def test_single_image_gives_a_list_and_a_list_gives_lists(
    tmp_path: Path, classifier: Classifier
) -> None:
    image = photo()
    (tmp_path / "a.png").write_bytes(encoded(image))
    single = classifier.predict(image)
    assert [guess.label for guess in single] == [classifier.labels[guess.index] for guess in single]
    assert sum(guess.probability for guess in single) == pytest.approx(1)
    assert [g.probability for g in single] == sorted((g.probability for g in single), reverse=True)
    for form in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        encoded(image),
        Image.fromarray(image),
    ):
        assert classifier.predict(form) == single
    assert classifier.predict([image, encoded(image)], top_k=2) == [single[:2], single[:2]]
    assert classifier.predict(np.stack([image, image]), top_k=1) == [single[:1]] * 2
    assert classifier.predict([]) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_batch_equals_singles(bundle: Path, precision: str) -> None:
    """More images than one engine call takes, so that the seam is inside."""
    classifier = Classifier.load(bundle, precision=precision, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8)
    together = classifier.logits_u8(pixels)
    alone = np.concatenate([classifier.logits_u8(pixel[None]) for pixel in pixels])
    assert together.shape == (70, 4) and together.dtype == np.float32
    assert np.abs(together - alone).max() < 1e-4
    assert classifier.logits_u8(pixels[:0]).shape == (0, 4)


def test_auto_is_the_manifests_default(bundle: Path) -> None:
    assert Classifier.load(bundle, threads=1).precision == "int8"


def test_one_model_file_is_enough(bundle: Path, tmp_path: Path, classifier: Classifier) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes((bundle / "model.fp32.onnx").read_bytes())
    loaded = Classifier.load(alone, threads=1)
    assert (
        loaded.labels == classifier.labels
        and loaded.spec == classifier.spec
        and loaded.precision == "fp32"
    )
    assert loaded.predict(photo()) == classifier.predict(photo())
    with pytest.raises(BundleError, match="int8"):
        Classifier.load(alone, precision="int8")


def test_model_file_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not describe itself.*clip2edge.labels"):
        Classifier.load(float_model(tmp_path / "m.onnx"))


def test_bad_description_is_refused(tmp_path: Path) -> None:
    model = onnx.load(float_model(tmp_path / "m.onnx"))
    onnx.helper.set_model_props(model, {"clip2edge.labels": "[1", "clip2edge.preprocess": "{}"})
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(BundleError, match="clip2edge.labels"):
        Classifier.load(tmp_path / "n.onnx")


def test_model_with_other_classes_than_labels_is_refused(tmp_path: Path) -> None:
    model = onnx.load(float_model(tmp_path / "m.onnx", classes=3))
    props = {"clip2edge.labels": '["a", "b"]', "clip2edge.preprocess": json.dumps(SPEC.to_json())}
    onnx.helper.set_model_props(model, props)
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(BundleError, match="model and labels disagree"):
        Classifier.load(tmp_path / "n.onnx", threads=1).predict(photo())


def test_model_of_another_size_is_refused(tmp_path: Path) -> None:
    model = onnx.load(float_model(tmp_path / "m.onnx"))
    spec = {**SPEC.to_json(), "size": 24}
    props = {"clip2edge.labels": '["a", "b", "c", "d"]', "clip2edge.preprocess": json.dumps(spec)}
    onnx.helper.set_model_props(model, props)
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(BundleError, match="model and preprocessing disagree"):
        Classifier.load(tmp_path / "n.onnx", threads=1)


def test_unknown_names_and_values_are_refused(bundle: Path, classifier: Classifier) -> None:
    with pytest.raises(BackendError, match=", ".join(BACKENDS)):
        Classifier.load(bundle, backend="abacus")
    with pytest.raises(BundleError, match="auto, fp32, int8"):
        Classifier.load(bundle, precision="int4")
    with pytest.raises(BackendError, match="logits"):
        classifier.logits(photo(), output="boxes")
    with pytest.raises(BackendError, match="threads"):
        Classifier.load(bundle, threads=0)
    with pytest.raises(BackendError, match="top_k"):
        classifier.predict(photo(), top_k=0)


def test_corrupt_image_is_named(tmp_path: Path, classifier: Classifier) -> None:
    (tmp_path / "bad.jpg").write_bytes(encoded(photo(), "JPEG")[:200])
    with pytest.raises(ImageError, match="bad.jpg"):
        classifier.predict([photo(), tmp_path / "bad.jpg"])


def test_reprs_are_short(bundle: Path, classifier: Classifier) -> None:
    provider = "OrtRunner(CPUExecutionProvider, 1 threads, outputs ['logits'])"
    assert repr(classifier) == f"Classifier(fp32, 4 labels, 32 x 32, {provider})"
    assert repr(open_bundle(bundle)) == f"Bundle({str(bundle)!r}, 4 labels, fp32, int8; int8)"
    guess = Prediction("rose", 0, 0.97123456)
    assert repr(guess) == "Prediction(label='rose', index=0, probability=0.9712)"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_logits_that_are_not_finite_are_no_answer(
    bundle: Path, tmp_path: Path, precision: str, value: float
) -> None:
    broken = shutil.copytree(bundle, tmp_path / "bundle")
    change(broken, (f"model.{precision}.onnx",), times(value))
    classifier = Classifier.load(broken, precision, threads=1)
    bright = np.full((40, 40, 3), 255, np.uint8)
    for answer in (classifier.predict, classifier.logits, lambda x: classifier.predict([x, x])):
        with pytest.raises(BackendError, match="not finite"):
            answer(bright)


@pytest.mark.parametrize("row", [[np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [-np.inf] * 4, [1e300] * 4])
def test_ranked_takes_finite_logits_alone(classifier: Classifier, row: list[float]) -> None:
    with pytest.raises(BackendError, match="not finite"):
        classifier.ranked(np.array([row]))
    with pytest.raises(BackendError, match="no numbers"):
        classifier.ranked(np.array([["a"] * 4]))


def test_the_position_in_a_list_is_named(classifier: Classifier) -> None:
    for bad in (None, "gone.png", np.zeros((2, 2)), b"", [photo()]):
        with pytest.raises(ImageError, match=r"images\[1\]"):
            classifier.predict([photo(), bad, photo()])
        with pytest.raises(ImageError, match=r"images\[40\]"):
            classifier.predict(photo() if index != 40 else bad for index in range(50))


def test_any_order_of_images_is_a_list(classifier: Classifier) -> None:
    want = classifier.predict([photo(index) for index in range(40)], top_k=1)
    assert classifier.predict((photo(index) for index in range(40)), top_k=1) == want
    assert classifier.predict(iter(())) == []
    for wrong in ({"a.png"}, {"a.png": 1}, None, 3, 1.5):
        with pytest.raises(ImageError, match="unknown type"):
            classifier.predict(wrong)


@pytest.mark.parametrize("top_k", [None, 1.5, True, "2", np.bool_(True), -1, float("nan"), [1]])
def test_top_k_is_a_whole_number(classifier: Classifier, top_k: object) -> None:
    with pytest.raises(BackendError, match="top_k"):
        classifier.predict(photo(), top_k=top_k)
    with pytest.raises(BackendError, match="top_k"):
        classifier.ranked(np.zeros((1, 4)), top_k)


def test_any_integer_is_a_top_k(classifier: Classifier) -> None:
    assert len(classifier.predict(photo(), top_k=np.int64(2))) == 2
    assert len(classifier.predict(photo(), top_k=10**30)) == 4


@pytest.mark.parametrize("wrong", [{"threads": 1.5}, {"threads": "2"}, {"backend": ["a"]}])
def test_wrong_types_of_options_are_backend_errors(bundle: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(BackendError):
        Classifier.load(bundle, **wrong)


@pytest.mark.parametrize("path", [None, 3, ["bundle"], "a\0b", ""])
def test_what_is_no_path_is_a_bundle_error(path: Any) -> None:
    with pytest.raises(BundleError):
        Classifier.load(path)


def _label(classifier: Classifier) -> str:
    return classifier.predict(photo())[0].label


def test_a_classifier_is_copied_and_sent_to_processes(bundle: Path) -> None:
    first = Classifier.load(bundle, "fp32", threads=1)
    for again in (copy.copy(first), copy.deepcopy([first])[0]):
        assert again.predict(photo()) == first.predict(photo()) and again.runner is not first.runner
        assert (again.precision, again.runner.threads) == ("fp32", 1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_label, [first]) == [_label(first)]
    with pytest.raises(BackendError, match="cannot be copied"):
        copy.copy(Classifier(first.runner, first.label_rows, first.spec, "fp32", "onnxruntime"))


def test_a_copy_of_a_bundle_that_was_replaced_is_refused(bundle: Path, tmp_path: Path) -> None:
    own = shutil.copytree(bundle, tmp_path / "bundle")
    first = Classifier.load(own, "fp32", threads=1)
    change(own, ("model.fp32.onnx",), times(2))
    with pytest.raises(BundleError, match="another model"):
        copy.copy(first)


def test_a_bundle_replaced_while_it_is_loaded_is_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(bundle, tmp_path / "bundle")

    def replaced(*arguments: Any, **options: Any) -> Any:
        change(own, ("model.int8.onnx",), times(2))
        return load(*arguments, **options)

    monkeypatch.setattr("runtime.classifier.load_model", replaced)
    with pytest.raises(BundleError, match="was replaced while it was loaded"):
        Classifier.load(own, threads=1)


def test_files_that_a_model_does_not_need_may_be_deleted(bundle: Path, tmp_path: Path) -> None:
    own = shutil.copytree(bundle, tmp_path / "bundle")
    for file in own.rglob("*"):
        if file.is_file() and file.name not in KEPT:
            file.unlink()
    want = Classifier.load(bundle, threads=1).predict(photo())
    assert Classifier.load(own, threads=1).predict(photo()) == want
    with pytest.raises(BundleError, match=r"model\.fp32\.onnx is missing.*load int8"):
        Classifier.load(own, "fp32")
    (own / "labels.json").unlink()
    with pytest.raises(BundleError, match=r"labels\.json is missing"):
        Classifier.load(own)


def test_a_path_may_be_written_in_any_way(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(bundle, tmp_path / "blüte 花" / "b ü")
    (tmp_path / "link").symlink_to(own)
    monkeypatch.setenv("HOME", str(tmp_path))
    want = Classifier.load(bundle, threads=1).predict(photo())
    for path in (own, str(own), os.fsencode(own), tmp_path / "link", "~/link"):
        assert Classifier.load(path, threads=1).predict(photo()) == want


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"provider_options": 3}, "provider_options · got 3 · expected a mapping"),
        ({"provider_options": ["a"]}, "expected a mapping"),
        ({"foo": 1}, "unknown option of onnxruntime · got foo · expected threads"),
        ({"options": 3}, "got 3 · expected onnxruntime.SessionOptions"),
        ({"provider": 3}, "unknown provider"),
    ],
)
def test_wrong_options_are_explained(bundle: Path, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(BackendError, match=says):
        Classifier.load(bundle, **wrong)


@pytest.mark.parametrize("pixels", [None, [1], "x", np.zeros((1, SIZE, SIZE, 3)), np.uint8(1)])
def test_wrong_pixels_are_explained(classifier: Classifier, pixels: Any) -> None:
    for method in (classifier.logits_u8, classifier.feed):
        with pytest.raises(ImageError, match="expected uint8"):
            method(pixels)


def test_pixels_take_what_predict_takes(classifier: Classifier) -> None:
    assert np.array_equal(classifier.pixels(photo()), classifier.pixels([photo()]))
    for wrong in ([], None, 3, [3]):
        with pytest.raises(ImageError):
            classifier.pixels(wrong)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="expected a PIL image"):
        geometry(None, SPEC)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4,), (), (1, 0), (1, 3), (1, 4, 1)])
def test_logits_of_another_shape_are_not_ranked(
    classifier: Classifier, shape: tuple[int, ...]
) -> None:
    with pytest.raises(BackendError, match=r"logits to rank.*expected \(B, 4\)"):
        classifier.ranked(np.zeros(shape, np.float32))
    assert classifier.ranked(np.zeros((0, 4), np.float32)) == []


@pytest.mark.parametrize("edit", [whole_number_logits, one_row_for_a_batch])
def test_a_model_without_a_row_of_real_numbers_for_each_image_is_refused(
    built: Path, tmp_path: Path, edit: Any
) -> None:
    bundle = Path(shutil.copytree(built, tmp_path / "bundle"))
    change(bundle, ("model.fp32.onnx",), edit)
    with pytest.raises(BackendError, match="the model's logits.*expected real numbers"):
        Classifier.load(bundle, "fp32", threads=1)


def test_features_are_rows_of_length_one(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path, features=True)
    model = Classifier.load(bundle, "fp32", threads=1)
    images = [photo(seed) for seed in range(3)]
    got = model.features(images)
    runner = load("onnxruntime", bundle / "model.fp32.onnx", threads=1)
    np.testing.assert_array_equal(got, runner.run(model.feed(model.pixels(images)), "features"))
    assert got.shape == (3, 32) and got.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.features(photo(1))[0], got[1], atol=1e-6)
    with pytest.raises(ImageError, match="no images"):
        model.features([])
    twin = load("onnxruntime", bundle / "onnx" / "model.onnx", threads=1)
    assert twin.outputs == ("logits", "features")


def test_a_model_of_before_says_that_it_has_no_features(classifier: Classifier) -> None:
    assert not classifier.has_features
    with pytest.raises(BundleError, match=r"fp32 model has no features.*compress build"):
        classifier.features(photo(0))
