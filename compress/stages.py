"""The stage table: what a build does, in order, each row with all the engine knows about it.

data ─► teacher ─┐
   └─► generate ─┴► label ─► distill ─► quantize ─► export ─► bench ─► report
"""

from __future__ import annotations

from compress.engine.config import DataSettings
from compress.engine.stage import Stage

#: The data settings that can change the images. Where they lie cannot; the content found there is
#: part of the identity as an external input.
IMAGES = tuple(
    f"data.{name}" for name in DataSettings.model_fields if name not in ("path", "root", "offline")
)
TRAINING = ("image", "teacher", "generate", "label", "distill", "quantize")

STAGES: tuple[Stage, ...] = (
    Stage(
        "data",
        needs=(),
        sections=(*IMAGES, "image", "seed"),
        run="compress.data.stage:run",
        external="compress.data.stage:fingerprint",
        missing="compress.data.sources:missing",
        checks="compress.data.checks:checks",
        version=5,
    ),
    Stage(
        "teacher",
        needs=("data",),
        sections=("teacher", "label", "image", "seed"),
        run="compress.teacher.stage:run",
        external="compress.teacher.loading:fingerprint",
        missing="compress.teacher.loading:missing",
        checks="compress.teacher.checks:checks",
        version=6,
    ),
    Stage(
        "generate",
        needs=("data",),
        sections=("generate", "image", "seed"),
        run="compress.generate.stage:run",
        external="compress.generate.stage:fingerprint",
        missing="compress.generate.missing:missing",
        checks="compress.generate.missing:checks",
        spans="compress.generate.stage:span_work",
        version=7,
    ),
    Stage(
        "label",
        needs=("data", "teacher", "generate"),
        sections=("label", "teacher", "image", "seed"),
        run="compress.label.stage:run",
        external="compress.teacher.loading:fingerprint",
        checks="compress.label.checks:checks",
        spans="compress.label.work:LabelWork",
        version=4,
    ),
    Stage(
        "distill",
        needs=("data", "teacher", "generate", "label"),
        sections=("distill", "label", "image", "teacher", "seed"),
        run="compress.distill.stage:run",
        external="compress.distill.origin:fingerprint",
        missing="compress.distill.missing:missing",
        checks="compress.distill.checks:checks",
        trains=True,
        version=7,
    ),
    Stage(
        "quantize",
        needs=("data", "teacher", "generate", "label", "distill"),
        sections=("quantize", "distill", "label", "image", "seed"),
        run="compress.quantize.stage:run",
        trains=True,
        version=8,
    ),
    Stage(
        "export",
        needs=("data", "teacher", "generate", "label", "distill", "quantize"),
        sections=(*IMAGES, *TRAINING, "export", "seed"),
        run="export.stage:run",
        checks="export.checks:checks",
        external="compress.teacher.loading:fingerprint",
        version=11,
    ),
    Stage(
        "bench",
        needs=("data", "export"),
        sections=("bench", "image", "seed"),
        run="compress.bench.stage:run",
        external="compress.bench.unknown:fingerprint",
        checks="compress.bench.unknown:checks",
        version=10,
        machine_bound=True,
    ),
    Stage(
        "report",
        needs=("data", "teacher", "generate", "label", "distill", "quantize", "export", "bench"),
        sections=(*IMAGES, *TRAINING, "export", "bench", "notes", "seed"),
        run="compress.report.stage:run",
        version=10,
        machine_bound=True,
    ),
)
