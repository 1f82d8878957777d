"""Runs whose bench and report are real, on stages that are not: only training is left out.

The "student" is a random convolution with a fitted head, the "teacher" a wider one at another
geometry, so that accuracy, latency, kernels and predictions are measured on files that really
classify.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from fitted_networks import fit_head, network
from PIL import Image
from synthetic_records import PLAIN, write_records

from compress.bench import stage as bench
from compress.data import stage as data_stage
from compress.data.artifact import DataArtifact
from compress.distill.artifact import DistillArtifact
from compress.engine.config import Settings
from compress.engine.stage import StageContext
from compress.engine.store import Artifact, write_json
from compress.generate.artifact import IMAGES
from compress.quantize.artifact import HISTORY
from compress.report.stage import build_report
from export.artifact import ExportArtifact
from export.bundle.write import copy_with_metadata, write_bundle
from export.confidence.document import Confidence
from export.onnx.parity import onnx_logits
from export.onnx.ptq import quantize_static
from runtime import PreprocessSpec, geometry, normalize
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


@dataclass(frozen=True)
class Finished:
    """A bench and a report that really ran on the played stages; ``folder`` is the report's."""

    settings: Settings
    stages: dict[str, Artifact]
    report: dict[str, Any]
    folder: Path


def finish(root: Path, settings: Settings) -> Finished:
    """Plays every stage before "bench", then runs bench and report."""
    stages = played_stages(root / "store", settings)
    folders = {name: root / name / KEY for name in ("bench", "report")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    facts = bench.run(StageContext(settings, stages, folders["bench"]))
    stages["bench"] = sealed("bench", folders["bench"], facts, 12.0)
    report = build_report(settings, stages, folders["report"])
    return Finished(settings, stages, report, folders["report"])


def sealed(stage: str, path: Path, facts: Mapping[str, Any], seconds: float) -> Artifact:
    """An artifact as the store would give it."""
    return Artifact(
        stage,
        path,
        dict(facts),
        content=hashlib.sha256(stage.encode()).hexdigest(),
        seconds=seconds,
    )


#: stage -> its facts, and the seconds it would have taken
PLAYED: dict[str, tuple[dict[str, Any], float]] = {
    "teacher": (
        {
            "name": "petals",
            "params": 2_060_000,
            "image_params": 1_640_000,
            "embed_dim": 128,
            "input_size": 48,
            "license": "Apache-2.0",
            "revision": "r1",
        },
        9.4,
    ),
    "generate": ({"per_class": 16, "strategy": "sidclip", "generator": "petals"}, 74.0),
    "label": (
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
    "distill": (
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
    "quantize": (
        {
            "mode": "qat",
            "kept": "qat",
            "steps": 150,
            "loss": {"fp32": 0.21, "qat": 0.22, "calibrated": 0.25},
        },
        38.0,
    ),
}
PER_CLASS = 16  # synthetic images
KEY = "0" * 32  # of every stage: their folders lie as in a store


def played_stages(root: Path, settings: Settings, train: int = 40) -> dict[str, Artifact]:
    """Every stage before "bench"; heads are fitted on ``train`` noisy shots of each class."""
    folders = {name: root / name / KEY for name in ("data", *PLAYED, "export")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    facts = data_stage.run(StageContext(settings, {}, folders["data"]))
    data = DataArtifact(folders["data"])
    rng, classes = np.random.default_rng(1), len(data.classes)
    shots, labels = data.shots.pixels, data.shots.labels
    if not len(shots):  # class names only: something to make images of
        edge = settings.image.resize
        shots = rng.integers(0, 256, (classes, edge, edge, 3), np.uint8)
        labels = np.arange(classes)
    synthetic, synthetic_labels = _synthetic(shots, labels, classes, rng)
    np.save(folders["generate"] / IMAGES, synthetic)
    write_records(folders["generate"], [replace(PLAIN, class_id=int(k)) for k in synthetic_labels])
    history = [
        {"step": s, "lr": 1e-3 * (1 - s / 400), "loss": 2.2 * 0.985 ** (s / 3) + 0.2}
        | {"kl": 0.2, "ce": 0.6}
        for s in range(7, 401, 7)
    ]
    DistillArtifact(folders["distill"]).write_history(history)
    calmer = [{**row, "loss": 0.24 + row["loss"] / 30} for row in history[:20]]
    write_json(folders["quantize"] / HISTORY, calmer)
    stages = {"data": sealed("data", folders["data"], facts, 2.1)}
    stages |= {name: sealed(name, folders[name], *row) for name, row in PLAYED.items()}
    stages["generate"].facts["images"] = len(synthetic)
    exported = _export(folders["export"], settings, stages["data"], train, rng)
    return {**stages, "export": sealed("export", folders["export"], exported, 14.2)}


def _synthetic(
    shots: np.ndarray, labels: np.ndarray, classes: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blends of two shots of a class: row j * K + c is image j of class c, as in a real stage."""
    images = np.empty((PER_CLASS * classes, *shots.shape[1:]), np.uint8)
    own = np.tile(np.arange(classes), PER_CLASS)
    for row, k in enumerate(own):
        a, b = rng.choice(np.flatnonzero(labels == k), 2)
        images[row] = 0.6 * shots[a] + 0.4 * shots[b][:, ::-1]
    return images, own


def _export(
    folder: Path, settings: Settings, data: Artifact, train: int, rng: np.random.Generator
) -> dict[str, Any]:
    """bundle/, teacher/ and ptq/ with heads fitted on augmented shots."""
    image, export = settings.image, ExportArtifact(folder)
    rows = [asdict(entry) for entry in DataArtifact(data.path).classes]
    classes = len(rows)
    spec = PreprocessSpec(image.size, image.resize, image.interpolation, MEAN, STD)
    wide = PreprocessSpec(48, 48, "bicubic", MEAN, STD)
    pixels, labels = _augmented(data, classes, train, rng)
    if not len(pixels):
        pixels = rng.integers(0, 256, (8 * classes, 40, 40, 3), np.uint8)
        labels = np.arange(8 * classes) % classes
    seen = {
        s: normalize(np.stack([geometry(Image.fromarray(p), s) for p in pixels]), s)
        for s in (spec, wide)
    }
    scratch = folder / "scratch"
    scratch.mkdir()
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
    baseline = quantize_static(scratch / "fp32.onnx", seen[spec][:16], export.baseline)
    export.teacher.parent.mkdir()
    described = {
        META_LABELS: json.dumps(rows),
        META_PREPROCESS: json.dumps(wide.to_json()),
        META_PRECISION: "fp32",
    }
    copy_with_metadata(scratch / "teacher.onnx", export.teacher, described)
    provenance = {
        "seed": 0,
        "stages": {"data": {"facts": data.facts}, "generate": {"facts": {"generator": "petals"}}},
    }
    write_bundle(
        export.bundle,
        {"fp32": scratch / "fp32.onnx", "int8": int8, "int8.trt": int8},
        spec,
        rows,
        provenance,
        golden=list(pixels[:2]),
        card="# card\n",
        default="int8",
        confidence=Confidence(confidence := _confidence(scratch / "fp32.onnx", seen[spec])),
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
        "confidence": confidence,
    }


def _confidence(fp32: Path, images: np.ndarray) -> dict[str, Any]:
    """A temperature, and a threshold on the largest logit that keeps 95 % of the images."""
    top = onnx_logits(fp32)(images).max(axis=1)
    row = {"threshold": float(np.quantile(top, 0.05)), "scales": {}}
    kinds = {"noise": 0.93, "flat": 0.88, "left_out": 0.81}
    return {
        "temperature": {
            "models": {"fp32": 1.4, "int8": 1.5, "int8.trt": 1.5},
            "fitted_on": "labeled images that are neither shots nor test images",
            "n": 60,
            "nll_before_after": {"fp32": [0.5, 0.4], "int8": [0.5, 0.4]},
        },
        "rejection": {
            "score": "max_logit",
            "keep": 0.95,
            "models": {"fp32": row, "int8": row, "int8.trt": row},
            "prototypes": None,
            "set_on": "labeled images that are neither shots nor test images",
            "n": 60,
            "others_of_a_kind": 40,
            "auroc": {"int8": {"max_logit": kinds, "energy": {**kinds, "flat": 0.86}}},
        },
    }


def _augmented(
    data: Artifact, classes: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    shots, labels = DataArtifact(data.path).shots.pixels, DataArtifact(data.path).shots.labels
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
