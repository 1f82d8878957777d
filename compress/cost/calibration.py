"""What this machine reached: model FLOPs of a finished stage over the seconds it took.

Those of the most recent one of its kind in this work folder that was made in one go and with the
same generator, teacher or student. Its FLOPs are counted from its own settings, so that another
number of steps or images does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compress.cost.amounts import Amounts, known_amounts
from compress.cost.work import (
    Work,
    distill_work,
    generate_work,
    label_work,
    quantize_work,
    teacher_work,
)
from compress.engine.config import Settings
from compress.engine.errors import Clip2EdgeError
from compress.engine.store import MANIFEST, Artifact, Facts, Store

#: stage -> what must be the same in a finished one, as paths of settings
SAME: Mapping[str, tuple[str, ...]] = {
    "teacher": ("teacher.name", "teacher.others"),
    "generate": ("generate.generator", "generate.inversion.decoder"),
    "label": ("teacher.name", "teacher.others"),
    "distill": ("distill.student", "image.size"),
    "quantize": ("distill.student", "image.size"),
}


@dataclass(frozen=True)
class Measured:
    """FLOP/s of a finished stage, the seconds it took, and its key.

    Of a short one the loading of its networks is a large part: it says too little of long ones.
    """

    rate: float
    seconds: float
    key: str


def measured_rate(store: Store, settings: Settings, stage: str) -> Measured | None:
    """What the most recent comparable stage reached here; None without one."""
    if stage not in SAME:
        return None
    found = [artifact for artifact in store.stages(stage) if not artifact.resumed]
    found.sort(key=lambda one: (one.path / MANIFEST).stat().st_mtime, reverse=True)
    for artifact in found:
        own = _settings_of(artifact, settings)
        if own is None or any(_value(own, path) != _value(settings, path) for path in SAME[stage]):
            continue
        flops = _flops(store, stage, artifact, own)
        if flops and artifact.seconds > 0:
            return Measured(flops / artifact.seconds, artifact.seconds, artifact.path.name)
    return None


def _flops(store: Store, stage: str, artifact: Artifact, own: Settings) -> int | None:
    data = _input(store, artifact, "data")
    if data is None:
        return None
    amounts = known_amounts(own, data)
    facts = artifact.facts
    if stage == "generate":
        chosen = facts["probing"]["chosen"] if facts.get("probing") else None
        return generate_work(own, amounts, chosen).flops
    if stage == "teacher":
        return teacher_work(own, amounts).flops
    generated = _input(store, artifact, "generate")
    if generated is None:
        return None
    return _WITH_IMAGES[stage](own, amounts, generated["images"]).flops


def _quantize(settings: Settings, amounts: Amounts, synthetic: int) -> Work:
    return quantize_work(settings, amounts)


_WITH_IMAGES: Mapping[str, Callable[[Settings, Amounts, int], Work]] = {
    "label": label_work,
    "distill": distill_work,
    "quantize": _quantize,
}


def _input(store: Store, artifact: Artifact, name: str) -> Facts | None:
    """The facts of a stage that another was made from, if it is still there."""
    content = artifact.identity["inputs"].get(name)
    found = (one for one in store.stages(name) if one.content == content)
    return next((one.facts for one in found), None)


def _settings_of(artifact: Artifact, settings: Settings) -> Settings | None:
    """The settings that a stage was made with; of those that are not in its identity, these."""
    plain: dict[str, Any] = settings.plain()
    for path, value in artifact.identity["settings"].items():
        section, _, field = path.partition(".")
        if field:
            plain[section] = {**plain[section], field: value}
        else:
            plain[section] = value
    try:
        return Settings.model_validate(plain)
    except (ValueError, Clip2EdgeError):  # made by another version
        return None


def _value(settings: Settings, path: str) -> object:
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value
