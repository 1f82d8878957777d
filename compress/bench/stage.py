"""Stage "bench": the exported files on this machine: accuracy, speed, and which one ships here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from compress.bench.accuracy import check_predict, measure_accuracy
from compress.bench.artifact import BenchArtifact
from compress.bench.field import measure_field
from compress.bench.speed import measure_speed
from compress.bench.variants import BASELINE, LOGITS, NOT_TIMED, student, variants_of
from compress.data.artifact import DataArtifact
from compress.engine.stage import StageContext
from compress.evaluate.gates import class_gate, decide, static_gate
from export.artifact import ExportArtifact

NO_TENSORRT = (
    "TensorRT did not run here: onnxruntime ran model.int8.trt.onnx for its accuracy, "
    "and it was not timed"
)
NO_TEST_IMAGES = "no test images: accuracy was not measured"


def run(ctx: StageContext) -> dict[str, Any]:
    """Measures every model variant and decides which file ships.

    Raises:
        ParityError: predict() sees an encoded image otherwise than the test set holds it.
        BundleError, BackendError: a file that the runtime refuses.
    """
    export, files = ExportArtifact(ctx.inputs["export"].path), BenchArtifact(ctx.folder)
    variants, spec = variants_of(export), student(export, 1).spec
    accuracy, predictions = measure_accuracy(ctx, variants, spec)
    files.write_accuracy(accuracy, predictions)
    fp32 = predictions.logits.get("student_fp32")
    check = None if fp32 is None else check_predict(ctx, fp32)
    speed = measure_speed(ctx, variants, spec)
    files.write_latency(asdict(speed))

    metrics = accuracy["forms"]
    ratio = speed.speedups.get("student_int8_vs_student_fp32")
    speedup = ratio.to_json() if ratio else None
    settings, classes = ctx.settings.bench, DataArtifact(ctx.inputs["data"].path).classes
    gates, ship = decide(metrics, speedup, asdict(speed.kernels), settings.precision, speed.stamps)
    field = measure_field(ctx, ship.precision)
    files.write_field(field.plain(), field.pictures)
    worst, dropped = class_gate(
        metrics, [one.name for one in classes], settings.class_drop, settings.class_images
    )
    for text in dropped:
        ctx.progress.note(text)
    over_static = speed.speedups.get(f"student_int8_vs_{BASELINE}")
    gate, slower = static_gate(over_static.to_json() if over_static else None)
    if slower:
        ctx.progress.note(slower)
    states = [] if metrics else [NO_TEST_IMAGES]
    states += [slower] if slower else []
    states += dropped
    states += [NO_TENSORRT] if any(one.name in NOT_TIMED for one in variants) else []
    models = {one.name: one.file for one in variants if one.output == LOGITS}
    return {
        "ship": ship.plain(),
        "gates": [one.plain() for one in (*gates, worst, gate)],
        "top1": {name: row["top1"] for name, row in metrics.items()},
        "size_bytes": {name: file.stat().st_size for name, file in models.items()},
        "predict_check": check,
        "states": states + speed.states,
    }
