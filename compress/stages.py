"""The stage table: what a build does, in order, each row with all that the engine must know of it.

data ─► teacher ─┐
   └─► generate ─┴► label ─► distill ─► quantize ─► export ─► bench ─► report
"""

from __future__ import annotations

from compress.engine.stage import Stage

#: what of the data settings can change the images; where they lie (path, root, offline) cannot:
#: their content is external
DATA_FIELDS = tuple(
    f"data.{f}"
    for f in [
        "dataset",
        "classes",
        "shots",
        "category",
        "style",
        "domain",
        "test_domains",
        "test_fraction",
        "test_limit",
        "max_pixels",
    ]
)
STAGES: tuple[Stage, ...] = (
    Stage(
        "data",
        (),
        (*DATA_FIELDS, "image", "seed"),
        "compress.data.stage:run",
        external="compress.data.stage:fingerprint",
        missing="compress.data.sources:missing",
        version=2,
    ),
    Stage(
        "teacher",
        ("data",),
        ("teacher", "label", "image", "seed"),
        "compress.teacher.stage:run",
        external="compress.teacher.clip:fingerprint",
        missing="compress.teacher.missing:missing",
    ),
    Stage(
        "generate",
        ("data",),
        ("generate", "image", "seed"),
        "compress.generate.stage:run",
        external="compress.generate.stage:fingerprint",
        missing="compress.generate.missing:missing",
        version=3,
    ),
    Stage(
        "label",
        ("data", "teacher", "generate"),
        ("label", "teacher", "image", "seed"),
        "compress.label.stage:run",
        external="compress.teacher.clip:fingerprint",
        version=2,
    ),
    Stage(
        "distill",
        ("data", "teacher", "generate", "label"),
        ("distill", "label", "image", "teacher", "seed"),
        "compress.distill.stage:run",
        external="compress.distill.students:fingerprint",
        missing="compress.distill.missing:missing",
        version=2,
    ),
    Stage(
        "quantize",
        ("data", "teacher", "generate", "label", "distill"),
        ("quantize", "distill", "label", "image", "seed"),
        "compress.quantize.stage:run",
        version=2,
    ),
    Stage(
        "export",
        ("data", "teacher", "generate", "label", "distill", "quantize"),
        (
            *DATA_FIELDS,
            "image",
            "teacher",
            "generate",
            "label",
            "distill",
            "quantize",
            "export",
            "seed",
        ),
        "export.stage:run",
        external="compress.teacher.clip:fingerprint",
        version=4,
    ),
    Stage(
        "bench",
        ("data", "export"),
        ("bench", "image", "seed"),
        "compress.bench.stage:run",
        machine_bound=True,
        version=4,
    ),
    Stage(
        "report",
        ("data", "teacher", "generate", "label", "distill", "quantize", "export", "bench"),
        (
            *DATA_FIELDS,
            "image",
            "teacher",
            "generate",
            "label",
            "distill",
            "quantize",
            "export",
            "bench",
            "notes",
            "seed",
        ),
        "compress.report.stage:run",
        machine_bound=True,
        version=4,
    ),
)
NAMES = tuple(stage.name for stage in STAGES)
