"""An untrained student as files, to measure size and time before any training.

Weights are random, ranges those of random pixels. Labels and preprocessing are inside, as in a
bundle, so sizes are those of the shipped files (``export.bundle.files``).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from compress.data.artifact import DataArtifact
from compress.distill.students import build, spec_for
from compress.engine.errors import ExportError
from compress.engine.seeds import manual_seed, torch_rng
from compress.engine.stage import StageContext
from compress.quantize.graph import convert, prepare
from compress.quantize.scales import calibrate, set_observers
from compress.teacher.loading import embed_dim
from export.bundle.files import MODELS
from export.bundle.write import copy_with_metadata, model_metadata
from export.checks import PIXELS, SMALLEST_SPACE
from export.onnx.convert import save, to_onnx
from export.onnx.features import featured, with_features
from export.onnx.graph import OUTPUTS
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import MAX_OPSET as TENSORRT_OPSET


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the files; a student that int8 refuses has fp32 alone, and ``refused`` says why.

    Raises:
        ExportError: a student that cannot be exported at all.
    """
    labels = [asdict(entry) for entry in DataArtifact(ctx.inputs["data"].path).classes]
    settings = ctx.settings
    opset = ctx.settings.export.opset
    spec = spec_for(
        settings.distill, settings.image, len(labels), embed_dim(settings.teacher) or SMALLEST_SPACE
    )
    manual_seed(0, "sketch")
    student = build(spec).eval()
    size = spec.input_size
    models = {"fp32": to_onnx(featured(student), size, opset=opset, outputs=OUTPUTS)}
    refused = {}
    try:
        noise = torch.randn((PIXELS, 3, size, size), generator=torch_rng(0, "sketch", "pixels"))
        prepared = prepare(student, noise)
        calibrate(prepared, noise)
        set_observers(prepared, observe=False, quantize=True)
        graph, oldest = with_features(convert(prepared)), min(opset, TENSORRT_OPSET)
        int8 = to_onnx(graph, size, opset=oldest, outputs=OUTPUTS)
        models |= {"int8": to_uint8(int8), "int8.trt": int8}
    except ExportError as error:
        refused["int8"] = str(error)
    for name, model in models.items():
        plain = save(model, ctx.partial / MODELS[name])
        metadata = model_metadata(labels, spec.preprocess(settings.image), name)
        copy_with_metadata(plain, ctx.folder / MODELS[name], metadata)
    return {
        "student": spec.arch,
        "params": student.params,
        "files": {name: MODELS[name] for name in models},
        "bytes": {name: (ctx.folder / MODELS[name]).stat().st_size for name in models},
        "refused": refused,
    }
