"""The LiteRT backend on two small files of its own converter, beside the ONNX files they come from.

``tests/data/litert`` holds what ``export.engines.litert.write`` makes of ``tiny_bundles``' models
with features.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from tiny_bundles import SIZE, float_model, int8_model, make_bundle, photo

from export.bundle.write import seal
from runtime import BackendError, BundleError, Classifier, golden, open_bundle
from runtime.backends import BACKENDS, load
from runtime.files.litert import check

pytest.importorskip("ai_edge_litert", reason="needs pip install 'clip2edge[litert]'")
FILES = ROOT / "tests" / "data" / "litert"


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The ONNX files that the LiteRT files come from."""
    folder = tmp_path_factory.mktemp("sources")
    fp32 = float_model(folder / "a.onnx", features=True)
    return {"fp32": fp32, "int8": int8_model(fp32, folder / "b.onnx")}


@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-5), ("int8", 0.02)])
def test_it_answers_as_onnxruntime_does(
    sources: dict[str, Path], precision: str, share: float
) -> None:
    ours = load("litert", FILES / f"tiny.{precision}.tflite", threads=1)
    theirs = load("onnxruntime", sources[precision], threads=1)
    assert (ours.outputs, ours.input_size, ours.threads) == (("logits", "features"), SIZE, 1)
    names = ("logits", "features")
    got, want = ours.run_all(images(), names), theirs.run_all(images(), names)
    for name in names:
        assert got[name].shape == want[name].shape and got[name].dtype == np.float32
        assert np.abs(got[name] - want[name]).max() <= share * np.ptp(want[name]), name
    assert (got["logits"].argmax(1) == want["logits"].argmax(1)).all()


def test_its_operators_prove_that_int8_runs(sources: dict[str, Path]) -> None:
    row = BACKENDS["litert"]
    integer = load("litert", FILES / "tiny.int8.tflite", threads=1).kernels  # type: ignore[attr-defined]
    assert integer["CONV_2D int8"] == 2 and row.is_quantized(integer)
    floating = load("litert", FILES / "tiny.fp32.tflite", threads=1).kernels  # type: ignore[attr-defined]
    assert floating["CONV_2D float32"] == 2 and not row.is_quantized(floating)


def test_the_input_has_the_steps_of_our_first_quantizer(sources: dict[str, Path]) -> None:
    """No second calibration: scale and zero point are those of the ONNX file, as int8."""
    import onnx

    model = onnx.load(sources["int8"])
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    scale, point = (tensors[name] for name in first.input[1:3])
    runner = load("litert", FILES / "tiny.int8.tflite", threads=1)
    own_scale, own_point = runner._input["quantization"]  # type: ignore[attr-defined]
    assert own_scale == pytest.approx(float(scale), rel=1e-6) and own_point == int(point) - 128


def test_a_bundle_with_its_files_runs_and_is_verified(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "bundle", tmp_path, features=True)
    rows = {}
    for precision in ("fp32", "int8"):
        key = f"{precision}.litert"
        shutil.copy(FILES / f"tiny.{precision}.tflite", made / f"model.{key}.tflite")
        rows[key] = {"file": f"model.{key}.tflite", "state": "verified", "why": "by hand"}
    models = {name: file.name for name, file in open_bundle(made).models.items()}
    assert seal(made, models, "int8", rows)["schema"] == 3
    classifier = Classifier.load(made, backend="litert", threads=1)
    assert classifier.precision == "int8.litert"
    photos = [photo(seed) for seed in range(3)]
    want = Classifier.load(made, "int8", threads=1)
    assert [row[0].label for row in classifier.predict(photos)] == [
        row[0].label for row in want.predict(photos)
    ]
    assert np.abs(np.linalg.norm(classifier.features(photos), axis=1) - 1).max() < 1e-3
    states = {step.name: step.state for step in golden.verify(made, threads=1)}
    assert states["logits int8.litert"] == "skipped", "nobody wrote golden logits of it"


def test_refusals_are_our_errors(tmp_path: Path) -> None:
    runner = load("litert", FILES / "tiny.fp32.tflite", threads=1)
    with pytest.raises(BackendError, match=r"images.*\(1, 3, 9, 9\).*3, 32, 32"):
        runner.run(np.zeros((1, 3, 9, 9), np.float32))
    with pytest.raises(BackendError, match="no output 'scores'"):
        runner.run(images(1), "scores")
    with pytest.raises(BackendError, match="threads"):
        load("litert", FILES / "tiny.fp32.tflite", threads=0)
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    with pytest.raises(BackendError, match="litert cannot load"):
        load("litert", tmp_path / "m.tflite")
    (tmp_path / "n.tflite").write_bytes(b"no model at all")
    with pytest.raises(BundleError, match="not a LiteRT model"):
        check(tmp_path / "n.tflite")


def test_operators_that_no_classifier_needs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.backends import litert

    monkeypatch.setattr(litert, "SAFE", litert.SAFE - {"CONV_2D"})
    with pytest.raises(BundleError, match="no classifier needs.*CONV_2D"):
        load("litert", FILES / "tiny.fp32.tflite")


def test_an_absent_engine_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(BackendError, match="not installed") as caught:
        load("litert", FILES / "tiny.fp32.tflite")
    assert caught.value.remedy == "pip install 'clip2edge[litert]'"
