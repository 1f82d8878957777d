"""A teacher as a bundle: image tower and class head in one ONNX file, so that whatever measures a
student measures it too.

The head is zero-shot (the class texts, from templates), or the linear probe of a run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import runtime
from compress.data.split import ClassInfo
from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError, ExportError
from compress.engine.runs import RunFolder
from compress.teacher.artifact import TeacherArtifact
from compress.teacher.clip import Teacher
from compress.teacher.loading import load_teacher
from compress.teacher.prompts import prompts_for
from compress.teacher.random_weights import RANDOM, random_teacher
from export.bundle.card import teacher_card
from export.bundle.write import MODELS, write_bundle, write_json
from export.onnx.convert import save
from export.onnx.parity import Parity, compare, require
from export.stage import torch_logits
from export.targets.pictures import from_folder
from export.targets.write import export_targets
from export.teacher.network import TeacherClassifier, ZeroShotClassifier, teacher_to_onnx
from runtime import golden
from runtime.bundle import GOLDEN, MANIFEST, open_bundle

PRECISIONS = ("fp32", "fp16")
GOLDEN_IMAGES = 4  # a ViT-L/14 takes a second for each
PETALS = "drawn flowers of the embedded world"


@dataclass(frozen=True)
class Classes:
    """What the teacher tells apart.

    Attributes:
        rows: name, prompt and category of each class, as in labels.json.
        templates: of the prompts.
        source: where the names come from, in words.
    """

    rows: list[dict[str, Any]]
    templates: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class _Head:
    """A classifier, and what is known of its head."""

    module: TeacherClassifier | ZeroShotClassifier
    kind: str  # "zero-shot" or "probe"
    templates: tuple[str, ...]


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
        classes: class names; or
        student: a bundle whose classes, prompts, templates and golden images are taken. A run needs
            neither.
        precision: "fp32", or "fp16": half the size, cast in the file (export/targets/half.py).
        random_weights: initialize the architecture at random: for time, memory and size only.
        images: a folder of images for the golden vectors and for parity.

    Raises:
        ConfigError: no class names, an unknown teacher or precision.
        DownloadError: weights that are neither here nor reachable.
        ExportError, ParityError: a tower that does not export, or whose file computes something
            else.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            "precision of a teacher", got=repr(precision), expected=" or ".join(PRECISIONS)
        )
    goal = Path(out)
    if goal.exists():
        raise ExportError(
            f"{goal} exists already", expected="a new folder", remedy="choose another name"
        )
    run = _run_folder(name)
    if run is not None and random_weights:
        raise ConfigError(
            "a run's teacher has weights",
            got="--random-weights",
            expected="an architecture, e.g. ViT-L-14",
        )
    chosen = _classes(classes, Path(student) if student else None, run)
    settings = _settings(name, run, chosen)
    teacher = (
        random_teacher(settings, seed)
        if random_weights
        else load_teacher(settings, offline=offline)
    )
    head = _head(teacher, chosen, run)
    beside = None
    if run is not None and (RunFolder(run).bundle / MANIFEST).is_file():
        beside = RunFolder(run).bundle
    pictures, pictured = _pictures(
        Path(images) if images else None, Path(student) if student else beside
    )
    goal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{goal.resolve().name}.export-", dir=goal.resolve().parent
    ) as scratch:
        fp32, parity = _export(teacher, head, pictures, Path(scratch), opset)
        provenance = _provenance(teacher, head, chosen, random_weights, pictured, seed)
        names = [row["name"] for row in chosen.rows]
        half = (
            _half(fp32, teacher, chosen, pictures, Path(scratch)) if precision == "fp16" else None
        )
        whole = Path(scratch) / "bundle"
        manifest = write_bundle(
            whole,
            {precision: half[0] if half else fp32},
            teacher.spec,
            chosen.rows,
            provenance,
            pictures,
            teacher_card(provenance, names, parity, precision),
            precision,
            hugging_face=False,
        )
        manifest["kind"] = "teacher"
        manifest["weights"] = RANDOM if random_weights else "pretrained"
        manifest["parity"] = {"fp32": parity.to_json(), **({"fp16": half[1]} if half else {})}
        write_json(whole / MANIFEST, manifest)
        os.replace(whole, goal)
    return manifest


def _run_folder(name: str) -> Path | None:
    """The run that ``name`` is the folder of, or None."""
    folder = Path(name).expanduser()
    return (
        folder
        if RunFolder(folder).exists and (folder / "teacher" / "heads.safetensors").is_file()
        else None
    )


def _settings(name: str, run: Path | None, chosen: Classes) -> TeacherSettings:
    if run is not None:
        return TeacherSettings(**RunFolder(run).layer()["teacher"])
    return TeacherSettings(name=name, templates=chosen.templates)


def _classes(names: Sequence[str] | None, student: Path | None, run: Path | None) -> Classes:
    given = [
        what
        for what, value in (("class names", names), ("a bundle", student), ("a run", run))
        if value is not None
    ]
    if len(given) != 1 and not (run is not None and len(given) == 2):
        raise ConfigError(
            "a teacher's classes",
            got=" and ".join(given) or "none",
            expected='one of --classes "rose,iris", --classes-file FILE, --classes-from BUNDLE, '
            "or the folder of a run",
        )
    if run is not None:
        if len(given) == 2 and names is not None:
            raise ConfigError(
                "a run's teacher has its classes", got="class names", expected="none of them"
            )
        rows = json.loads((run / "data" / "classes.json").read_text())
        return Classes(rows, tuple(RunFolder(run).layer()["teacher"]["templates"]), "its run")
    if student is not None:
        opened = open_bundle(student)
        rows = [
            {"name": label.name, "prompt": label.prompt or label.name, "category": None}
            for label in opened.labels
        ]
        listed = json.loads((student / "labels.json").read_text())
        for row, full in zip(rows, listed, strict=True):
            row["category"] = full.get("category") if isinstance(full, dict) else None
        return Classes(rows, _templates_of(student), "a student's bundle")
    found = list(dict.fromkeys(names or ()))
    if not found or len(found) != len(names or ()):
        raise ConfigError(
            "class names",
            got=f"{len(names or ())} names, {len(found)} of them distinct",
            expected="distinct names",
        )
    return Classes(
        [{"name": n, "prompt": n, "category": None} for n in found],
        TeacherSettings().templates,
        "names given",
    )


def _templates_of(student: Path) -> tuple[str, ...]:
    """The templates that the student's own teacher was asked with; the default ones where its
    provenance has none.
    """
    file = student / "provenance.json"
    settings = json.loads(file.read_text()).get("settings", {}) if file.is_file() else {}
    templates = settings.get("teacher", {}).get("templates")
    return tuple(templates) if templates else TeacherSettings().templates


def _head(teacher: Teacher, chosen: Classes, run: Path | None) -> _Head:
    if run is not None:
        heads = TeacherArtifact(run / "teacher").heads()
        if heads.probe.shape != (len(chosen.rows), teacher.embed_dim):
            raise ExportError(
                "the run's probe does not fit its teacher",
                got=heads.probe.shape,
                expected=(len(chosen.rows), teacher.embed_dim),
                remedy="build the run again",
            )
        probe, zero_shot = (torch.from_numpy(head) for head in (heads.probe, heads.zero_shot))
        module = TeacherClassifier(teacher.image_tower, probe, zero_shot, heads.logit_scale)
        return _Head(module, "probe", chosen.templates)
    classes = [ClassInfo(**row) for row in chosen.rows]
    texts = teacher.class_head(prompts_for(classes, chosen.templates))
    module = ZeroShotClassifier(
        teacher.image_tower, torch.from_numpy(texts.copy()), teacher.logit_scale
    )
    return _Head(module, "zero-shot", chosen.templates)


def _pictures(
    folder: Path | None, student: Path | None
) -> tuple[list[bytes | NDArray[np.uint8]], str]:
    """A few images for golden vectors and parity, and where they come from."""
    if folder is not None:
        return [
            np.asarray(image) for image in from_folder(folder)[0][:GOLDEN_IMAGES]
        ], "images given"
    if student is not None and GOLDEN in open_bundle(student).manifest["files"]:
        vectors = golden.read(student / GOLDEN)
        count = min(GOLDEN_IMAGES, len(vectors["decoded"]))
        return [
            vectors[f"img_{index}"].tobytes() for index in range(count)
        ], "golden images of the student's bundle"
    from compress.petals.world import render_species

    return list(render_species(range(GOLDEN_IMAGES), "test", [0] * GOLDEN_IMAGES)), PETALS


def _export(
    teacher: Teacher,
    head: _Head,
    pictures: Sequence[bytes | NDArray[np.uint8]],
    scratch: Path,
    opset: int,
) -> tuple[Path, Parity]:
    """The float32 file, compared with the torch teacher."""
    path = save(
        teacher_to_onnx(head.module, teacher.spec.size, opset=opset),
        scratch / "plain" / MODELS["fp32"],
    )
    images = _normalized(pictures, teacher.spec)

    class First(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            made = head.module(batch)
            return made if isinstance(made, torch.Tensor) else made[0]

    return path, require(compare(path, torch_logits(First(), images, 1), images, precision="fp32"))


def _half(
    fp32: Path,
    teacher: Teacher,
    chosen: Classes,
    pictures: Sequence[bytes | NDArray[np.uint8]],
    scratch: Path,
) -> tuple[Path, dict[str, Any]]:
    """The float16 file and its row as an export target, by way of a bundle of the float32 file."""
    whole = scratch / "fp32-bundle"
    write_bundle(
        whole,
        {"fp32": fp32},
        teacher.spec,
        chosen.rows,
        {},
        pictures,
        "",
        "fp32",
        hugging_face=False,
    )
    row = export_targets(whole, ["fp16"])["fp16"]
    return whole / row["file"], row


def _normalized(
    pictures: Sequence[bytes | NDArray[np.uint8]], spec: runtime.PreprocessSpec
) -> NDArray[np.float32]:
    cropped = np.stack([runtime.geometry(runtime.decode(picture), spec) for picture in pictures])
    return runtime.normalize(cropped, spec)


def _provenance(
    teacher: Teacher, head: _Head, chosen: Classes, random_weights: bool, pictured: str, seed: int
) -> dict[str, Any]:
    name = teacher.name if not teacher.name.startswith(("/", "~", ".")) else Path(teacher.name).name
    about: Mapping[str, Any] = {
        "name": name,
        "weights": RANDOM if random_weights else "pretrained",
        "license": teacher.license,
        "revision": teacher.revision,
        "fingerprint": teacher.fingerprint(),
        "params": teacher.params,
        "image_params": teacher.image_params,
        "embed_dim": teacher.embed_dim,
        "logit_scale": teacher.logit_scale,
    }
    return {
        "kind": "teacher",
        "teacher": dict(about),
        "head": head.kind,
        "templates": list(head.templates),
        "classes": {"count": len(chosen.rows), "from": chosen.source},
        "golden_images": pictured,
        "seed": seed if random_weights else None,
    }
