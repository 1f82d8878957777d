"""Stage "export": the bundle that ships, the teacher's file and the post-training baseline, each
with measured parity.

bundle/               model.fp32.onnx  model.int8.onnx (uint8, onnxruntime)  model.int8.trt.onnx
                      (int8, TensorRT)  ...
teacher/              model.fp32.onnx: what the student is compared with
ptq/model.ptq.onnx    onnxruntime's own quantization of the same student: what training has to beat
parity.json           every file against the torch model it came from
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image
from torch import nn

import runtime
from compress.distill.batches import Batches
from compress.distill.students import Student, load_student
from compress.engine.errors import ExportError
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.quantize.graph import convert, load_prepared, set_observers
from export.bundle.card import model_card
from export.bundle.write import MODELS, copy_with_metadata, write_bundle
from export.onnx.convert import save, to_onnx
from export.onnx.float_blocks import additions_left_float
from export.onnx.parity import Logits, Parity, compare, require
from export.onnx.ptq import quantize_static
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import MAX_OPSET as TENSORRT_OPSET
from export.tensorrt.rules import tensorrt_ready
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS

GOLDEN_IMAGES = 4
TEACHER_PARITY_IMAGES = 8  # a ViT-L/14 takes a second each


@dataclass(frozen=True)
class StudentFiles:
    """The student's ONNX files and how they compare with the torch models."""

    paths: dict[str, Path]
    parity: list[Parity]


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes bundle/, teacher/, ptq/ and parity.json.

    Raises:
        ExportError: a graph that cannot be exported or that TensorRT would refuse.
        ParityError: a file that does not compute what its torch model does.
    """
    scratch = ctx.partial / "models"
    labels: list[dict[str, Any]] = json.loads(
        (ctx.inputs["data"].path / "classes.json").read_text()
    )
    student = load_student(ctx.inputs["distill"].path)
    spec = student.spec.preprocess(ctx.settings.image)
    pixels, source = _parity_pixels(ctx)
    with ctx.progress.task("export", 4, "file group") as task:
        files = export_student(ctx, student, spec, runtime.normalize(pixels, spec), scratch)
        task.advance()
        baseline = _baseline(ctx, spec, files.paths["fp32"])
        task.advance()
        teacher_parity = _export_teacher(ctx, labels, pixels)
        task.advance()
        _write(ctx, spec, labels, files, pixels)
        task.advance()
    rows = [*files.parity, teacher_parity]
    write_json(
        ctx.folder / "parity.json",
        {"images_from": source, "files": [row.to_json() for row in rows]},
    )
    for row in files.parity:
        if not row.as_expected:
            ctx.progress.note(
                f"{row.file} agrees with its torch model on {row.agreement:.1%} of the images only"
            )
    return {
        "parity": {row.file: row.to_json() for row in files.parity},
        "teacher_parity": teacher_parity.to_json(),
        "parity_images_from": source,
        "size_bytes": {name: path.stat().st_size for name, path in files.paths.items()},
        "ptq_size_bytes": baseline.stat().st_size,
        "opset": ctx.settings.export.opset,
        "tensorrt_ready": True,  # otherwise export_student raises
    }


def export_student(
    ctx: StageContext, student: Student, spec: runtime.PreprocessSpec, images: Logits, folder: Path
) -> StudentFiles:
    """Exports fp32 and both int8 files into ``folder`` and compares each on ``images (n, 3, S,
    S)``.
    """
    prepared = load_prepared(student, ctx.inputs["quantize"].path)
    set_observers(prepared, observe=False, quantize=True)
    opset = ctx.settings.export.opset
    int8 = to_onnx(convert(prepared), spec.size, opset=min(opset, TENSORRT_OPSET))
    models: dict[str, ModelProto] = {
        "fp32": to_onnx(student, spec.size, opset=opset),
        "int8": to_uint8(int8),
        "int8.trt": int8,
    }
    violations = tensorrt_ready(
        int8, additions_left_float(prepared, int8, ctx.settings.quantize.float_blocks)
    )
    if violations:
        raise ExportError(
            f"{MODELS['int8.trt']} would not run in int8 on TensorRT",
            got="; ".join(violations[:3])
            + (f"; and {len(violations) - 3} more" if len(violations) > 3 else ""),
            expected="no violation of export/tensorrt/rules.py",
            remedy="choose another student (a plain ReLU CNN such as mobilenetv4_conv_small)",
        )
    paths = {name: save(model, folder / MODELS[name]) for name, model in models.items()}
    references = {"fp32": torch_logits(student, images), "int8": torch_logits(prepared, images)}
    parity = [
        require(compare(path, references[_precision(name)], images, precision=_precision(name)))
        for name, path in paths.items()
    ]
    return StudentFiles(paths, parity)


def torch_logits(model: nn.Module, images: Logits, batch: int = 64) -> Logits:
    """``(n, K)`` logits of a torch model on ``images (n, 3, S, S)``."""
    with torch.no_grad():
        parts = [
            model(torch.from_numpy(images[at : at + batch])) for at in range(0, len(images), batch)
        ]
    return torch.cat(parts).numpy()


def _precision(name: str) -> str:
    """The precision of a bundle's model: the first part of its name."""
    return name.partition(".")[0]


def _parity_pixels(ctx: StageContext) -> tuple[NDArray[np.uint8], str]:
    """Up to ``export.parity_images`` images ``(n, S, S, 3)``, spread over the test set; else
    synthetic ones.

    Parity compares two computations of one model, so looking at test images here chooses nothing.
    """
    count = ctx.settings.export.parity_images
    for name, artifact, file in (
        ("test", "data", "test.npy"),
        ("synthetic", "generate", "synthetic.npy"),
    ):
        images = np.load(ctx.inputs[artifact].path / file, mmap_mode="r")
        if len(images):
            chosen = np.asarray(
                images[np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)]
            )
            return _at_size(chosen, ctx), name
    raise ExportError(
        "there is no image to measure parity on", expected="test images or synthetic ones"
    )


def _at_size(images: NDArray[np.uint8], ctx: StageContext) -> NDArray[np.uint8]:
    """The images at the student's S (synthetic ones are stored at the cache size)."""
    size = ctx.settings.image.size
    if images.shape[1] == size:
        return images
    plain = runtime.PreprocessSpec(
        size, size, ctx.settings.image.interpolation, (0.5,) * 3, (0.5,) * 3
    )
    return resized(images, plain)


def resized(images: NDArray[np.uint8], spec: runtime.PreprocessSpec) -> NDArray[np.uint8]:
    """``(n, H, W, 3)`` images in the geometry of ``spec``, ``(n, S, S, 3)``."""
    return np.stack([runtime.geometry(Image.fromarray(image), spec) for image in images])


def _baseline(ctx: StageContext, spec: runtime.PreprocessSpec, fp32: Path) -> Path:
    """onnxruntime's static quantization on the very calibration views of the quantize stage."""
    batches = Batches(ctx, spec, "quantize")
    try:
        images, drawn = batches.calibration(ctx.settings.quantize.calibration_images)
    finally:
        batches.close()
    recorded = json.loads((ctx.inputs["quantize"].path / "quantize.json").read_text())[
        "calibration"
    ]
    if drawn != recorded:
        raise ExportError(
            "the calibration set is not the one that was recorded",
            remedy="compress clean, then build again",
        )
    return quantize_static(fp32, images.contiguous().numpy(), ctx.folder / "ptq" / "model.ptq.onnx")


def _export_teacher(
    ctx: StageContext, labels: list[dict[str, Any]], pixels: NDArray[np.uint8]
) -> Parity:
    """Writes teacher/model.fp32.onnx and compares it with the torch teacher on a few images."""
    from safetensors.torch import load_file

    from compress.teacher.clip import load_teacher
    from export.teacher.network import TeacherClassifier, teacher_to_onnx

    teacher = load_teacher(ctx.settings.teacher, offline=True)
    heads = load_file(ctx.inputs["teacher"].path / "heads.safetensors")
    classifier = TeacherClassifier(
        teacher.image_tower, heads["probe"], heads["zero_shot"], float(heads["logit_scale"])
    )
    spec = teacher.spec
    model = teacher_to_onnx(classifier, spec.size, opset=ctx.settings.export.opset)
    path = ctx.folder / "teacher" / MODELS["fp32"]
    plain = save(model, ctx.partial / "models" / "teacher.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    copy_with_metadata(
        plain,
        path,
        {
            META_LABELS: json.dumps(labels, sort_keys=True),
            META_PREPROCESS: json.dumps(spec.to_json(), sort_keys=True),
            META_PRECISION: "fp32",
        },
    )
    plain.unlink()
    images = runtime.normalize(resized(pixels[:TEACHER_PARITY_IMAGES], spec), spec)
    with torch.no_grad():
        reference = classifier(torch.from_numpy(images))[0].numpy()
    return require(compare(path, reference, images, precision="fp32"))


def _write(
    ctx: StageContext,
    spec: runtime.PreprocessSpec,
    labels: list[dict[str, Any]],
    files: StudentFiles,
    pixels: NDArray[np.uint8],
) -> None:
    """Writes bundle/: the models, their preprocessing and labels, golden vectors, provenance and
    the model card.
    """
    provenance = provenance_of(ctx)
    write_bundle(
        ctx.folder / "bundle",
        models=files.paths,
        preprocess=spec,
        labels=labels,
        provenance=provenance,
        golden=list(pixels[:GOLDEN_IMAGES]),
        card=model_card(provenance, [label["name"] for label in labels], files.parity),
        default="int8",
    )


def provenance_of(ctx: StageContext) -> dict[str, Any]:
    """Where everything came from: seed, settings, and the facts and content hash of each input.

    Times and folders of this machine are left out: the same build elsewhere gives the same bundle.
    """
    settings = {
        name: value
        for name, value in ctx.settings.plain().items()
        if name not in ("bench", "budget", "notes")
    }
    return {
        "seed": ctx.seed,
        "settings": _portable(settings),
        "stages": {
            name: {"sha256": made.content, "facts": _portable(made.facts)}
            for name, made in sorted(ctx.inputs.items())
        },
    }


def _portable(value: Any) -> Any:
    """``value`` without durations, and with absolute paths cut to their last part."""
    if isinstance(value, Mapping):
        kept = {
            key: inner
            for key, inner in value.items()
            if not str(key).endswith(("_s", "_ms", "seconds"))
        }
        return {key: _portable(inner) for key, inner in kept.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~/")) else value
