"""A Triton model repository: the model for the onnxruntime backend, and a second one whose plan is
built on the device.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from export.apps.render import markdown_text, render
from export.apps.source import AppSource, Vendored, read_source
from runtime.errors import BundleError

MAX_BATCH = 32  # of one inference, for models whose batch is dynamic
FOR_TENSORRT = ("int8.trt", "fp16", "fp32")  # the first that the bundle holds becomes the plan
NAME, PLAN_NAME = "classifier", "classifier_trt"


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes model_repository/ (complete) and tensorrt/ (lacks its plan, which belongs to one GPU).

    Raises:
        BundleError: no model for TensorRT.
    """
    plan = _for_tensorrt(source)
    values = {
        "title": markdown_text(source.title),
        "labels": len(source.labels),
        "size": source.spec.size,
        "precision": source.precision,
        "input": quoted(source.input_name),
        "max_batch": 0 if source.fixed_batch else MAX_BATCH,
        "fixed_batch": source.fixed_batch,
        "plan_precision": plan.precision,
        "plan_input": plan.input_name,
        "plan_input_quoted": quoted(plan.input_name),
        "plan_max_batch": 0 if plan.fixed_batch else MAX_BATCH,
        "plan_fixed_batch": plan.fixed_batch,
    }
    render("triton", folder, values)
    labels = "".join(f"{label}\n" for label in source.labels).encode()
    for model in (folder / "model_repository" / NAME, folder / "tensorrt" / PLAN_NAME):
        (model / "labels.txt").write_bytes(labels)
        (model / "1").mkdir()
    shutil.copyfile(source.model, folder / "model_repository" / NAME / "1" / "model.onnx")
    shutil.copyfile(plan.model, folder / "tensorrt" / "model.onnx")


def quoted(text: str) -> str:
    """A string of protobuf's text format; nothing in ``text`` can end it."""
    plain = set(range(0x20, 0x7F)) - set(b"\"\\'")
    return (
        '"'
        + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode())
        + '"'
    )


def _for_tensorrt(source: AppSource) -> AppSource:
    for precision in FOR_TENSORRT:
        if precision in source.bundle.models:
            return read_source(source.bundle.path, precision)
    raise BundleError(
        "no model for TensorRT",
        got=", ".join(source.bundle.models),
        expected=" or ".join(FOR_TENSORRT),
    )
