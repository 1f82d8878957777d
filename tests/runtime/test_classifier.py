"""The classifier on real models in a real engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from tiny_bundles import SIZE, SPEC, encoded, float_model, make_bundle, photo

from runtime import BackendError, BundleError, Classifier, ImageError, normalize
from runtime.__main__ import main
from runtime.backends import BACKENDS
from runtime.backends.onnxruntime import load, quantized_kernels
from runtime.bench.cold import HEAVY, measure_cold
from runtime.bench.latency import COMPUTE, END_TO_END
from runtime.bench.run import bench


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("built") / "bundle", tmp_path_factory.mktemp("scratch")
    )


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


def test_absent_provider_lists_those_present(bundle: Path) -> None:
    with pytest.raises(
        BackendError, match="provider NpuExecutionProvider is absent.*CPUExecutionProvider present"
    ):
        Classifier.load(bundle, provider="NpuExecutionProvider")


def test_unknown_backend_precision_output_and_threads(bundle: Path, classifier: Classifier) -> None:
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


def test_graph_the_engine_refuses(tmp_path: Path) -> None:
    model = onnx.load(float_model(tmp_path / "m.onnx"))
    model.graph.node[0].op_type = "Convolve"
    (tmp_path / "n.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BackendError, match="cannot load"):
        load(tmp_path / "n.onnx")


def test_wrong_batch_is_our_error(bundle: Path) -> None:
    with pytest.raises(BackendError, match="refused the batch"):
        load(bundle / "model.fp32.onnx", threads=1).run(np.zeros((1, 3, 5, 5), np.float32))


def test_profile_counts_the_integer_kernels_that_ran(bundle: Path) -> None:
    row = BACKENDS["onnxruntime"]
    integer = quantized_kernels(bundle / "model.int8.onnx")
    assert integer["QLinearConv"] == 2 and row.is_quantized(integer)
    floating = quantized_kernels(bundle / "model.fp32.onnx")
    assert not any(name.startswith("QLinear") for name in floating)
    assert not row.is_quantized(floating)


def test_cold_process_loads_nothing_heavy(bundle: Path) -> None:
    cold = measure_cold(bundle, threads=1)
    assert cold.heavy_modules == ()
    assert 0 < cold.import_ms < cold.process_ms and cold.first_ms > 0
    assert cold.peak_rss_bytes is None or cold.peak_rss_bytes < 400 * 2**20


def test_cold_process_would_see_a_heavy_module(bundle: Path, tmp_path: Path, monkeypatch) -> None:
    """The guard above, broken on purpose: a site hook imports something called typer."""
    (tmp_path / "typer.py").write_text("")
    (tmp_path / "usercustomize.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text("import typer\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert measure_cold(bundle, threads=1).heavy_modules == ("typer",)


def test_import_alone_loads_no_engine() -> None:
    code = (
        f"import sys, runtime; print([m for m in {(*HEAVY, 'onnxruntime')!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_cold_failure_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="is not a bundle"):
        measure_cold(tmp_path)


def test_command_line(bundle: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    assert (
        main(["classify", str(bundle), str(tmp_path / "a.png"), "--top-k", "2", "--threads", "1"])
        == 0
    )
    assert capsys.readouterr().out.count("%") == 2
    assert main(["classify", str(bundle), str(tmp_path / "a.png"), "--json", "--threads", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)[str(tmp_path / "a.png")]) == 4
    assert main(["verify", str(bundle), "--threads", "1"]) == 0
    assert main(["classify", str(tmp_path), "x.png"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_bench_reports_every_model_both_ways(bundle: Path, capsys, monkeypatch) -> None:
    report = bench(bundle, seconds=0.1, threads=1)
    kinds = {(line.precision, line.includes) for line in report.rows}
    assert kinds == {
        (precision, what) for precision in ("fp32", "int8") for what in (COMPUTE, END_TO_END)
    }
    assert all(
        line.p50_ms and line.load_ms and line.first_ms and line.kernels for line in report.rows
    )
    monkeypatch.setattr(
        "runtime.commands.bench.run_bench", lambda *args, **options: report
    )  # the same real report, printed
    assert main(["bench", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["speedups"].keys() == report.speedups.keys()
    assert main(["bench", str(bundle)]) == 0
    text = capsys.readouterr().out
    assert "2 QLinearConv" in text and "peak memory" in text


def test_bench_without_images_or_time_is_refused(bundle: Path) -> None:
    with pytest.raises(BackendError, match="batch 0"):
        bench(bundle, batch=0)
