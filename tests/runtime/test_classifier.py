"""The classifier on real models in a real engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from tiny_bundles import SIZE, SPEC, encoded, float_model, photo

from runtime import (
    BackendError,
    BundleError,
    Classifier,
    ImageError,
    Prediction,
    normalize,
    open_bundle,
)
from runtime.backends import BACKENDS


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
