"""The web page: its preprocessing against Pillow (Node), and the page itself in a headless
Chromium.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from photo_folder import write_photos
from pixel_cases import pillow_pixels, random_cases
from tiny_bundles import LABELS, SPEC, encoded, float_model, photo, rejecting_bundle

from benchmarks.app_agreement import PAGE, python_answers, web_answers
from benchmarks.browser import FAKE_CAMERA, find_chromium, run_page
from compress.engine.errors import ExportError
from export.apps import write_app
from export.apps.web import ORT_FILES, ORT_VERSION
from export.bundle.write import write_bundle
from runtime import Classifier, PreprocessSpec
from runtime.rejection import SCORES, scores

PAGES = ROOT / "tests" / "pages"
HOSTILE = '<img src=x onerror="document.title=1"> & "rose"'


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("bundle")
    return rejecting_bundle(scratch / "bundle", scratch)


@pytest.fixture(scope="module")
def page(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(bundle, "web", tmp_path_factory.mktemp("web") / "app")


@pytest.fixture(scope="module")
def ort() -> Path:
    """The npm package; with a browser, or the test is skipped."""
    folder = os.environ.get("CLIP2EDGE_ORT_WEB")
    if find_chromium() is None:
        pytest.skip("no Chromium: apt install chromium, or set CHROMIUM")
    if not folder:
        pytest.skip(
            f"no onnxruntime-web: npm install onnxruntime-web@{ORT_VERSION}, "
            "CLIP2EDGE_ORT_WEB=its folder"
        )
    return Path(folder)


def node(script: str) -> str:
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node: apt install nodejs")
    command = [program, "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def javascript_pixels(
    page: Path, folder: Path, cases: list[tuple[np.ndarray, PreprocessSpec]]
) -> list[list[str]]:
    """SHA-256 of crop and input tensor of each case, as the page's preprocess.js makes them."""
    folder.mkdir()
    rows = []
    for index, (pixels, spec) in enumerate(cases):
        opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
        (folder / str(index)).write_bytes(opaque.tobytes())
        rows.append({"width": pixels.shape[1], "height": pixels.shape[0], "spec": spec.to_json()})
    (folder / "cases.json").write_text(json.dumps(rows))
    return json.loads(
        node(f"""
        import {{ geometry, normalize }} from {json.dumps((page / "preprocess.js").as_uri())};
        import {{ createHash }} from 'node:crypto';
        import {{ readFileSync }} from 'node:fs';
        const folder = {json.dumps(str(folder))};
        const sha = (bytes) => createHash('sha256').update(bytes).digest('hex');
        const cases = JSON.parse(readFileSync(`${{folder}}/cases.json`));
        const rows = cases.map(({{ width, height, spec }}, index) => {{
          const data = new Uint8ClampedArray(readFileSync(`${{folder}}/${{index}}`));
          const pixels = geometry({{ data, width, height }}, spec);
          return [sha(pixels), sha(new Uint8Array(normalize(pixels, spec).buffer))];
        }});
        console.log(JSON.stringify(rows));
        """)
    )


def test_javascript_makes_the_pixels_of_training(page: Path, tmp_path: Path) -> None:
    cases = random_cases(120)
    got, want = javascript_pixels(page, tmp_path / "cases", cases), pillow_pixels(cases)
    assert [
        index for index, pair in enumerate(zip(got, want, strict=True)) if pair[0] != pair[1]
    ] == []


def test_another_filter_would_be_seen(page: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(page, tmp_path / "broken")
    script = (broken / "preprocess.js").read_text()
    assert "const a = -0.5;" in script
    (broken / "preprocess.js").write_text(
        script.replace("const a = -0.5;", "const a = -0.75;")
    )  # OpenCV's bicubic
    cases = random_cases(4)
    assert javascript_pixels(broken, tmp_path / "cases", cases) != pillow_pixels(cases)


def test_javascript_scores_as_python_does(page: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (9, 5)).astype(np.float32)
    features = rng.normal(size=(9, 7)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    prototypes = np.eye(5, 7, dtype=np.float32)
    scales = {"max_logit": (3.0, 2.0), "energy": (3.5, 2.0), "prototype": (0.5, 0.2)}
    rows = [
        {"logits": a.tolist(), "features": b.tolist()}
        for a, b in zip(logits, features, strict=True)
    ]
    told = {"scales": scales, "threshold": 0.1}
    got = json.loads(
        node(f"""
        import {{ isKnown, scoreOf }} from {json.dumps((page / "rejection.js").as_uri())};
        const rows = {json.dumps(rows)};
        const prototypes = new Float32Array({json.dumps(prototypes.ravel().tolist())});
        const scores = {json.dumps(list(SCORES))}.map((score) => rows.map((row) => {{
          const rejection = {{ ...{json.dumps(told)}, score }};
          return [scoreOf(rejection, row, prototypes), isKnown(rejection, row, prototypes)];
        }}));
        console.log(JSON.stringify([scores, isKnown(null, rows[0])]));
        """)
    )
    for name, column in zip(SCORES, got[0], strict=True):
        want = scores(name, logits, features, prototypes, scales)
        np.testing.assert_allclose([pair[0] for pair in column], want, rtol=1e-5)
        assert [pair[1] for pair in column] == (want >= 0.1).tolist()
    assert got[1] is True


def test_pages_reach_no_other_server(page: Path) -> None:
    """Every page has a policy that names this server only, and no script, style or page names
    another one.
    """
    for html in page.glob("*.html"):
        (policy,) = re.findall(
            r'http-equiv="Content-Security-Policy" content="([^"]+)"', html.read_text()
        )
        sources = {word for part in policy.split(";") for word in part.split()[1:]}
        assert policy.startswith("default-src 'none'")
        assert sources <= {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:"}
        assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", html.read_text())
    for file in page.iterdir():
        if file.suffix in (".js", ".mjs", ".html", ".css"):
            found = re.findall(
                r"https?://|//cdn|\.innerHTML|insertAdjacentHTML|document\.write", file.read_text()
            )
            assert not found, file.name


def test_package_json_pins_the_engine_and_vendor_copies_the_same_files(
    page: Path, tmp_path: Path
) -> None:
    assert json.loads((page / "package.json").read_text())["dependencies"] == {
        "onnxruntime-web": ORT_VERSION
    }
    app = shutil.copytree(page, tmp_path / "app")
    dist = app / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    for name in ORT_FILES:
        (dist / name).write_text(name)
    run_vendor(app)
    assert sorted(file.name for file in (app / "ort").iterdir()) == sorted(ORT_FILES)


def run_vendor(app: Path, *arguments: str) -> None:
    """What ``npm run ort`` does."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node: apt install nodejs")
    subprocess.run([program, "vendor.mjs", *arguments], cwd=app, check=True)


def test_another_package_is_not_taken_for_the_engine(bundle: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "package.json").write_text(json.dumps({"name": "left-pad", "version": "1.0.0"}))
    with pytest.raises(ExportError, match="left-pad"):
        write_app(bundle, "web", tmp_path / "app", ort=package)
    (package / "package.json").write_text(
        json.dumps({"name": "onnxruntime-web", "version": "1.0.0"})
    )
    with pytest.raises(ExportError, match="without ort.wasm.min.mjs"):
        write_app(bundle, "web", tmp_path / "app", ort=package)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_chromium_gives_the_golden_and_the_same_top1_answers(
    precision: str, bundle: Path, ort: Path, tmp_path: Path
) -> None:
    images = write_photos(tmp_path / "photos", 84)
    app = write_app(bundle, "web", tmp_path / "app", precision=precision, ort=ort)
    said, want = web_answers(app, images), python_answers(bundle, images, precision)
    assert len(set(want.indices)) > 1
    assert np.mean(np.array(said.indices) == want.indices) >= 0.995
    assert np.abs(np.array(said.probabilities) - want.probabilities).max() < 0.02
    exact = [
        a == b
        for a, b, file in zip(said.crops, want.crops, images, strict=True)
        if file.suffix == ".png"
    ]
    assert len(exact) > 20 and all(exact)  # JPEG decoders may differ by a level


def test_chromium_is_not_sure_where_python_is_not(bundle: Path, ort: Path, tmp_path: Path) -> None:
    app = write_app(bundle, "web", tmp_path / "app", precision="fp32", ort=ort)
    (app / "images").mkdir()
    images = [photo(seed) for seed in range(40)]
    for index, image in enumerate(images):
        (app / "images" / f"{index}.png").write_bytes(encoded(image))
    names = [f"{index}.png" for index in range(40)]
    (app / "images" / "list.json").write_text(json.dumps(names), encoding="utf-8")
    shutil.copyfile(PAGE, app / PAGE.name)
    said = run_page(app, PAGE.name, timeout_s=200)
    want = Classifier.load(bundle, "fp32", threads=1).predict(images, top_k=1)
    assert [row["known"] for row in said["answers"]] == [row[0].known for row in want]
    assert 10 < sum(row["known"] for row in said["answers"]) < 30
    shares = [row["probability"] for row in said["answers"]]
    np.testing.assert_allclose(shares, [row[0].probability for row in want], atol=1e-4)


def test_chromium_sees_a_golden_pixel_that_differs(bundle: Path, ort: Path, tmp_path: Path) -> None:
    app = write_app(bundle, "web", tmp_path / "app", ort=ort)
    pixels = bytearray((app / "golden" / "1.rgb").read_bytes())
    pixels[7] ^= 1
    (app / "golden" / "1.rgb").write_bytes(pixels)
    with pytest.raises(RuntimeError, match=r"pixels 1.*1 of 3072 values differ"):
        web_answers(app, [])


def test_a_user_of_the_page(ort: Path, tmp_path: Path) -> None:
    """On a phone-sized screen: file, drop, what is no image, the (fake) camera, the check; labels
    and title are hostile.
    """
    labels = [{"name": HOSTILE}, *LABELS[1:]]
    models = {"fp32": float_model(tmp_path / "m.onnx")}
    golden = [encoded(photo(1)), encoded(photo(2))]
    write_bundle(tmp_path / "bundle", models, SPEC, labels, {}, golden, f"# {HOSTILE}\n", "fp32")
    app = write_app(tmp_path / "bundle", "web", tmp_path / "app", ort=ort)
    shutil.copyfile(PAGES / "page.html", app / "page.html")
    (app / "golden" / "list.json").write_text('["0.png"]')
    said = run_page(app, "page.html?camera", [*FAKE_CAMERA, "--window-size=360,740"])
    assert "failed" not in said, said["failed"]

    assert (
        said["ready"]["title"] == HOSTILE and "4 classes · fp32 on wasm" in said["ready"]["status"]
    )
    want = Classifier.load(tmp_path / "bundle").predict([photo(1), photo(2)], top_k=4)
    for step, guesses in zip(("file", "drop"), want, strict=True):
        rows = [[guess.label, f"{100 * guess.probability:.1f} %"] for guess in guesses]
        assert said[step]["label"] == guesses[0].label
        assert close_rows(said[step]["guesses"], rows)
        assert re.search(r"prepare [\d.]+ ms · model [\d.]+ ms · 48 × 40", said[step]["times"])
    assert "is not an image" in said["broken"]["status"] and said["broken"]["error"]
    assert re.search(r"frame \d+ ms", said["camera"]["times"]) and not said["camera"]["error"]
    shown = [said[step] for step in ("file", "drop", "camera", "stopped")]
    assert all(
        state["elements"] == 0 and state["overflow"] <= 0 and state["title"] == HOSTILE
        for state in shown
    )
    assert said["file"]["width"] <= 500
    assert said["check"]["result"] == "All 4 steps agree in this browser."
    assert said["check"]["answers"][0]["index"] == want[0][0].index


def close_rows(got: list[Any], want: list[Any]) -> bool:
    """The same labels, percentages within one in the last digit (two float libraries)."""
    percent = [[float(row[1].removesuffix(" %")) for row in rows] for rows in (got, want)]
    return [row[0] for row in got] == [row[0] for row in want] and np.allclose(
        *percent, rtol=0, atol=0.11
    )


def test_a_page_without_its_engine_says_what_to_do(bundle: Path, ort: Path, tmp_path: Path) -> None:
    app = write_app(bundle, "web", tmp_path / "app")
    shutil.copyfile(PAGE, app / PAGE.name)
    assert "npm install && npm run ort" in run_page(app, PAGE.name)["error"]


def test_a_damaged_model_is_refused_by_the_page(bundle: Path, ort: Path, tmp_path: Path) -> None:
    app = write_app(bundle, "web", tmp_path / "app", ort=ort)
    data = bytearray((app / "model.onnx").read_bytes())
    data[-1] ^= 1
    (app / "model.onnx").write_bytes(data)
    shutil.copyfile(PAGE, app / PAGE.name)
    assert "model.onnx is damaged" in run_page(app, PAGE.name)["error"]


def test_webgpu_on_chromiums_software_adapter_gives_the_golden_answers(
    bundle: Path, ort: Path, tmp_path: Path
) -> None:
    app = write_app(bundle, "web", tmp_path / "app", precision="fp32")
    (app / "node_modules").mkdir()
    (app / "node_modules" / "onnxruntime-web").symlink_to(ort.resolve())
    run_vendor(app, "webgpu")
    shutil.copyfile(PAGE, app / PAGE.name)
    flags = [
        "--enable-unsafe-webgpu",
        "--use-webgpu-adapter=swiftshader",
        "--enable-features=Vulkan",
    ]
    said = run_page(app, f"{PAGE.name}?provider=webgpu", flags)
    if "no available backend" in said.get("error", ""):
        pytest.skip(f"this Chromium has no WebGPU: {said['error']}")
    assert "error" not in said, said["error"]
    assert [step["state"] for step in said["steps"]] == ["ok"] * 4


def test_logits_that_are_not_finite_are_no_answer_in_javascript(page: Path) -> None:
    node(f"""
        import {{ finite, softmax }} from {json.dumps((page / "preprocess.js").as_uri())};
        for (const bad of [NaN, Infinity, -Infinity]) {{
          for (const judge of [finite, softmax]) {{
            let error = null;
            try {{ judge(Float32Array.of(0, bad, 1)); }} catch (thrown) {{ error = thrown; }}
            if (!/not finite/.test(error?.message)) throw new Error(`${{bad}} passes`);
          }}
        }}
        if (softmax(Float32Array.of(0, 0))[1] !== 0.5) throw new Error('finite logits are refused');
    """)
