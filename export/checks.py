"""Before any work: a student that is exported and quantized once, untrained, unless it is known.

What torch.export, int8 and TensorRT refuse does not depend on the values of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial, reduce
from operator import getitem
from typing import Any

from compress.engine.config import Settings
from compress.engine.preflight import Before, Check
from compress.engine.store import Store

PIXELS = 8  # random images that ranges are taken from
SMALLEST_SPACE = 512  # D of a teacher that does not publish it
#: what decides whether a student can be exported
DECIDES = (
    *(f"distill.{name}" for name in ("student", "activation", "head", "init")),
    *("image.size", "export.opset", "quantize.float_blocks"),
)
#: the families that the tests export whole; a student of another one is tried
KNOWN = (
    *("petal_cnn", "lcnet_", "mobilenetv2_", "mobilenetv3_", "mobilenetv4_conv_"),
    *("efficientnet_lite", "tf_efficientnet_lite", "efficientnet_b0"),
    *("resnet18", "resnet34", "resnet50"),
)


def checks(before: Before) -> Iterator[Check]:
    """The student can be exported in fp32 and int8."""
    settings = before.settings
    plain = settings.distill.activation is None and not settings.quantize.float_blocks
    if not (plain and settings.distill.student.startswith(KNOWN)):
        yield partial(_exportable, settings, before.store)


def _exportable(settings: Settings, store: Store) -> None:
    wanted = _decides(settings.plain())
    stages = store.stages("export")
    if not any(_decides(stage.identity.get("settings", {})) == wanted for stage in stages):
        require_exportable(settings)


def _decides(plain: Mapping[str, Any]) -> list[object]:
    try:
        return [reduce(getitem, path.split("."), plain) for path in DECIDES]
    except (KeyError, TypeError):
        return []


def require_exportable(settings: Settings) -> None:
    """Exports an untrained student.

    Raises:
        ConfigError: it does not take images of this size; quantize.float_blocks that do not fit.
        ExportError: it cannot be captured, exported or quantized.
    """
    import torch

    from compress.distill.students import build, require_takes, spec_for
    from compress.quantize.graph import prepare
    from compress.quantize.scales import calibrate, set_observers
    from compress.teacher.loading import embed_dim
    from export.stage import student_models

    require_takes(settings.distill, settings.image)
    space = embed_dim(settings.teacher) or SMALLEST_SPACE
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        student = build(spec_for(settings.distill, settings.image, 2, space)).eval()
        size = settings.image.size
        noise = torch.randn((PIXELS, 3, size, size))
        prepared = prepare(student, noise, settings.quantize.float_blocks)
        calibrate(prepared, noise)
        set_observers(prepared, observe=False, quantize=True)
        student_models(student, prepared, size, settings)
