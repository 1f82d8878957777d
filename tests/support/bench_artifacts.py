"""Stage artifacts for bench and report: real images, a real data stage, real ONNX files; only
training is played.

The "student" is a random convolution with a fitted head, the "teacher" a wider one at another
geometry, so that accuracy, latency, kernels and predictions are measured on files that really
classify.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw
from synthetic_records import PLAIN, write_records

from compress.api import settings_for
from compress.bench import stage as bench
from compress.data import stage as data_stage
from compress.engine.config import Settings
from compress.engine.stage import StageContext
from compress.engine.store import Artifact, write_json
from compress.report.stage import build_report
from export.bundle.write import copy_with_metadata, write_bundle
from export.onnx.parity import onnx_logits
from export.onnx.ptq import quantize_static
from runtime import PreprocessSpec, geometry, normalize
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS

COLORS = {
    "crimson": (190, 30, 60),
    "amber": (220, 150, 30),
    "indigo": (60, 50, 160),
    "moss": (80, 120, 50),
}
SHAPES = ("disc", "square", "cross")
NAMES = tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def draw(name: str, rng: np.random.Generator) -> Image.Image:
    """A colored shape on clutter, 44 x 40, noisy enough that some are confused."""
    color, shape = name.split()
    image = Image.fromarray(rng.integers(90, 190, (40, 44, 3)).astype(np.uint8))
    pen, (x, y), r = ImageDraw.Draw(image), rng.integers(14, 27, 2), int(rng.integers(7, 13))
    ink = tuple(int(v) for v in np.clip(np.array(COLORS[color]) + rng.normal(0, 38, 3), 0, 255))
    if shape == "disc":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
    elif shape == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill=ink)
    else:
        pen.rectangle((x - r, y - 3, x + r, y + 3), fill=ink)
        pen.rectangle((x - 3, y - r, x + 3, y + r), fill=ink)
    return image


def image_folder(root: Path, shots: int = 6, tests: int = 12) -> Path:
    """An ImageFolder with train/ and test/, one of whose test files is broken."""
    rng = np.random.default_rng(0)
    for split, count in (("train", shots), ("test", tests)):
        for name in NAMES:
            folder = root / split / name.replace(" ", "_")
            folder.mkdir(parents=True)
            for i in range(count):
                draw(name, rng).save(folder / f"{i:02d}.png")
    (root / "test" / NAMES[0].replace(" ", "_") / "broken.png").write_bytes(
        b"\x89PNG\r\n\x1a\n and then nothing"
    )
    return root


def network(
    size: int, width: int, classes: int, seed: int, outputs: tuple[str, ...] = ("logits",)
) -> onnx.ModelProto:
    """conv, relu, conv, relu, mean, gemm with random weights; the gemms are zero until
    ``fit_head``.
    """
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        scale = np.sqrt(2 / max(int(np.prod(shape[1:])), 1))
        return numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), name)

    initializers = [
        weight("w1", width, 3, 5, 5),
        numpy_helper.from_array(rng.normal(0, 0.3, width).astype(np.float32), "b1"),
        weight("w2", 2 * width, width, 3, 3),
        numpy_helper.from_array(rng.normal(0, 0.3, 2 * width).astype(np.float32), "b2"),
        numpy_helper.from_array(np.array([-1, 2 * width * 16], np.int64), "flat"),
    ]
    nodes = [
        helper.make_node(
            "Conv",
            ["images", "w1", "b1"],
            ["c1"],
            strides=[2, 2],
            pads=[2, 2, 2, 2],
            kernel_shape=[5, 5],
        ),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node(
            "Conv",
            ["r1", "w2", "b2"],
            ["c2"],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
            kernel_shape=[3, 3],
        ),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node(
            "AveragePool",
            ["r2"],
            ["pooled"],
            kernel_shape=[size // 16] * 2,
            strides=[size // 16] * 2,
        ),
        helper.make_node("Reshape", ["pooled", "flat"], ["features"]),
    ]
    for output in outputs:
        initializers += [
            numpy_helper.from_array(
                np.zeros((classes, 2 * width * 16), np.float32), f"head_{output}"
            ),
            numpy_helper.from_array(np.zeros(classes, np.float32), f"bias_{output}"),
        ]
        nodes.append(
            helper.make_node(
                "Gemm", ["features", f"head_{output}", f"bias_{output}"], [output], transB=1
            )
        )

    def width_of(name: str) -> int:
        return 2 * width * 16 if name == "features" else classes

    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, size, size])],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", width_of(n)])
            for n in (*outputs, "features")
        ],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def fit_head(
    model: onnx.ModelProto,
    path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    output: str,
    ridge: float,
) -> None:
    """Ridge regression of the one-hot labels onto the features; logits are scaled so that
    confidences look real.
    """
    onnx.save(model, path)
    features = onnx_logits(path, "features")(images)
    center = features.mean(axis=0)
    x, y = features - center, np.eye(labels.max() + 1)[labels] * 12 - 1
    head = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y).T.astype(np.float32)
    bias = (y.mean(axis=0) - head @ center).astype(np.float32)
    for tensor in model.graph.initializer:
        for name, value in ((f"head_{output}", head), (f"bias_{output}", bias)):
            if tensor.name == name:
                tensor.CopyFrom(numpy_helper.from_array(value, name))
    onnx.save(model, path)


def sealed(stage: str, path: Path, facts: Mapping[str, Any], seconds: float) -> Artifact:
    """An artifact as the store would give it."""
    return Artifact(
        stage,
        path,
        dict(facts),
        content=hashlib.sha256(stage.encode()).hexdigest(),
        seconds=seconds,
    )


def make(root: Path, settings: Settings, train: int = 40) -> dict[str, Artifact]:
    """Every stage before "bench". ``train``: images per class that the played training sees, drawn
    from noisy shots.
    """
    folders = {
        name: root / name
        for name in ("data", "teacher", "generate", "label", "distill", "quantize", "export")
    }
    for folder in folders.values():
        folder.mkdir(parents=True)
    data = sealed(
        "data", folders["data"], data_stage.run(StageContext(settings, {}, folders["data"])), 2.1
    )
    rng, classes = np.random.default_rng(1), json.loads((data.path / "classes.json").read_text())
    shots = np.load(data.path / "shots.npy")
    shot_labels = np.array(
        [row["label"] for row in json.loads((data.path / "shots.json").read_text())], int
    )
    if not len(shots):  # class names only: something to make images of
        edge = settings.image.resize
        shots, shot_labels = (
            rng.integers(0, 256, (len(classes), edge, edge, 3), np.uint8),
            np.arange(len(classes)),
        )
    synthetic, made_labels = _synthetic(shots, shot_labels, len(classes), 16, rng)
    np.save(folders["generate"] / "synthetic.npy", synthetic)
    write_records(folders["generate"], [replace(PLAIN, class_id=int(k)) for k in made_labels])
    history = [
        {
            "step": s,
            "lr": 1e-3 * (1 - s / 400),
            "loss": 2.2 * 0.985 ** (s / 3) + 0.2,
            "kl": 0.2,
            "ce": 0.6,
        }
        for s in range(7, 401, 7)
    ]
    write_json(folders["distill"] / "history.json", history)
    write_json(
        folders["quantize"] / "history.json",
        [{**row, "loss": 0.24 + row["loss"] / 30} for row in history[:20]],
    )
    export = _export(folders["export"], settings, data, len(classes), train, rng)
    teacher_facts = {
        "name": "petals",
        "params": 2_060_000,
        "image_params": 1_640_000,
        "embed_dim": 128,
        "input_size": 48,
        "license": "Apache-2.0",
        "revision": "r1",
    }
    return {
        "data": data,
        "teacher": sealed("teacher", folders["teacher"], teacher_facts, 9.4),
        "generate": sealed(
            "generate",
            folders["generate"],
            {
                "images": len(synthetic),
                "per_class": 16,
                "strategy": "sidclip",
                "generator": "petals",
            },
            74.0,
        ),
        "label": sealed(
            "label",
            folders["label"],
            {
                "dropped": 0,
                "teacher_agreement_synthetic": 0.93,
                "teacher_images": 4096,
                "diversity_synthetic": 0.1834,
                "diversity_real": 0.25,
                "domain_gap": 0.0912,
            },
            21.7,
        ),
        "distill": sealed(
            "distill",
            folders["distill"],
            {
                "params": 138_000,
                "init": "clip",
                "steps": 400,
                "objective": "fd_kd",
                "terms": {"ce": 0.1, "kl": 0.9},
                "meta": "exact",
                "train": "all",
                "feature_steps": 1500,
            },
            96.3,
        ),
        "quantize": sealed(
            "quantize",
            folders["quantize"],
            {
                "mode": "qat",
                "kept": "qat",
                "steps": 150,
                "loss": {"fp32": 0.21, "qat": 0.22, "calibrated": 0.25},
            },
            38.0,
        ),
        "export": sealed("export", folders["export"], export, 14.2),
    }


def _synthetic(
    shots: np.ndarray, labels: np.ndarray, classes: int, per_class: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blends of two shots of a class, numbered as the generate stage does: row j * K + c is image j
    of class c.
    """
    images = np.empty((per_class * classes, *shots.shape[1:]), np.uint8)
    made_labels = np.tile(np.arange(classes), per_class)
    for row, k in enumerate(made_labels):
        a, b = rng.choice(np.flatnonzero(labels == k), 2)
        images[row] = 0.6 * shots[a] + 0.4 * shots[b][:, ::-1]
    return images, made_labels


def _export(
    folder: Path,
    settings: Settings,
    data: Artifact,
    classes: int,
    train: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """bundle/, teacher/ and ptq/ with heads fitted on augmented shots."""
    image = settings.image
    spec = PreprocessSpec(image.size, image.resize, image.interpolation, MEAN, STD)
    wide = PreprocessSpec(48, 48, "bicubic", MEAN, STD)
    pixels, labels = _augmented(data, classes, train, rng)
    if not len(pixels):
        pixels, labels = (
            rng.integers(0, 256, (8 * classes, 40, 40, 3), np.uint8),
            np.arange(8 * classes) % classes,
        )
    seen = {
        s: normalize(np.stack([geometry(Image.fromarray(p), s) for p in pixels]), s)
        for s in (spec, wide)
    }
    scratch = folder / "scratch"
    scratch.mkdir()
    rows = json.loads((data.path / "classes.json").read_text())
    student, teacher = (
        network(spec.size, 12, classes, 5),
        network(48, 64, classes, 6, ("logits", "zero_shot_logits")),
    )
    fit_head(student, scratch / "fp32.onnx", seen[spec], labels, "logits", 60.0)
    fit_head(teacher, scratch / "teacher.onnx", seen[wide], labels, "logits", 60.0)
    few = slice(0, None, 9)
    fit_head(
        teacher, scratch / "teacher.onnx", seen[wide][few], labels[few], "zero_shot_logits", 900.0
    )
    int8 = quantize_static(scratch / "fp32.onnx", seen[spec][:200], scratch / "int8.onnx")
    baseline = quantize_static(
        scratch / "fp32.onnx", seen[spec][:16], folder / "ptq" / "model.ptq.onnx"
    )
    (folder / "teacher").mkdir()
    described = {
        META_LABELS: json.dumps(rows),
        META_PREPROCESS: json.dumps(wide.to_json()),
        META_PRECISION: "fp32",
    }
    copy_with_metadata(scratch / "teacher.onnx", folder / "teacher" / "model.fp32.onnx", described)
    provenance = {
        "seed": 0,
        "stages": {"data": {"facts": data.facts}, "generate": {"facts": {"generator": "petals"}}},
    }
    write_bundle(
        folder / "bundle",
        {"fp32": scratch / "fp32.onnx", "int8": int8, "int8.trt": int8},
        spec,
        rows,
        provenance,
        golden=list(pixels[:2]),
        card="# card\n",
        default="int8",
    )
    row = {"max_abs_diff": 0.031, "tolerance": 0.9, "agreement": 0.996, "images": 256}
    return {
        "parity": {
            "model.fp32.onnx": {**row, "max_abs_diff": 4e-6, "agreement": 1.0},
            "model.int8.onnx": row,
        },
        "teacher_parity": {**row, "images": 8, "agreement": 1.0},
        "parity_images_from": "test",
        "ptq_size_bytes": baseline.stat().st_size,
    }


def _augmented(
    data: Artifact, classes: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    shots = np.load(data.path / "shots.npy")
    labels = np.array(
        [row["label"] for row in json.loads((data.path / "shots.json").read_text())], int
    )
    chosen = [
        i
        for k in range(classes)
        if (labels == k).any()
        for i in rng.choice(np.flatnonzero(labels == k), count)
    ]
    shifted = [
        np.roll(shots[i], rng.integers(-4, 5, 2), (0, 1)) + rng.normal(0, 14, shots.shape[1:])
        for i in chosen
    ]
    return np.clip(np.array(shifted), 0, 255).astype(np.uint8), labels[chosen]


@dataclass(frozen=True)
class Finished:
    """A bench and a report that really ran on the played stages."""

    settings: Settings
    stages: dict[str, Artifact]
    report: dict[str, Any]
    folder: Path  # report.json, report.md, report.html


_FINISHED: dict[str, Finished] = {}  # one for all test modules


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Twelve classes of drawn shapes, six shots, measured for a moment."""
    if not _FINISHED:
        root = tmp_path_factory.mktemp("finished")
        options = {"bench": {"seconds": 0.2, "threads": [1]}}
        settings = settings_for(
            data=image_folder(root / "shapes"), teacher="petals", shots=6, overrides=options
        )
        _FINISHED["shapes"] = finish(root, settings)
    return _FINISHED["shapes"]


@pytest.fixture(scope="session")
def several_domains(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Petals with shots from the photos, tested on the sketches and the night too, 64 images
    each.
    """
    if "domains" not in _FINISHED:
        options = {
            "bench": {"seconds": 0.1, "threads": [1]},
            "data": {"test_domains": ["night", "sketch"], "test_limit": 64},
        }
        settings = settings_for("petals", shots=2, overrides=options)
        _FINISHED["domains"] = finish(tmp_path_factory.mktemp("domains"), settings)
    return _FINISHED["domains"]


def finish(root: Path, settings: Settings) -> Finished:
    """Plays every stage before "bench", then runs bench and report."""
    stages = make(root / "store", settings)
    folders = {name: root / name for name in ("bench", "report")}
    for folder in folders.values():
        folder.mkdir()
    facts = bench.run(StageContext(settings, stages, folders["bench"]))
    stages["bench"] = sealed("bench", folders["bench"], facts, 12.0)
    return Finished(
        settings, stages, build_report(settings, stages, folders["report"]), folders["report"]
    )
