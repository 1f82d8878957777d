"""A teacher as a bundle: image tower and class head in one ONNX file, measured as students are.

The head is zero-shot (the class texts, from templates), or the linear probe of a run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import runtime
from compress.engine.config import TeacherSettings
from compress.engine.disk import require_folder
from compress.engine.errors import ConfigError, ExportError
from compress.engine.runs import RunFolder
from compress.engine.text import user_path
from compress.teacher.artifact import Head, Heads, TeacherArtifact
from compress.teacher.ensemble import Ensemble
from compress.teacher.loading import load_teacher
from compress.teacher.priors import prior_of
from compress.teacher.random_weights import RANDOM, random_teacher
from compress.teacher.teacher import Teacher
from export.bundle.card import teacher_card
from export.bundle.files import MODELS
from export.bundle.folder import require_new, scratch_beside
from export.bundle.write import write_bundle
from export.onnx.convert import save
from export.onnx.parity import Parity, compare_outputs, require, torch_outputs
from export.targets.pictures import crops, from_folder
from export.targets.write import export_targets
from export.teacher.classes import TeacherClasses, teacher_classes
from export.teacher.network import TeacherClassifier, teacher_to_onnx
from runtime import golden
from runtime.bundle import GOLDEN, MANIFEST, open_bundle
from runtime.files.manifest import write_manifest

PRECISIONS = ("fp32", "fp16")
GOLDEN_IMAGES = 4  # a ViT-L/14 takes a second for each
PETALS = "drawn flowers of the embedded world"

Pictures = Sequence[bytes | NDArray[np.uint8]]


def export_teacher(
    name: str,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    student: str | Path | None = None,
    precision: str = "fp32",
    random_weights: bool = False,
    images: str | Path | None = None,
    opset: int = 20,
    offline: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Writes a teacher's bundle to the new folder ``out`` and returns its manifest.

    Args:
        name: an open_clip ``model/tag``, a folder, ``petals``, or the folder of a run, whose probe
            is then its head.
        classes: class names; a run needs none, nor does a
        student: a bundle whose classes, prompts, templates and golden images are taken.
        precision: "fp32", or "fp16": half the size, cast in the file (export/targets/half.py).
        random_weights: initialize the architecture at random: for time, memory and size only.
        images: a folder of images for the golden vectors and for parity.

    Raises:
        ConfigError: no class names, an unknown teacher or precision.
        DownloadError: weights that are neither here nor reachable.
        ExportError, ParityError: a tower that does not export, or computes something else.
    """
    if precision not in PRECISIONS:
        expected = " or ".join(PRECISIONS)
        raise ConfigError("precision of a teacher", got=repr(precision), expected=expected)
    goal = Path(os.path.realpath(user_path(out)))
    student = user_path(student) if student else None
    require_new(goal, "choose another name")
    require_folder(goal)
    folder = RunFolder(user_path(name))
    has_heads = folder.exists and TeacherArtifact(folder.path / "teacher").has_heads()
    run = folder if has_heads else None
    if run is not None and random_weights:
        expected = "an architecture, e.g. ViT-L-14"
        raise ConfigError("a run's teacher has weights", got="--random-weights", expected=expected)
    chosen = teacher_classes(classes, student, run)
    settings = TeacherSettings(name=name, templates=chosen.templates)
    if run is not None:
        settings = TeacherSettings(**run.layer()["teacher"])
        if student is None and (run.bundle / MANIFEST).is_file():
            student = run.bundle
    teacher: Teacher
    if random_weights:
        teacher = random_teacher(settings, seed)
    else:
        teacher = load_teacher(settings, offline=offline)
    classifier = _classifier(teacher, chosen, run)
    pictures, pictured = _pictures(user_path(images) if images else None, student)
    weights = RANDOM if random_weights else "pretrained"
    with scratch_beside(goal) as scratch:
        file, parity = _export(teacher, classifier, pictures, scratch, opset)
        rows: dict[str, Any] = {"fp32": asdict(parity)}
        if precision == "fp16":
            file, rows["fp16"] = _half(file, teacher, chosen, pictures, scratch)
        provenance = {
            "kind": "teacher",
            "teacher": _about(teacher, weights),
            "head": "zero-shot" if run is None else "probe",
            "templates": list(chosen.templates),
            "classes": {"count": len(chosen.infos), "from": chosen.source},
            "golden_images": pictured,
            "seed": seed if random_weights else None,
        }
        names = [info.name for info in chosen.infos]
        whole = scratch / "whole"
        card = teacher_card(provenance, names, parity, precision)
        content = (teacher.spec, chosen.rows, provenance, pictures, card, precision)
        manifest = write_bundle(whole, {precision: file}, *content, hugging_face=False)
        manifest |= {"kind": "teacher", "weights": weights, "parity": rows}
        write_manifest(whole, manifest)
        os.replace(whole, goal)
    return manifest


def _classifier(
    teacher: Teacher, chosen: TeacherClasses, run: RunFolder | None
) -> TeacherClassifier:
    if run is None:
        members = teacher.members if isinstance(teacher, Ensemble) else (teacher,)
        return TeacherClassifier(
            teacher.image_tower, Heads(tuple(_untrained(one, chosen) for one in members))
        )
    heads = TeacherArtifact(run.path / "teacher").heads()
    expected = (len(chosen.infos), teacher.embed_dim)
    if heads.probe.shape != expected:
        what = "the run's probe does not fit its teacher: build the run again"
        raise ExportError(what, got=heads.probe.shape, expected=expected)
    return TeacherClassifier(teacher.image_tower, heads)


def _untrained(teacher: Teacher, chosen: TeacherClasses) -> Head:
    """The head from texts, or from the names that a network knows."""
    no_features = np.empty((0, teacher.embed_dim), np.float32)
    no_labels = np.empty(0, np.int64)
    empty = (no_features, no_labels, no_labels)
    prior = prior_of(teacher, chosen.infos, chosen.templates, *empty)
    return Head(None, prior.start, teacher.logit_scale)


def _pictures(folder: Path | None, bundle: Path | None) -> tuple[Pictures, str]:
    """A few images for golden vectors and parity, and where they come from."""
    if folder is not None:
        images = from_folder(folder)[0][:GOLDEN_IMAGES]
        return [np.asarray(image) for image in images], "images given"
    if bundle is not None and GOLDEN in open_bundle(bundle).manifest["files"]:
        vectors = golden.read(bundle / GOLDEN)
        count = min(GOLDEN_IMAGES, len(vectors["decoded"]))
        encoded = [vectors[f"img_{index}"].tobytes() for index in range(count)]
        return encoded, "golden images of the student's bundle"
    from compress.petals.world import render_species

    return list(render_species(range(GOLDEN_IMAGES), "test", [0] * GOLDEN_IMAGES)), PETALS


def _export(
    teacher: Teacher, classifier: TeacherClassifier, pictures: Pictures, scratch: Path, opset: int
) -> tuple[Path, Parity]:
    """The float32 file, compared with the torch teacher."""
    spec = teacher.spec
    model = teacher_to_onnx(classifier, spec.size, opset=opset)
    path = save(model, scratch / "plain" / MODELS["fp32"])
    images = runtime.normalize(crops(pictures, spec), spec)

    reference = torch_outputs(classifier, images, 1, classifier.names)
    return path, require(compare_outputs(path, reference, images, precision="fp32"))


def _half(
    fp32: Path, teacher: Teacher, chosen: TeacherClasses, pictures: Pictures, scratch: Path
) -> tuple[Path, dict[str, Any]]:
    """The float16 file and its row as an export target, by way of a bundle of the float32 file."""
    folder = scratch / "fp32-bundle"
    spec = teacher.spec
    models = {"fp32": fp32}
    write_bundle(folder, models, spec, chosen.rows, {}, pictures, "", "fp32", hugging_face=False)
    row = export_targets(folder, ["fp16"])["fp16"]
    return folder / row["file"], row


def _about(teacher: Teacher, weights: str) -> dict[str, Any]:
    """The teacher's part of provenance.json, without folders of this machine."""
    local = teacher.name.startswith(("/", "~", "."))
    name = Path(teacher.name).name if local else teacher.name
    keys = ("license", "revision", "params", "image_params", "embed_dim", "logit_scale")
    facts = {key: getattr(teacher, key) for key in keys}
    return {"name": name, "weights": weights, "fingerprint": teacher.fingerprint(), **facts}
