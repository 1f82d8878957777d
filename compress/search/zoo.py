"""The students that a search looks at, and the settings that a run has with each of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from compress.engine.config import Settings

FILE = Path(__file__).with_name("zoo.yaml")
STEP = {True: 8, False: 32}  # resolutions are multiples of this: of the embedded world, of others
LEAST = 16


@cache
def _table() -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def is_embedded(settings: Settings) -> bool:
    """Whether the run's student is one of the embedded world's."""
    return settings.distill.student.startswith("petal_cnn")


def students(settings: Settings) -> tuple[str, ...]:
    """Names of the candidates: those of ``budget.students``, or the zoo of the run's world and its
    own student.
    """
    if settings.budget.students:
        return tuple(dict.fromkeys(settings.budget.students))
    zoo = _table()["embedded" if is_embedded(settings) else "hub"]
    return tuple(dict.fromkeys((*zoo, settings.distill.student)))


def sizes(settings: Settings) -> list[tuple[int, ...]]:
    """Resolutions in the order in which they are looked at; a later group only if nothing of the
    earlier ones fits.

    Another resolution has images of its own to be generated and labeled, so it is not taken
    without need.
    """
    if settings.budget.sizes:
        return [tuple(sorted(set(settings.budget.sizes), reverse=True))]
    own, step = settings.image.size, STEP[is_embedded(settings)]
    smaller = [int(own * share // step * step) for share in _table()["sizes"]]
    kept = [size for size in dict.fromkeys(smaller) if LEAST <= size < own]
    return [(own,), *((size,) for size in kept)]


def with_candidate(settings: Settings, student: str, size: int, **distill: Any) -> Settings:
    """The run's settings with another student and resolution.

    A file of first weights belongs to the run's own student; another one starts from what its world
    has for it.
    """
    changed: dict[str, Any] = {"student": student, **distill}
    if student != settings.distill.student:
        changed |= {"init": _init(settings, student), "init_path": None}
    image = settings.image.model_copy(update={"size": size})
    return settings.model_copy(
        update={"image": image, "distill": settings.distill.model_copy(update=changed)}
    )


def _init(settings: Settings, student: str) -> str:
    from compress.distill.students import EMBEDDED, shipped

    wanted = settings.distill.init
    if wanted in ("clip", "generic") and not shipped(wanted, student):
        return "random" if student.startswith(EMBEDDED) else "timm"
    return "random" if wanted == "timm" and student.startswith(EMBEDDED) else wanted
