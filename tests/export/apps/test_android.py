"""The Android project: its core compiled and run on a JVM, its assets, its sources against stubs.

There is no Android SDK here. The model runs in its real engine, at the other end of a pipe.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from android_stubs import RES, write_stubs
from jvm import CORE, build_core, classify, compiled, harness, java, junit, sources_in
from litert_files import with_litert
from manifests import manifest_of
from odd_models import change, times
from photo_folder import write_photos
from PIL import Image
from pixel_cases import pillow_pixels, random_cases
from tiny_bundles import LABELS, SIZE, SPEC, encoded, photo, rejecting_bundle

from compress.engine.errors import ExportError
from export.apps import write_app
from export.apps.android import ASSETS, ENGINES, LITERT, ONNXRUNTIME
from export.bundle.write import write_json
from export.targets.write import export_targets
from runtime import Classifier, decode
from runtime.backends import load
from runtime.rejection import SCORES, scores

AAR = "CLIP2EDGE_ORT_AAR"
MAIN = "app/src/main/java/com/example/classifier/app/MainActivity.java"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of ONNX files."""
    scratch = tmp_path_factory.mktemp("bundle")
    return rejecting_bundle(scratch / "bundle", scratch)


@pytest.fixture(scope="module")
def bundle(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With LiteRT's files, verified."""
    pytest.importorskip("ai_edge_litert", reason="needs pip install 'clip2edge[litert]'")
    return with_litert(plain, tmp_path_factory.mktemp("litert"))


@pytest.fixture(scope="module")
def app(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(bundle, "android", tmp_path_factory.mktemp("android") / "app")


@pytest.fixture(scope="module")
def onnx_app(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(plain, "android", tmp_path_factory.mktemp("android") / "app", "fp32")


@pytest.fixture(scope="module")
def core(onnx_app: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classes of the core, which knows no Android: it was compiled alone."""
    return build_core(onnx_app, tmp_path_factory.mktemp("classes"))


def facts_of(app: Path) -> dict:
    return json.loads((app / ASSETS / "classifier.json").read_text(encoding="utf-8"))


def crops(core: Path, folder: Path, facts: dict, count: int) -> tuple[list, list]:
    """Crop and input of random cases, by Java and by Pillow."""
    folder.mkdir()
    cases = random_cases(count)
    for index, (pixels, spec) in enumerate(cases):
        Image.fromarray(pixels).save(folder / f"{index}.png")
        write_json(folder / f"{index}.json", {**facts, "preprocess": spec.to_json()})
    return [line.split() for line in harness(core, "crops", folder)], pillow_pixels(cases)


def test_java_makes_the_pixels_of_training(core: Path, onnx_app: Path, tmp_path: Path) -> None:
    got, want = crops(core, tmp_path / "cases", facts_of(onnx_app), 120)
    assert len(got) == 120 and got == want


def test_another_filter_would_be_seen(onnx_app: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(onnx_app, tmp_path / "broken")
    file = broken / CORE / "com/example/classifier/Preprocess.java"
    text = file.read_text(encoding="utf-8")
    assert "double a = -0.5;" in text
    file.write_text(text.replace("double a = -0.5;", "double a = -0.75;"), encoding="utf-8")
    classes = build_core(broken, tmp_path / "classes")
    got, want = crops(classes, tmp_path / "cases", facts_of(onnx_app), 4)
    assert got != want


def test_transparency_is_pillows(core: Path) -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    rgba = np.dstack([levels, levels, levels, levels.T])  # a row for each opacity
    want = np.asarray(decode(rgba))[..., 0].ravel()
    got = [int(line) for line in harness(core, "white")]
    assert got == [int(value) * 0x010101 for value in want]


@pytest.mark.parametrize("score", SCORES)
def test_java_scores_as_python_does(score: str, core: Path, onnx_app: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (9, 5)).astype(np.float32)
    features = rng.normal(size=(9, 7)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    prototypes = np.eye(5, 7, dtype=np.float32)
    scales = {"max_logit": (3.0, 2.0), "energy": (3.5, 2.0), "prototype": (0.5, 0.2)}
    want = scores(score, logits, features, prototypes, scales)
    threshold = float(np.median(want)) + 1e-3
    rule = {"score": score, "threshold": threshold, "scales": scales, "features": True}
    rule["prototypes"] = "prototypes.f32"
    write_json(tmp_path / "classifier.json", {**facts_of(onnx_app), "rejection": rule})
    (tmp_path / "prototypes.f32").write_bytes(prototypes.astype("<f4").tobytes())
    (tmp_path / "rows.f32").write_bytes(np.hstack([logits, features]).astype("<f4").tobytes())
    rows = [line.split() for line in harness(core, "scores", tmp_path, "5")]
    np.testing.assert_allclose([float(row[0]) for row in rows], want, rtol=1e-12)
    known = [row[1] == "true" for row in rows]
    assert known == (want >= threshold).tolist() and 0 < sum(known) < 9


def test_java_rounds_to_the_steps_of_litert(core: Path) -> None:
    from runtime.backends.litert import _in_floats, _in_steps

    rng = np.random.default_rng(0)
    for scale, point in ((0.037, -5), (0.5, 0), (1.0, 127)):
        details = {"dtype": np.int8, "quantization": (np.float32(scale), point)}
        halves = (np.arange(-300, 300) * np.float32(scale) / 2).astype(np.float32)
        values = np.concatenate([halves, rng.normal(0, 3, 500).astype(np.float32)])
        steps = _in_steps(values, details)
        given = values.astype("<f4").tobytes()
        lines = harness(core, "steps", repr(scale), str(point), given=given)
        assert [int(line.split()[0]) for line in lines] == steps.tolist()
        worth = np.array([int(line.split()[1]) for line in lines], np.int32).view(np.float32)
        np.testing.assert_array_equal(worth, _in_floats(steps, details))


def answers(
    core: Path, app: Path, bundle: Path, backend: str, images: list[Path]
) -> tuple[list[list[str]], list]:
    """The app's answers and those of the runtime, both from the file in the app's assets."""
    facts = facts_of(app)
    model = app / ASSETS / facts["model"]
    got = classify(core, app / ASSETS, images, load(backend, model, threads=1))
    runtime = Classifier.load(bundle, facts["precision"], backend, threads=1)
    return got, [row[0] for row in runtime.predict(images, top_k=1)]


@pytest.mark.parametrize("backend", ["litert", "onnxruntime"])
def test_the_app_answers_as_the_runtime_does(
    backend: str, core: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_litert = backend == "litert"
    app: Path = request.getfixturevalue("app" if is_litert else "onnx_app")
    source: Path = request.getfixturevalue("bundle" if is_litert else "plain")
    images = []
    for seed in range(40):
        images.append(tmp_path / f"{seed}.png")
        images[-1].write_bytes(encoded(photo(seed)))
    images += [file for file in write_photos(tmp_path / "photos", 60) if file.suffix == ".png"]
    got, want = answers(core, app, source, backend, images)
    assert [row[:1] + row[2:] for row in got] == [
        [str(guess.index), str(guess.known).lower(), guess.label] for guess in want
    ]
    assert len({guess.index for guess in want}) > 1
    assert 0 < sum(guess.known is True for guess in want) < len(want)
    shares = [float(row[1]) for row in got]
    np.testing.assert_allclose(shares, [guess.probability for guess in want], rtol=1e-12)


def test_a_model_of_another_app_and_broken_logits_are_no_answer(
    core: Path, onnx_app: Path, plain: Path, tmp_path: Path
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(encoded(photo(1)))
    Image.new("RGB", (2001, 2)).save(tmp_path / "thin.png")
    assets = shutil.copytree(onnx_app / ASSETS, tmp_path / "assets")
    runner = load("onnxruntime", assets / "model.onnx", threads=1)
    images = [tmp_path / "thin.png", image]
    (thin, good) = (" ".join(row) for row in classify(core, assets, images, runner))
    assert "within 1:1000" in thin and not good.startswith("error")
    broken = shutil.copytree(plain, tmp_path / "bundle")
    change(broken, ("model.fp32.onnx",), times(np.nan))
    runner = load("onnxruntime", broken / "model.fp32.onnx", threads=1)
    ((*said,),) = classify(core, assets, [image], runner)
    assert " ".join(said) == "error: no answer: logits are not finite"
    (assets / "labels.txt").write_text("rose\niris\n", encoding="utf-8")
    ((*said,),) = classify(core, assets, [image], runner)
    assert "copy all assets of one app" in " ".join(said)


def test_json_is_read_as_python_wrote_it(core: Path, onnx_app: Path, tmp_path: Path) -> None:
    facts = facts_of(onnx_app)
    title = 'ü "quoted" \\ 花 \U0001f338 \t </script>'
    for file, ascii_only in ((tmp_path / "a.json", True), (tmp_path / "b.json", False)):
        document = {**facts, "title": title.replace("\t", ""), "rejection": None}
        file.write_text(json.dumps(document, ensure_ascii=ascii_only), encoding="utf-8")
        lines = harness(core, "json", file)
        assert lines[0] == title.replace("\t", "")
        assert lines[1] == f"model.onnx fp32 [{', '.join(facts['golden'])}]"
        assert lines[2] == f"{SPEC.size} {SPEC.resize} true" and lines[5] == "no rejection"
        assert lines[4] == f"{facts['temperature']} {facts['tolerance']}"
    for broken in ("", "{", '{"a" 1}', '{"a": 1,}', "[1 2]", '{"a": tru}', '"\\x"', "{} {}"):
        (tmp_path / "c.json").write_text(broken, encoding="utf-8")
        with pytest.raises(AssertionError, match="IllegalArgumentException|NumberFormat"):
            harness(core, "json", tmp_path / "c.json")


def test_assets_say_what_the_bundle_says(app: Path, bundle: Path) -> None:
    facts = facts_of(app)
    manifest = manifest_of(bundle)
    assert facts["precision"] == "int8.litert" and facts["model"] == "model.tflite"
    assert facts["preprocess"] == json.loads((bundle / "preprocess.json").read_text())
    confidence = manifest["confidence"]
    assert facts["temperature"] == confidence["temperature"]["models"]["int8"]
    row = confidence["rejection"]["models"]["int8"]
    assert facts["rejection"]["threshold"] == row["threshold"]
    assert facts["rejection"]["scales"] == row["scales"]
    assert (app / ASSETS / "labels.txt").read_bytes() == (bundle / "labels.txt").read_bytes()
    model = (app / ASSETS / "model.tflite").read_bytes()
    assert (bundle / "model.int8.litert.tflite").read_bytes() in model, "with metadata around it"
    names = {file.name for file in (app / ASSETS).iterdir()}
    assert names == {"model.tflite", "classifier.json", "labels.txt", "prototypes.f32"}
    golden = app / "core/src/test/resources/golden"
    assert len(list(golden.iterdir())) == 3 * len(facts["golden"]) == 6


def test_which_model_it_takes(bundle: Path, plain: Path, tmp_path: Path) -> None:
    def model(source: Path, precision: str) -> tuple[str, str, bool]:
        out = write_app(source, "android", tmp_path / precision, precision)
        facts = facts_of(out)
        gradle = (out / "app/build.gradle.kts").read_text(encoding="utf-8")
        shutil.rmtree(out)
        return facts["precision"], facts["model"], LITERT.library in gradle

    assert model(bundle, "auto") == ("int8.litert", "model.tflite", True)
    assert model(bundle, "fp32.litert") == ("fp32.litert", "model.tflite", True)
    assert model(bundle, "int8") == ("int8", "model.onnx", False)
    assert model(plain, "auto") == ("int8", "model.onnx", False)
    export_targets(plain, ["int8.ort", "fp16.ort", "int8.u8in.ort"], out=tmp_path / "ort")
    assert model(tmp_path / "ort", "auto") == ("int8", "model.onnx", False)
    for precision in ("int8.ort", "fp16.ort"):
        assert model(tmp_path / "ort", precision) == (precision, "model.ort", False)
    with pytest.raises(ExportError, match="another input than apps feed.*u8in"):
        model(tmp_path / "ort", "int8.u8in.ort")
    with pytest.raises(ExportError, match=r"of type \.onnx.*got model\.int8\.litert\.tflite"):
        write_app(bundle, "cpp", tmp_path / "cpp", "int8.litert")


def test_a_target_that_nobody_verified_is_taken_only_by_name(bundle: Path, tmp_path: Path) -> None:
    other = shutil.copytree(bundle, tmp_path / "bundle")
    manifest = manifest_of(other)
    manifest["targets"]["int8.litert"]["state"] = "unverified"
    write_json(other / "manifest.json", manifest)
    facts = facts_of(write_app(other, "android", tmp_path / "app"))
    assert facts["precision"] == "int8" and facts["model"] == "model.onnx"


@pytest.fixture(scope="module")
def stubs(onnx_app: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes that declare what the app calls."""
    scratch = tmp_path_factory.mktemp("stubs")
    done = compiled(write_stubs(scratch / "sources", onnx_app), scratch / "classes")
    assert done.returncode == 0, done.stderr
    return scratch / "classes"


def built(app: Path, stubs: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The whole app and its device test, compiled against the stubs."""
    return compiled([*sources_in(app / "app"), *sources_in(app / CORE)], out, stubs)


@pytest.mark.parametrize("kind", ["app", "onnx_app"])
def test_the_app_compiles_against_what_android_declares(
    kind: str, stubs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    app: Path = request.getfixturevalue(kind)
    assert len(sources_in(app / "app")) == 5
    done = built(app, stubs, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_engine_compiles_against_onnxruntimes_own_classes(
    onnx_app: Path, stubs: Path, tmp_path: Path
) -> None:
    library = os.environ.get(AAR)
    if not library:
        pytest.skip(f"no library of onnxruntime for Android: {AAR}=onnxruntime.aar")
    with zipfile.ZipFile(library) as archive:
        jar = archive.extract("classes.jar", tmp_path)
    others = shutil.copytree(stubs, tmp_path / "stubs")
    shutil.rmtree(others / "ai")
    sources = [*sources_in(onnx_app / "app"), *sources_in(onnx_app / CORE)]
    done = compiled(sources, tmp_path / "classes", others, jar)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("R.id.headline", "R.id.title", "cannot find symbol"),
        ("getCacheDir()", "getCacheFolder()", "cannot find symbol"),
        ("throws IOException {", "{", "unreported exception IOException"),
    ],
)
def test_a_mistake_in_the_app_does_not_compile(
    old: str, new: str, said: str, onnx_app: Path, stubs: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(onnx_app, tmp_path / "broken")
    text = (broken / MAIN).read_text(encoding="utf-8")
    assert old in text
    (broken / MAIN).write_text(text.replace(old, new), encoding="utf-8")
    done = built(broken, stubs, tmp_path / "classes")
    assert done.returncode == 1 and said in done.stderr


def golden_test(app: Path, core: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """The project's own test of its core, by JUnit, where Gradle would start it."""
    tests = scratch / "tests"
    done = compiled(sources_in(app / "core/src/test"), tests, core, junit())
    assert done.returncode == 0, done.stderr
    path = f"{tests}:{core}:{junit()}"
    command = [java(), "-cp", path, "org.junit.runner.JUnitCore"]
    command.append("com.example.classifier.GoldenTest")
    return subprocess.run(command, cwd=app / "core", capture_output=True, text=True, timeout=120)


def test_the_projects_own_test_passes_and_sees_a_crop_that_differs(
    onnx_app: Path, core: Path, tmp_path: Path
) -> None:
    done = golden_test(onnx_app, core, tmp_path)
    assert done.returncode == 0 and "OK (2 tests)" in done.stdout, done.stdout
    broken = shutil.copytree(onnx_app, tmp_path / "broken")
    crop = broken / "core/src/test/resources/golden/1.rgb"
    data = bytearray(crop.read_bytes())
    data[5] ^= 1
    crop.write_bytes(data)
    done = golden_test(broken, core, tmp_path)
    assert done.returncode == 1 and "arrays first differed at element [5]" in done.stdout


def test_gradle_finds_pinned_versions_in_two_places(app: Path, onnx_app: Path) -> None:
    for folder, engine in ((app, LITERT), (onnx_app, ONNXRUNTIME)):
        texts = [file.read_text(encoding="utf-8") for file in folder.rglob("*.gradle.kts")]
        assert len(texts) == 4 and not any("http" in text for text in texts)
        whole = "\n".join(texts)
        used = re.findall(r'\w*[iI]mplementation\("([^"]+)"\)', whole)
        assert engine.library in used and len(used) == 5
        assert all(re.fullmatch(r"[\w.]+:[\w.-]+:\d+(\.\d+)+", one) for one in used), used
        assert set(re.findall(r"^\s+(\w+)\(\)$", whole, re.M)) == {"google", "mavenCentral"}
        modules = re.findall(r'":(\w+)"', (folder / "settings.gradle.kts").read_text())
        assert all((folder / name / "build.gradle.kts").is_file() for name in modules)
    assert set(ENGINES.values()) == {LITERT, ONNXRUNTIME}


def test_the_manifest_names_what_is_there_and_asks_for_nothing(app: Path) -> None:
    main = app / "app/src/main"
    manifest = ElementTree.parse(main / "AndroidManifest.xml").getroot()
    assert not list(manifest.iter("uses-permission"))
    (activity,) = manifest.iter("activity")
    package = re.search(
        r'namespace = "([\w.]+)"', (app / "app/build.gradle.kts").read_text(encoding="utf-8")
    )
    assert package is not None
    name = f"{package[1]}{activity.get(f'{RES}name')}"
    assert (main / "java" / f"{name.replace('.', '/')}.java").is_file()
    (provider,) = manifest.iter("provider")
    assert provider.get(f"{RES}authorities") == "${applicationId}.photos"
    assert 'getPackageName() + ".photos"' in (app / MAIN).read_text(encoding="utf-8")
    texts = {
        str(row.get("name"))
        for row in ElementTree.parse(main / "res/values/strings.xml").iter("string")
    }
    for file in (main / "AndroidManifest.xml", *main.glob("res/*/*.xml")):
        used = set(re.findall(r"@string/(\w+)", file.read_text(encoding="utf-8")))
        assert used <= texts, file
        assert all(
            (main / "res/xml" / f"{found}.xml").is_file()
            for found in re.findall(r"@xml/(\w+)", file.read_text())
        )


def test_the_readme_says_what_was_never_run(app: Path, onnx_app: Path) -> None:
    for folder in (app, onnx_app):
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert "Never built with an Android SDK" in text and "No phone has run it" in text
    assert "want them last and refuse the file" in (app / "README.md").read_text(encoding="utf-8")
    assert "--to litert.int8 --converter-env ENV" in (onnx_app / "README.md").read_text(
        encoding="utf-8"
    )
    assert (SIZE, len(LABELS)) == (32, 4) and "4 classes, input 32 × 32" in text
