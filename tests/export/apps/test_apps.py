"""Apps made from a bundle: complete, deterministic, nothing else inside, and safe against a hostile
bundle.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hostile_names import HOSTILE_NAMES
from manifests import manifest_of
from PIL import Image
from provenance import provenance
from tiny_bundles import LABELS, SPEC, encoded, float_model, make_bundle, photo
from typer.testing import CliRunner

from compress.cli.app import app as cli
from compress.engine.errors import ConfigError, ExportError
from export.apps import TARGETS, write_app
from export.apps.cpp import literal
from export.apps.source import read_source
from export.bundle.card import model_card
from export.bundle.write import write_bundle, write_json
from export.targets.write import export_targets
from runtime import BundleError, Classifier
from runtime import golden as golden_vectors
from runtime.backends.onnxruntime import NEEDED
from runtime.bundle import sha256_of

#: a bundle of any build will do; the others have tests of their own
FROM_ONNX = [name for name, row in TARGETS.items() if ".onnx" in row.formats]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("bundle")
    return make_bundle(scratch / "bundle", scratch)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def other_bundle(
    tmp_path: Path, labels: list[dict] = LABELS, card: str = "# tiny\n", **changes: object
) -> Path:
    """A bundle with one fp32 model and what the test wants to be different."""
    folder = tmp_path / "other"
    models = {"fp32": float_model(tmp_path / "other.onnx", len(labels))}
    write_bundle(folder, models, SPEC, labels, {"seed": 0}, [encoded(photo(1))], card, "fp32")
    if changes:
        manifest = manifest_of(folder)
        write_json(folder / "manifest.json", {**manifest, **changes})
    return folder


@pytest.mark.parametrize("target", FROM_ONNX)
def test_the_same_bundle_gives_the_same_app_and_it_names_no_place(
    target: str, bundle: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(bundle, tmp_path / "moved")
    first = tree(write_app(bundle, target, tmp_path / "a"))
    assert first == tree(write_app(moved, target, tmp_path / "b"))
    assert "README.md" in first and b"tiny" in first["README.md"]
    assert not [
        name
        for name, data in first.items()
        if str(tmp_path).encode() in data or str(bundle).encode() in data
    ]
    assert not [name for name in first if "__pycache__" in name or name.endswith(".j2")]


@pytest.mark.parametrize("target", FROM_ONNX)
def test_every_file_of_a_readmes_table_is_there(target: str, bundle: Path, tmp_path: Path) -> None:
    out = write_app(bundle, target, tmp_path / "app")
    rows = [line for line in (out / "README.md").read_text().splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(named) >= 2
    made_later = {"ort/"}
    assert not [name for name in named if not (out / name).exists() and name not in made_later]


def test_unknown_target_and_misplaced_option(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'web'"):
        write_app(bundle, "wbe", tmp_path / "app")
    with pytest.raises(ConfigError, match="--ort with target cpp"):
        write_app(bundle, "cpp", tmp_path / "app", ort=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone_and_a_failure_leaves_nothing(
    bundle: Path, tmp_path: Path
) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="is not empty"):
        write_app(bundle, "web", used)
    assert tree(used) == {"mine.txt": b"mine"}
    with pytest.raises(ExportError, match="onnxruntime-web"):
        write_app(bundle, "web", tmp_path / "new", ort=tmp_path / "nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["used"]


def test_an_app_goes_where_a_link_leads(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        (tmp_path / f"link-{name}").symlink_to(name)
        write_app(bundle, "python", tmp_path / f"link-{name}")
        assert (tmp_path / f"link-{name}").is_symlink() and any((tmp_path / name).iterdir())
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ExportError, match="not empty"):
        write_app(bundle, "python", tmp_path / "loop")


def test_a_damaged_bundle_and_an_absent_model_make_no_app(bundle: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    data = bytearray((damaged / "model.int8.onnx").read_bytes())
    data[-1] ^= 1
    (damaged / "model.int8.onnx").write_bytes(data)
    with pytest.raises(BundleError, match="has changed"):
        write_app(damaged, "cpp", tmp_path / "app")
    with pytest.raises(BundleError, match="bf16"):
        write_app(bundle, "cpp", tmp_path / "app", precision="bf16")


def test_golden_files_are_the_bundles_own_vectors(bundle: Path, tmp_path: Path) -> None:
    out = write_app(bundle, "cpp", tmp_path / "app", precision="fp32")
    arrays = golden_vectors.read(bundle / "golden.npz")
    for index in range(2):
        pixels = np.fromfile(out / "golden" / f"{index}.rgb", np.uint8).reshape(
            SPEC.size, SPEC.size, 3
        )
        assert golden_vectors.hash_of(pixels) == str(arrays["cropped"][index])
        assert np.array_equal(
            np.fromfile(out / "golden" / f"{index}.f32", "<f4"), arrays["logits.fp32"][index]
        )
    assert np.array_equal(np.asarray(Image.open(out / "golden" / "0.png")), photo(1))


def replace_golden(folder: Path, change) -> Path:
    """The bundle with other golden vectors, its manifest put right."""
    arrays = golden_vectors.read(folder / "golden.npz")
    change(arrays)
    golden_vectors.write(folder / "golden.npz", arrays)
    manifest = manifest_of(folder)
    file = folder / "golden.npz"
    manifest["files"]["golden.npz"] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    write_json(folder / "manifest.json", manifest)
    return folder


def test_golden_vectors_that_this_machine_does_not_make_are_refused(tmp_path: Path) -> None:
    def swap(arrays: dict[str, np.ndarray]) -> None:
        arrays["cropped"] = np.array(["0" * 64])

    with pytest.raises(ExportError, match="golden image 0 has other pixels"):
        write_app(replace_golden(other_bundle(tmp_path), swap), "web", tmp_path / "app")


def test_a_model_without_golden_logits_is_refused(tmp_path: Path) -> None:
    folder = replace_golden(other_bundle(tmp_path), lambda arrays: arrays.pop("logits.fp32"))
    with pytest.raises(ExportError, match="no logits of fp32"):
        write_app(folder, "cpp", tmp_path / "app")


def test_golden_images_of_other_formats_become_png(tmp_path: Path) -> None:
    folder = tmp_path / "webp"
    image = encoded(photo(1), "BMP")
    write_bundle(
        folder,
        {"fp32": float_model(tmp_path / "m.onnx")},
        SPEC,
        LABELS,
        {},
        [image],
        "# t\n",
        "fp32",
    )
    case = read_source(folder).golden[0]
    assert case.suffix == ".png" and case.image.startswith(b"\x89PNG")


HOSTILE = 'a"; system("id"); //\\ ??/ ü </script><img src=x onerror=alert(1)> $(id) `id`'


@pytest.mark.parametrize("target", ["python", "web", "cpp", "jetson", "pi-camera", "android"])
def test_hostile_labels_and_titles_stay_data(target: str, tmp_path: Path) -> None:
    folder = other_bundle(tmp_path, [{"name": HOSTILE}, *LABELS[1:]], f"# {HOSTILE}\n")
    out = write_app(folder, target, tmp_path / "app")
    programs = {".py", ".js", ".mjs", ".html", ".cpp", ".hpp", ".sh", ".txt", ""}
    programs |= {".java", ".kts", ".xml", ".properties", ".service"}
    for name, data in tree(out).items():
        is_data = name.startswith("bundle/") or name.endswith("assets/labels.txt")
        if Path(name).suffix in programs and not is_data:
            assert b"onerror=" not in data or f"{literal(HOSTILE)}" in data.decode(), name
        if name == "README.md":
            assert b"<img" not in data and b"&lt;img" in data


@pytest.mark.parametrize("target", FROM_ONNX)
def test_every_kind_of_hostile_name_goes_through_the_card_into_an_app(
    target: str, tmp_path: Path
) -> None:
    names = [name for name in HOSTILE_NAMES if name.isprintable()]
    card = model_card(provenance(), names, [])
    labels = [{"name": name} for name in names]
    written = tree(write_app(other_bundle(tmp_path, labels, card), target, tmp_path / "app"))
    assert b"<script>" not in written["README.md"] and b"<img" not in written["README.md"]
    if target == "web":
        assert json.loads(written["app.json"])["labels"] == names
    if target == "cpp":
        header = written["model.hpp"].decode("ascii")
        assert all(literal(name) in header for name in names)
    if target in ("python", "jetson", "pi-camera"):
        loaded = json.loads(written["bundle/labels.json"])
        assert [row["name"] for row in loaded] == names
    if target == "android":
        text = written["app/src/main/assets/labels.txt"].decode()
        assert text.split("\n") == [*names, ""]
    if target == "triton":
        written_names = written["model_repository/classifier/labels.txt"].decode().splitlines()
        assert written_names == names


def test_a_hostile_label_is_one_cpp_string() -> None:
    hostile = f"{HOSTILE}\n??="
    text = literal(hostile)
    assert (
        "\n" not in text
        and "??" not in text
        and text.count('"') == 2
        and text[0] == text[-1] == '"'
    )
    assert (
        re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text[1:-1]).encode("latin-1").decode()
        == hostile
    )


@pytest.mark.parametrize("target", TARGETS)
def test_names_that_are_programs_are_refused(target: str, tmp_path: Path) -> None:
    key = '"); import os; ("'
    folder = other_bundle(tmp_path, models={key: "model.fp32.onnx"}, default=key)
    with pytest.raises((ExportError, BundleError)):
        write_app(folder, target, tmp_path / "app")


def test_an_input_name_that_is_a_program_is_refused(tmp_path: Path) -> None:
    folder = other_bundle(tmp_path)
    model = onnx.load(folder / "model.fp32.onnx")
    model.graph.input[0].name = model.graph.node[0].input[0] = "$(id)"
    onnx.save(model, folder / "model.fp32.onnx")
    manifest = manifest_of(folder)
    file = folder / "model.fp32.onnx"
    manifest["files"][file.name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(ExportError, match="input of the model"):
        read_source(folder)


def test_a_model_with_another_input_is_refused(tmp_path: Path) -> None:
    folder = other_bundle(tmp_path)
    model = onnx.load(folder / "model.fp32.onnx")
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, folder / "model.fp32.onnx")
    manifest = manifest_of(folder)
    file = folder / "model.fp32.onnx"
    manifest["files"][file.name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(ExportError, match="UINT8"):
        read_source(folder)


def run_in(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_app_classifies_with_its_own_runtime(bundle: Path, tmp_path: Path) -> None:
    out = write_app(bundle, "python", tmp_path / "app", precision="fp32")
    image = tmp_path / "photo.png"
    image.write_bytes(encoded(photo(5)))
    want = [
        f"{image}\t{g.label}\t{g.probability:.3f}"
        for g in Classifier.load(bundle, "fp32").predict(image, top_k=3)
    ]
    assert run_in(tmp_path, str(out / "classify.py"), str(image)).splitlines() == want
    assert run_in(out, "-c", "import runtime; print(runtime.__file__)").strip() == str(
        out / "runtime" / "__init__.py"
    )
    assert "differs" not in run_in(out, "-m", "runtime", "verify", "bundle")
    assert len((out / "classify.py").read_text(encoding="utf-8").splitlines()) <= 20
    (tmp_path / "bad.png").write_text("no image", encoding="utf-8")
    command = [sys.executable, str(out / "classify.py"), str(tmp_path / "bad.png"), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout.splitlines() == want
    assert "bad.png" in done.stderr and "Traceback" not in done.stderr
    assert NEEDED in (out / "requirements.txt").read_text(encoding="utf-8").split()


def test_jetson_files_fit_together(bundle: Path, tmp_path: Path) -> None:
    """No container engine and no Jetson here: what the Dockerfile copies exists, and its entry
    point runs on this CPU.
    """
    out = write_app(bundle, "jetson", tmp_path / "app")
    text = (out / "Dockerfile").read_text()
    assert "Not built by" in (out / "README.md").read_text()
    copied = re.findall(r"^COPY (\S+) \S+$", text, re.M)
    assert sorted(copied) == ["bundle/", "requirements.txt", "runtime/", "wheels/"]
    assert all((out / name).exists() for name in copied)
    entry = json.loads(re.search(r"^ENTRYPOINT (.+)$", text, re.M)[1])
    assert entry[0] == "python3"
    assert "differs" not in run_in(out, *entry[1:], "verify", "bundle")
    commands = set(re.findall(r"^    edge (\w+)", (out / "README.md").read_text(), re.M))
    assert commands >= {"doctor", "verify", "classify", "bench", "engine"}
    for command in sorted(commands):
        run_in(out, *entry[1:], command, "--help")


def test_an_export_target_makes_an_app(bundle: Path, tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    export_targets(bundle, ["fp16"], out=exported)
    out = write_app(exported, "cpp", tmp_path / "app", precision="fp16")
    assert 'kPrecision = "fp16"' in (out / "model.hpp").read_text()
    vectors = golden_vectors.read(exported / golden_vectors.TARGETS_GOLDEN)
    assert np.array_equal(np.fromfile(out / "golden" / "0.f32", "<f4"), vectors["logits.fp16"][0])


def test_the_command_writes_the_app(bundle: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["app", str(bundle), str(tmp_path / "app"), "--target", "cpp"], catch_exceptions=False
    )
    assert done.exit_code == 0 and "cmake" in done.output
    assert (tmp_path / "app" / "main.cpp").is_file()
    told = CliRunner().invoke(cli, ["app", "--help"]).output
    assert all(target in told for target in TARGETS)


def test_the_command_names_the_extra_that_it_needs(bundle: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['jinja2'] = None; from compress.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "app",
        str(bundle),
        str(tmp_path / "app"),
        "--target",
        "web",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("MissingExtraError: an app needs jinja2")
