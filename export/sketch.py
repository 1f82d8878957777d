"""A student before any training, as the files that it would become: for what its size and time are,
not for what it knows.

    model.fp32.onnx  model.int8.onnx  model.int8.trt.onnx     weights are random, ranges those of
                     random pixels

Labels and preprocessing are inside, as in a bundle, so that sizes are those of the shipped files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from compress.distill.students import build, spec_for
from compress.engine.config import TeacherSettings
from compress.engine.errors import ExportError
from compress.engine.seeds import manual_seed, torch_rng
from compress.engine.stage import StageContext
from compress.quantize.graph import convert, prepare, set_observers
from compress.quantize.stage import calibrate
from export.bundle.write import MODELS, copy_with_metadata
from export.onnx.convert import save, to_onnx
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import MAX_OPSET as TENSORRT_OPSET
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS

PIXELS = 8  # random images that ranges are taken from


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the files; a student that cannot be int8 has fp32 alone, and ``refused`` says why.

    Raises:
        ExportError: a student that cannot be exported at all.
    """
    labels = json.loads((ctx.inputs["data"].path / "classes.json").read_text())
    image = ctx.settings.image
    spec = spec_for(ctx.settings.distill, image, len(labels), embed_dim(ctx.settings.teacher))
    manual_seed(0, "sketch")
    student = build(spec).eval()
    preprocess = spec.preprocess(image)
    opset = ctx.settings.export.opset
    models = {"fp32": to_onnx(student, spec.input_size, opset=opset)}
    refused = None
    try:
        noise = torch.randn(
            (PIXELS, 3, spec.input_size, spec.input_size),
            generator=torch_rng(0, "sketch", "pixels"),
        )
        prepared = prepare(student, noise)
        calibrate(prepared, noise)
        set_observers(prepared, observe=False, quantize=True)
        int8 = to_onnx(convert(prepared), spec.input_size, opset=min(opset, TENSORRT_OPSET))
        models |= {"int8": to_uint8(int8), "int8.trt": int8}
    except ExportError as error:
        refused = str(error)
    for name, model in models.items():
        plain = save(model, ctx.partial / MODELS[name])
        metadata = {
            META_LABELS: json.dumps(labels, sort_keys=True),
            META_PREPROCESS: json.dumps(preprocess.to_json(), sort_keys=True),
            META_PRECISION: name,
        }
        copy_with_metadata(plain, ctx.folder / MODELS[name], metadata)
    return {
        "student": spec.arch,
        "params": student.params,
        "files": {name: MODELS[name] for name in models},
        "bytes": {name: Path(ctx.folder / MODELS[name]).stat().st_size for name in models},
        "refused": {} if refused is None else {"int8": refused},
    }


def embed_dim(settings: TeacherSettings) -> int:
    """Width D of the teacher's space, from its published configuration; 512 where it publishes
    none.
    """
    from compress.teacher.clip import EMBEDDED

    if settings.name == EMBEDDED:
        from compress.petals.nets import EMBED_DIM

        return EMBED_DIM
    import open_clip

    config = open_clip.get_model_config(settings.name.partition("/")[0]) or {}
    return int(config.get("embed_dim", 512))
