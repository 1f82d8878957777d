"""A teacher's bundle: real open_clip models, small and saved the way published ones are, measured
like students.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from manifests import manifest_of

pytest.importorskip("open_clip")
import onnx
import torch
from tiny_bundles import make_bundle
from tiny_sources import MODEL, SIGLIP, save_folder
from typer.testing import CliRunner

import runtime
from compress.data.split import ClassInfo
from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError, DownloadError, ExportError
from compress.teacher.loading import load_teacher
from compress.teacher.prompts import prompts_for
from compress.teacher.random_weights import random_teacher
from export.targets.shapes import infer
from export.teacher.bundle import export_teacher
from runtime import Classifier, open_bundle
from runtime.golden import OK, verify

NAMES = ["rose", "oak", "water lily"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "clip"
    save_folder(path, MODEL)
    return path


@pytest.fixture(scope="module")
def zero_shot(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "teacher"
    export_teacher(str(folder), out, classes=NAMES)
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("config", [MODEL, SIGLIP], ids=["clip", "siglip"])
def test_the_classifier_answers_as_the_torch_teacher_does(config: dict, tmp_path: Path) -> None:
    save_folder(tmp_path / "t", config)
    export_teacher(str(tmp_path / "t"), tmp_path / "out", classes=NAMES)
    classifier = Classifier.load(tmp_path / "out", threads=1)
    teacher = load_teacher(TeacherSettings(name=str(tmp_path / "t")))
    assert classifier.labels == tuple(NAMES) and classifier.spec == teacher.spec
    classes = [ClassInfo(name, name) for name in NAMES]
    head = teacher.class_head(prompts_for(classes, TeacherSettings().templates))
    images = np.random.default_rng(0).integers(0, 255, (3, 50, 41, 3), dtype=np.uint8)
    pixels = np.stack([runtime.geometry(runtime.decode(image), teacher.spec) for image in images])
    wanted = teacher.logit_scale * teacher.encode_images(pixels) @ head.T
    np.testing.assert_allclose(classifier.logits(list(images)), wanted, atol=1e-3)


def test_it_is_a_bundle_like_any_other(zero_shot: Path) -> None:
    opened = open_bundle(zero_shot)
    assert opened.manifest["kind"] == "teacher" and opened.manifest["weights"] == "pretrained"
    assert {step.state for step in verify(zero_shot, threads=1)} == {OK}
    model = onnx.load(opened.model("auto"))
    onnx.checker.check_model(model, full_check=True)
    infer(model)
    assert [value.name for value in model.graph.output] == ["logits", "features"]
    about = json.loads((zero_shot / "provenance.json").read_text())
    assert about["head"] == "zero-shot" and about["classes"] == {"count": 3, "from": "names given"}
    assert str(zero_shot.parents[1]).encode() not in b"".join(content(zero_shot).values())


def test_the_same_command_gives_the_same_bytes(
    folder: Path, zero_shot: Path, tmp_path: Path
) -> None:
    export_teacher(str(folder), tmp_path / "again", classes=NAMES)
    assert content(tmp_path / "again") == content(zero_shot)


def test_fp16_is_half_the_size_and_close(folder: Path, zero_shot: Path, tmp_path: Path) -> None:
    made = export_teacher(str(folder), tmp_path / "half", classes=NAMES, precision="fp16")
    assert (
        set(made["models"]) == {"fp16"}
        and made["default"] == "fp16"
        and "model.fp32.onnx" not in made["files"]
    )
    sizes = [
        p.stat().st_size
        for p in (tmp_path / "half" / "model.fp16.onnx", zero_shot / "model.fp32.onnx")
    ]
    assert sizes[0] < 0.65 * sizes[1]
    image = np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    wanted, got = (
        Classifier.load(path, threads=1).logits(image) for path in (zero_shot, tmp_path / "half")
    )
    assert 0 < np.abs(wanted - got).max() < 0.05
    assert (
        made["parity"]["fp16"]["state"] == "verified"
        and made["parity"]["fp16"]["half"]["nodes_half"] > 10
    )
    names = made["parity"]["fp16"]["half"]["float32_because"].values()
    assert all("needs float32" in why or "constant" in why for why in names)


def test_a_student_bundle_gives_classes_and_golden_images(folder: Path, tmp_path: Path) -> None:
    student = make_bundle(tmp_path / "student", tmp_path)
    (student / "provenance.json").write_text(
        json.dumps({"settings": {"teacher": {"templates": ["art of a {}"]}}})
    )
    manifest = manifest_of(student)
    file = student / "provenance.json"
    from runtime.bundle import sha256_of

    manifest["files"][file.name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    (student / "manifest.json").write_text(json.dumps(manifest))
    export_teacher(str(folder), tmp_path / "out", student=student)
    assert Classifier.load(tmp_path / "out", threads=1).labels == ("rose", "iris", "daisy", "tulip")
    about = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert about["templates"] == ["art of a {}"] and "student" in about["golden_images"]


def test_a_run_gives_its_probe_and_both_outputs(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    run = tmp_path / "run"
    (run / "teacher").mkdir(parents=True)
    (run / "data").mkdir()
    (run / "config.yaml").write_text(
        json.dumps({"teacher": {"name": str(folder), "templates": ["a {}"]}})
    )
    rows = [{"name": name, "prompt": name, "category": None} for name in NAMES]
    (run / "data" / "classes.json").write_text(json.dumps(rows))
    probe = torch.nn.functional.normalize(torch.randn(3, 24, generator=torch.manual_seed(0)), dim=1)
    heads = {
        "probe": probe,
        "zero_shot": probe.flip(0).contiguous(),
        "logit_scale": torch.tensor(7.0),
    }
    save_file(heads, run / "teacher" / "heads.safetensors")
    export_teacher(str(run), tmp_path / "out")
    classifier = Classifier.load(tmp_path / "out", threads=1)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    features = load_teacher(TeacherSettings(name=str(folder))).encode_images(pixels)
    np.testing.assert_allclose(
        classifier.logits_u8(pixels), 7 * features @ probe.numpy().T, atol=1e-3
    )
    np.testing.assert_allclose(
        classifier.logits_u8(pixels, "zero_shot_logits"),
        7 * features @ probe.numpy()[::-1].T,
        atol=1e-3,
    )
    heads["probe"] = heads["probe"][:2].contiguous()
    save_file(heads, run / "teacher" / "heads.safetensors")
    with pytest.raises(ExportError, match="probe does not fit"):
        export_teacher(str(run), tmp_path / "other")


def test_random_weights_repeat_and_are_marked_everywhere(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "arch"  # an architecture without weights
    bare.mkdir()
    (bare / "open_clip_config.json").write_bytes((folder / "open_clip_config.json").read_bytes())
    made = export_teacher(str(bare), tmp_path / "out", classes=NAMES, random_weights=True)
    assert made["weights"] == "random"
    assert "The weights are random" in (tmp_path / "out" / "README.md").read_text()
    about = json.loads((tmp_path / "out" / "provenance.json").read_text())["teacher"]
    assert (about["weights"], about["license"], about["revision"]) == ("random", "random", "random")
    assert {step.state for step in verify(tmp_path / "out", threads=1)} == {OK}
    settings = TeacherSettings(name=str(bare))
    first, second, other = (
        random_teacher(settings),
        random_teacher(settings),
        random_teacher(settings, seed=1),
    )
    assert (
        first.fingerprint() == second.fingerprint() == about["fingerprint"] != other.fingerprint()
    )


def test_random_weights_leave_torchs_own_generator_alone(folder: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    random_teacher(TeacherSettings(name=str(folder)))
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-L14", "did you mean 'ViT-L-14'"),
        ("petals", "need an architecture"),
        ("hf-hub:a/b", "need an architecture"),
    ],
)
def test_random_weights_of_what_is_no_architecture_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        random_teacher(TeacherSettings(name=name))


def test_what_does_not_fit_a_teachers_bundle_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str = str(folder), out: Path = tmp_path / "x", **more):
        return export_teacher(name, out, **more)

    with pytest.raises(ConfigError, match="teacher's classes.*got none"):
        make()
    with pytest.raises(ConfigError, match="class names and a bundle"):
        make(classes=NAMES, student=tmp_path)
    with pytest.raises(ConfigError, match="distinct"):
        make(classes=["a", "a"])
    with pytest.raises(ConfigError, match="fp32 or fp16"):
        make(classes=NAMES, precision="int8")
    with pytest.raises(ExportError, match="exists already"):
        make(classes=NAMES, out=tmp_path)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DownloadError, match="ViT-B-32"):
        make("ViT-B-32/openai", classes=NAMES, offline=True)
    assert not (tmp_path / "x").exists()


def test_the_command_writes_a_teachers_bundle(folder: Path, tmp_path: Path) -> None:
    from compress.cli.app import app

    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["export", "--teacher", str(folder), "--classes", "rose, oak", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "fp32" in done.output and "weights: pretrained" in done.output
    assert Classifier.load(out, threads=1).labels == ("rose", "oak")
