"""A Triton model repository: the model for onnxruntime, and one whose plan the device builds."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from export.apps.parts import MODEL, told, write_labels
from export.apps.render import quoted, render
from export.apps.source import AppSource, Vendored, read_source
from runtime.errors import BundleError

MAX_BATCH = 32  # of one inference, for models whose batch is dynamic
FOR_TENSORRT = ("int8.trt", "fp16", "fp32")  # the first that the bundle holds becomes the plan
NAME = "classifier"
PLAN_NAME = "classifier_trt"

# A string of protobuf's text format that nothing inside can end.
text_literal = partial(quoted, special=b"\"\\'")


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes model_repository/ (complete) and tensorrt/ (lacks its plan, which belongs to one GPU).

    Raises: BundleError: no model for TensorRT.
    """
    models = source.bundle.models
    precision = next((name for name in FOR_TENSORRT if name in models), None)
    if precision is None:
        expected = " or ".join(FOR_TENSORRT)
        raise BundleError("no model for TensorRT", got=", ".join(models), expected=expected)
    plan = read_source(source.bundle.path, precision)
    values = {
        **told(source),
        "input": text_literal(source.input_name),
        "max_batch": 0 if source.fixed_batch else MAX_BATCH,
        "fixed_batch": source.fixed_batch,
        "width": source.width,
        "plan_width": plan.width,
        "temperature": source.temperature,
        "plan_precision": plan.precision,
        "plan_input": plan.input_name,
        "plan_input_quoted": text_literal(plan.input_name),
        "plan_max_batch": 0 if plan.fixed_batch else MAX_BATCH,
        "plan_fixed_batch": plan.fixed_batch,
    }
    render("triton", folder, values)
    repository = folder / "model_repository"
    tensorrt = folder / "tensorrt"
    for model in (repository / NAME, tensorrt / PLAN_NAME):
        write_labels(source, model)
        (model / "1").mkdir()
    shutil.copyfile(source.model, repository / NAME / "1" / MODEL)
    shutil.copyfile(plan.model, tensorrt / MODEL)
