"""Scores of known images, and what a bundle says of its confidence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from tiny_bundles import LABELS, SPEC, float_model, make_bundle, photo, with_confidence

from export.bundle.write import copy_with_metadata, model_metadata
from runtime import BackendError, BundleError, Classifier, Prediction
from runtime.files.confidence import PROTOTYPES, row_of
from runtime.rejection import COMBINED, SCORES, Rejection, needs_features, scores

RNG = np.random.default_rng(0)
LOGITS = 5 * RNG.normal(size=(6, 4)).astype(np.float32)
FEATURES = RNG.normal(size=(6, 8)).astype(np.float32)
FEATURES /= np.linalg.norm(FEATURES, axis=1, keepdims=True)
PROTO = np.eye(4, 8, dtype=np.float32)
SCALES = {"max_logit": (2.0, 3.0), "energy": (2.5, 3.0), "prototype": (0.4, 0.1)}


def test_scores_are_their_formulas() -> None:
    np.testing.assert_allclose(scores("max_logit", LOGITS), LOGITS.max(1))
    np.testing.assert_allclose(scores("energy", LOGITS), logsumexp(LOGITS, axis=1), rtol=1e-6)
    cosines = scores("prototype", LOGITS, FEATURES, PROTO)
    np.testing.assert_allclose(cosines, FEATURES[:, :4].max(1), rtol=1e-6)
    parts = [LOGITS.max(1), logsumexp(LOGITS, axis=1), FEATURES[:, :4].max(1)]
    mean = np.mean([(p - m) / s for p, (m, s) in zip(parts, SCALES.values(), strict=True)], 0)
    np.testing.assert_allclose(scores(COMBINED, LOGITS, FEATURES, PROTO, SCALES), mean, rtol=1e-6)
    assert scores("energy", np.array([[1e4, 0.0, 0.0, 0.0]])) == [1e4]
    assert [name for name in SCORES if needs_features(name)] == ["prototype", COMBINED]


def test_an_image_at_the_threshold_is_known() -> None:
    top = LOGITS.max(1).astype(np.float64)
    rejection = Rejection("max_logit", float(top[2]), 0.95)
    np.testing.assert_array_equal(rejection.known(LOGITS), top >= top[2])
    assert rejection.known(LOGITS[:0]).shape == (0,) and not rejection.needs_features


def test_features_that_are_missing_or_do_not_fit_are_refused() -> None:
    rejection = Rejection("prototype", 0.5, 0.95, {}, PROTO)
    with pytest.raises(BackendError, match="needs features and prototypes"):
        rejection.known(LOGITS)
    with pytest.raises(BackendError, match=r"do not fit the prototypes.*\(B, 3\).*\(B, 8\)"):
        rejection.known(LOGITS, FEATURES[:, :3])


@pytest.mark.parametrize(
    ("model", "row"),
    [("int8", "b"), ("int8.u8in.batch1", "b"), ("int8.trt", "c"), ("fp16", "a"), ("mixed", "a")],
)
def test_a_target_has_the_row_of_what_it_was_made_from(model: str, row: str) -> None:
    assert row_of({"fp32": "a", "int8": "b", "int8.trt": "c"}, model, None) == row
    assert row_of({}, model, "none") == "none"


@pytest.fixture(scope="module")
def featured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("featured")
    return make_bundle(scratch / "bundle", scratch, features=True)


def test_probabilities_are_those_at_the_temperature(featured: Path, tmp_path: Path) -> None:
    told = {"temperature": {"models": {"fp32": 2.5, "int8": 0.5}}}
    bundle = with_confidence(featured, tmp_path / "copy", told)
    images = [photo(seed) for seed in range(3)]
    for precision, temperature in (("fp32", 2.5), ("int8", 0.5)):
        plain = Classifier.load(featured, precision, threads=1)
        model = Classifier.load(bundle, precision, threads=1)
        assert plain.temperature == 1.0 and model.temperature == temperature
        logits = plain.logits(images)
        np.testing.assert_array_equal(model.logits(images), logits)  # they stay raw
        got = [[guess.probability for guess in row] for row in model.predict(images)]
        want = np.sort(softmax(logits / temperature, axis=1), axis=1)[:, ::-1]
        np.testing.assert_allclose(got, want, rtol=1e-5)
        order = [[guess.index for guess in row] for row in model.predict(images)]
        assert order == [[guess.index for guess in row] for row in plain.predict(images)]
        assert model.predict(images)[0][0].known is None


def test_one_model_file_has_its_temperature_and_no_rejection(tmp_path: Path) -> None:

    source = float_model(tmp_path / "a.onnx")
    names = [str(label["name"]) for label in LABELS]
    metadata = model_metadata(names, SPEC, "fp32", 1.75)
    copy_with_metadata(source, tmp_path / "model.fp32.onnx", metadata)
    model = Classifier.load(tmp_path / "model.fp32.onnx", threads=1)
    assert model.temperature == 1.75 and model.rejection is None
    for wrong in ("0", "nan", "-1", "hot"):
        bad = {**metadata, "clip2edge.temperature": wrong}
        copy_with_metadata(source, tmp_path / "bad.onnx", bad)
        with pytest.raises(BundleError, match="temperature"):
            Classifier.load(tmp_path / "bad.onnx", threads=1)


def test_known_is_told_of_every_image(featured: Path, tmp_path: Path) -> None:
    images = [photo(seed) for seed in range(6)]
    plain = Classifier.load(featured, "fp32", threads=1)
    logits, features = plain.logits(images), plain.features(images)
    prototypes = np.stack([features[:4].mean(0) + 0.01 * k for k in range(4)])
    stored = prototypes.astype(np.float16)
    values = scores(COMBINED, logits, features, stored.astype(np.float32), SCALES)
    threshold = float(np.sort(values)[3])
    row = {"threshold": threshold, "scales": {name: list(pair) for name, pair in SCALES.items()}}
    told = {"score": COMBINED, "keep": 0.9, "prototypes": PROTOTYPES, "models": {"fp32": row}}
    bundle = with_confidence(featured, tmp_path / "copy", {"rejection": told}, stored)
    model = Classifier.load(bundle, "fp32", threads=1)
    want = values >= threshold
    np.testing.assert_array_equal(model.known(images), want)
    assert want.sum() == 3
    guesses = model.predict(images, top_k=2)
    assert [[guess.known for guess in row] for row in guesses] == [[bool(k)] * 2 for k in want]
    assert model.predict(images[0])[0].known is bool(want[0])
    assert model.predict([]) == [] and "known=" in repr(guesses[0][0])
    assert Prediction("a", 0, 0.5).known is None
    assert Classifier.load(bundle, "int8", threads=1).rejection is not None, "that of fp32"


def test_a_bundle_of_before_does_not_guess(featured: Path) -> None:
    with pytest.raises(BundleError, match=r"does not tell whether.*compress build"):
        Classifier.load(featured, "fp32", threads=1).known(photo(0))


def test_prototypes_need_a_model_with_features(built: Path, tmp_path: Path) -> None:
    row = {"threshold": 0.0, "scales": {}}
    told = {"score": "prototype", "keep": 0.9, "prototypes": PROTOTYPES, "models": {"fp32": row}}
    bundle = with_confidence(built, tmp_path / "copy", {"rejection": told}, PROTO)
    model = Classifier.load(bundle, "fp32", threads=1)
    with pytest.raises(BundleError, match="the fp32 model has no features"):
        model.predict(photo(0))
    shutil.rmtree(bundle)
    bundle = with_confidence(built, tmp_path / "copy", {"rejection": told}, PROTO[:3])
    with pytest.raises(BundleError, match=r"prototypes.npz holds no prototypes.*\(4, D\)"):
        Classifier.load(bundle, "fp32", threads=1)


ROW = {"threshold": 1.0, "scales": {}}


@pytest.mark.parametrize(
    ("confidence", "says"),
    [
        ([], "confidence that is no table"),
        ({"temperature": 2}, "temperature that is no table"),
        ({"temperature": {"models": {"fp32": 0}}}, "temperature 0 of fp32"),
        ({"temperature": {"models": {"fp32": "1"}}}, "temperature 1 of fp32"),
        ({"temperature": {"models": {"fp32": True}}}, "temperature True of fp32"),
        ({"temperature": {"models": []}}, "no table of models"),
        ({"rejection": {"score": "luck"}}, "rejection by 'luck'"),
        ({"rejection": {"score": "energy", "keep": 2}}, "keeps 2, not a share"),
        ({"rejection": {"score": "prototype", "keep": 1}}, "not a listed .npz file"),
        (
            {"rejection": {"score": "energy", "keep": 1, "prototypes": ["a"]}},
            "not a listed .npz file",
        ),
        (
            {"rejection": {"score": "energy", "keep": 1, "prototypes": "labels.json"}},
            "not a listed .npz file",
        ),
        ({"rejection": {"score": "energy", "keep": 1, "models": {"a": 1}}}, "without a threshold"),
        (
            {
                "rejection": {
                    "score": "energy",
                    "keep": 1,
                    "models": {"a": {**ROW, "scales": {"energy": [0, 0]}}},
                }
            },
            "without a threshold and scales",
        ),
    ],
)
def test_a_part_that_is_no_confidence_is_refused(
    built: Path, tmp_path: Path, confidence: Any, says: str
) -> None:
    bundle = with_confidence(built, tmp_path / "copy", confidence)
    with pytest.raises(BundleError, match=says):
        Classifier.load(bundle, "fp32", threads=1)
