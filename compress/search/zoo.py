"""The students and resolutions that a search considers, and a run's settings with each of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from compress.engine.config import Settings
from compress.engine.packages import PACKAGES

FILE = Path(__file__).with_name("zoo.yaml")
STEP = {True: 8, False: 32}  # is it the embedded world -> resolutions are multiples of this
SMALLEST = 16


@cache
def _table() -> Mapping[str, Any]:
    import yaml

    loaded: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def is_embedded(settings: Settings) -> bool:
    """Whether the run's student is one of the embedded world's."""
    return settings.distill.student.startswith("petal_cnn")


def students(settings: Settings) -> tuple[str, ...]:
    """Names of the candidates: ``budget.students``, or the zoo and the run's own student."""
    if settings.budget.students:
        return tuple(dict.fromkeys(settings.budget.students))
    return tuple(dict.fromkeys((*_table()[_world(settings)], settings.distill.student)))


def _world(settings: Settings) -> str:
    if is_embedded(settings):
        return "embedded"
    return "packages" if settings.distill.student in PACKAGES else "hub"


def sizes(settings: Settings) -> list[tuple[int, ...]]:
    """Resolutions in the order of the search: each group only if nothing of the earlier ones fits.

    Another resolution needs images of its own, generated and labeled.
    """
    if settings.budget.sizes:
        return [tuple(sorted(set(settings.budget.sizes), reverse=True))]
    own = settings.image.size
    step = STEP[is_embedded(settings)]
    smaller = dict.fromkeys(int(own * share // step * step) for share in _table()["sizes"])
    return [(own,), *((size,) for size in smaller if SMALLEST <= size < own)]


def with_candidate(settings: Settings, student: str, size: int, **distill: Any) -> Settings:
    """The run's settings with another student and resolution.

    A file of first weights belongs to the run's own student; another student starts from what its
    world has.
    """
    from compress.distill.origin import EMBEDDED, shipped

    changed: dict[str, object] = {"student": student, **distill}
    if student != settings.distill.student:
        init = settings.distill.init
        if init in ("clip", "generic") and not shipped(init, student):
            init = "timm"
        if init == "timm" and student.startswith(EMBEDDED):
            init = "random"
        changed |= {"init": init, "init_path": None}
    image = settings.image.model_copy(update={"size": size})
    update = {"image": image, "distill": settings.distill.model_copy(update=changed)}
    return settings.model_copy(update=update)
