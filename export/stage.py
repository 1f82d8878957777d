"""Stage "export": the bundle, the teacher's file and the post-training baseline, with parity.

``export.artifact`` lists the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

import runtime
from compress.data.artifact import TEST, DataArtifact
from compress.data.geometry import fit_geometry
from compress.data.split import ClassInfo
from compress.distill.artifact import DistillArtifact
from compress.distill.batches import Batches
from compress.distill.students import Student
from compress.engine.config import Settings
from compress.engine.errors import ExportError
from compress.engine.stage import StageContext
from compress.generate.artifact import GenerateArtifact
from compress.quantize.artifact import QuantizeArtifact
from compress.quantize.graph import PreparedStudent, convert, load_prepared
from compress.quantize.scales import set_observers
from compress.teacher.artifact import TeacherArtifact
from export.artifact import ExportArtifact
from export.bundle.card import model_card
from export.bundle.files import MODELS
from export.bundle.write import copy_with_metadata, model_metadata, write_bundle
from export.confidence.fit import fit_confidence
from export.onnx.convert import save, to_onnx
from export.onnx.features import featured, prepared_outputs, with_features
from export.onnx.float_blocks import additions_left_float
from export.onnx.graph import OUTPUTS, without_features
from export.onnx.parity import Logits, Parity, compare_outputs, require, torch_outputs
from export.onnx.ptq import quantize_static
from export.onnx.qdq import to_uint8
from export.targets.pictures import crops
from export.tensorrt.rules import MAX_OPSET as TENSORRT_OPSET
from export.tensorrt.rules import tensorrt_ready

GOLDEN_IMAGES = 4
TEACHER_PARITY_IMAGES = 8  # a ViT-L/14 takes a second each
UNPUBLISHED = ("bench", "budget", "notes")  # settings that do not change what is built


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes bundle/, teacher/, ptq/ and parity.json.

    Raises:
        ExportError: a graph that cannot be exported or that TensorRT would refuse.
        ParityError: a file that does not compute what its torch model does.
    """
    out = ExportArtifact(ctx.folder)
    classes = DataArtifact(ctx.inputs["data"].path).classes
    student = DistillArtifact(ctx.inputs["distill"].path).student()
    spec = student.spec.preprocess(ctx.settings.image)
    pixels, source = _parity_pixels(ctx)
    with ctx.progress.task("export", 4, "file group") as task:
        scratch = ctx.partial / "models"
        images = runtime.normalize(pixels, spec)
        files, parity = export_student(ctx, student, spec, images, scratch)
        task.advance()
        _baseline(ctx, spec, files["fp32"])
        task.advance()
        teacher_parity = _export_teacher(ctx, classes, pixels)
        task.advance()
        provenance = provenance_of(ctx)
        labels = [asdict(entry) for entry in classes]
        golden = list(pixels[:GOLDEN_IMAGES])
        confidence = fit_confidence(ctx, files, spec)
        names = [entry.name for entry in classes]
        card = model_card(provenance, names, parity, confidence.document)
        content = (files, spec, labels, provenance, golden, card)
        write_bundle(out.bundle, *content, default="int8", confidence=confidence)
        task.advance()
    rows = [*parity, teacher_parity]
    out.write_parity({"images_from": source, "files": [asdict(row) for row in rows]})
    for row in parity:
        if not row.as_expected:
            other = round((1 - row.agreement) * row.images)
            ctx.progress.note(
                f"{row.file} names another class than its torch model on {other} of {row.images} "
                "images: more than kernels usually change. Accuracy decides what ships"
            )
    return {
        "parity": {row.file: asdict(row) for row in parity},
        "teacher_parity": asdict(teacher_parity),
        "parity_images_from": source,
        "size_bytes": {name: path.stat().st_size for name, path in files.items()},
        "ptq_size_bytes": out.baseline.stat().st_size,
        "opset": ctx.settings.export.opset,
        "tensorrt_ready": True,  # otherwise export_student raises
        "confidence": dict(confidence.document),
    }


def prepared_student(ctx: StageContext, student: Student) -> PreparedStudent:
    """The graph of the quantize stage, which rounds as the int8 files do."""
    prepared = load_prepared(student, QuantizeArtifact(ctx.inputs["quantize"].path))
    set_observers(prepared, observe=False, quantize=True)
    return prepared


def export_student(
    ctx: StageContext, student: Student, spec: runtime.PreprocessSpec, images: Logits, folder: Path
) -> tuple[dict[str, Path], list[Parity]]:
    """Exports fp32 and both int8 files, and compares each on ``images (n, 3, S, S)``."""
    prepared = prepared_student(ctx, student)
    models = student_models(student, prepared, spec.size, ctx.settings)
    paths = {name: save(model, folder / MODELS[name]) for name, model in models.items()}
    references = {
        "fp32": torch_outputs(featured(student), images),
        "int8": torch_outputs(prepared_outputs(prepared), images),
    }
    parity = []
    for name, path in paths.items():
        precision = name.partition(".")[0]
        row = compare_outputs(path, references[precision], images, precision=precision)
        parity.append(require(row))
    return paths, parity


def student_models(
    student: Student, prepared: PreparedStudent, size: int, settings: Settings
) -> dict[str, ModelProto]:
    """The fp32 model and both int8 ones; ExportError for what TensorRT would not run in int8."""
    opset = settings.export.opset
    oldest = min(opset, TENSORRT_OPSET)
    int8 = to_onnx(with_features(convert(prepared)), size, opset=oldest, outputs=OUTPUTS)
    fp32 = to_onnx(featured(student), size, opset=opset, outputs=OUTPUTS)
    models = {"fp32": fp32, "int8": to_uint8(int8), "int8.trt": int8}
    additions = additions_left_float(prepared, int8, settings.quantize.float_blocks)
    violations = tensorrt_ready(int8, additions)
    if violations:
        more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
        raise ExportError(
            f"{MODELS['int8.trt']} would not run in int8 on TensorRT",
            got="; ".join(violations[:3]) + more,
            expected="no violation of export/tensorrt/rules.py",
            remedy="choose another student (a plain ReLU CNN such as mobilenetv4_conv_small)",
        )
    return models


def _parity_pixels(ctx: StageContext) -> tuple[NDArray[np.uint8], str]:
    """Up to ``export.parity_images`` images ``(n, S, S, 3)`` of the test set, else synthetic ones.

    Parity compares two computations of one model, so test images here take part in no choice.
    """
    image = ctx.settings.image
    for name, images in (
        ("test", DataArtifact(ctx.inputs["data"].path).images(TEST).pixels),
        ("synthetic", GenerateArtifact(ctx.inputs["generate"].path).images),
    ):
        if len(images):
            count = min(ctx.settings.export.parity_images, len(images))
            chosen = np.asarray(images[np.linspace(0, len(images) - 1, count).astype(int)])
            # synthetic images are stored at the cache's edge
            whole = runtime.Geometry(image.size, image.size, image.interpolation)
            return fit_geometry(chosen, whole), name
    raise ExportError("there is no image to measure parity on, neither of test nor synthetic")


def _baseline(ctx: StageContext, spec: runtime.PreprocessSpec, fp32: Path) -> None:
    """onnxruntime's static quantization on the very calibration views of the quantize stage."""
    batches = Batches(ctx, spec, "quantize")
    try:
        images, views = batches.calibration(ctx.settings.quantize.calibration_images)
    finally:
        batches.close()
    if views != QuantizeArtifact(ctx.inputs["quantize"].path).calibration:
        what = "the calibration set is not the recorded one"
        raise ExportError(what, remedy="compress clean, then build again")
    alone = without_features(onnx.load(fp32))  # what a tool that quantizes by itself is given
    plain = save(alone, ctx.partial / "models" / "logits.onnx")
    quantize_static(plain, images.contiguous().numpy(), ExportArtifact(ctx.folder).baseline)
    plain.unlink()


def _export_teacher(
    ctx: StageContext, classes: Sequence[ClassInfo], pixels: NDArray[np.uint8]
) -> Parity:
    """Writes the teacher's file and compares it with the torch teacher on a few images."""
    from compress.teacher.loading import load_teacher
    from export.teacher.network import TeacherClassifier, teacher_to_onnx

    teacher = load_teacher(ctx.settings.teacher, offline=True, kept=ctx.weights)
    heads = TeacherArtifact(ctx.inputs["teacher"].path).heads()
    classifier = TeacherClassifier(teacher.image_tower, heads)
    spec = teacher.spec
    model = teacher_to_onnx(classifier, spec.size, opset=ctx.settings.export.opset)
    plain = save(model, ctx.partial / "models" / "teacher.onnx")
    path = ExportArtifact(ctx.folder).teacher
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = model_metadata([asdict(entry) for entry in classes], spec, "fp32")
    copy_with_metadata(plain, path, metadata)
    plain.unlink()
    images = runtime.normalize(crops(pixels[:TEACHER_PARITY_IMAGES], spec), spec)
    reference = torch_outputs(classifier, images, outputs=classifier.names)
    return require(compare_outputs(path, reference, images, precision="fp32"))


def provenance_of(ctx: StageContext) -> dict[str, Any]:
    """Where everything comes from: seed, settings, and each input's facts and content hash.

    Times and folders of this machine are left out: the same build elsewhere gives the same bundle.
    """
    plain = ctx.settings.plain()
    return {
        "seed": ctx.seed,
        "settings": _portable({key: plain[key] for key in plain if key not in UNPUBLISHED}),
        "stages": {
            name: {"sha256": stage.content, "facts": _portable(stage.facts)}
            for name, stage in sorted(ctx.inputs.items())
        },
    }


def _portable(value: Any) -> Any:
    """``value`` without durations, and with absolute paths cut to their last part."""
    if isinstance(value, Mapping):
        return {
            key: _portable(inner)
            for key, inner in value.items()
            if not str(key).endswith(("_s", "_ms", "seconds"))
        }
    if isinstance(value, (list, tuple)):
        return [_portable(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~/")) else value
