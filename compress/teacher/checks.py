"""Before any work: what loading the teachers and filling their prompts would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from compress.data.checks import listed
from compress.data.split import ClassInfo
from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.engine.preflight import Before, Check
from compress.teacher.heads.table import PROBE
from compress.teacher.loading import SOURCES, each_teacher, folder_config, require_open_clip
from compress.teacher.named import known_names
from compress.teacher.priors import require_origin
from compress.teacher.prompts import check_templates, prompts_for
from compress.teacher.sources import (
    Checkpoint,
    Embedded,
    Folder,
    Tag,
    TeacherSource,
    TimmNet,
    has_text,
    locate,
)
from compress.teacher.timm_net import has_batch_norms, label_set


def checks(before: Before) -> Iterator[Check]:
    """Teachers that can be loaded, a prompt for every class, and something to know it by."""
    for teacher in each_teacher(before.settings.teacher):
        if has_text(teacher.name):
            yield require_open_clip
        yield partial(_require, teacher)
    yield partial(_once, before.settings.teacher)
    yield partial(_heads, before.settings.teacher)
    yield partial(_origins, before)
    if any(has_text(teacher.name) for teacher in each_teacher(before.settings.teacher)):
        yield partial(_prompts, before)


def image_only(settings: TeacherSettings) -> str | None:
    """The name of a teacher without texts, None if all have them."""
    names = (teacher.name for teacher in each_teacher(settings))
    return next((name for name in names if not has_text(name)), None)


def require_texts(settings: TeacherSettings, setting: str, remedy: str) -> None:
    """Raises ConfigError if a teacher has no texts, which ``setting`` needs.

    Args:
        setting: as a person would write it, e.g. "distill.objective=ld".
        remedy: another value of it.
    """
    if (name := image_only(settings)) is not None:
        raise ConfigError(
            f"{setting} needs the texts of a CLIP teacher",
            got=f"teacher {name}, which has none",
            remedy=f"{remedy}, or another --teacher",
        )


def require_named(settings: TeacherSettings, classes: Sequence[ClassInfo], setting: str) -> None:
    """Raises ConfigError unless a network among the teachers was trained on the classes' names.

    The first that was trained on names is asked, by its batch norms too; without one, a CLIP with
    batch norms by its texts.
    """
    sources = [(one.name, locate(one.name)) for one in each_teacher(settings)]
    for name, network in sources:
        subset = label_set(network) if isinstance(network, TimmNet) else None
        if subset is not None and isinstance(network, TimmNet) and has_batch_norms(network):
            require_origin(name, classes, known_names(subset, classes), setting=setting)
            return
    if any(_clip_has_batch_norms(source) for _, source in sources):
        return
    raise ConfigError(
        f"{setting} needs a network that was trained on named classes, with batch norms",
        got=" and ".join(name for name, _ in sources),
        expected="an ImageNet network, e.g. --teacher timm:tf_efficientnet_lite0, or a CLIP of "
        "that kind, e.g. RN50/openai",
    )


def _clip_has_batch_norms(source: TeacherSource) -> bool:
    """Whether a CLIP's image tower has batch norms, as far as it is known without loading it."""
    if isinstance(source, Embedded):
        return True
    if isinstance(source, Folder):
        vision = folder_config(source).get("vision_cfg")
    elif isinstance(source, Tag | Checkpoint):
        from open_clip import get_model_config

        vision = (get_model_config(source.model) or {}).get("vision_cfg")
    else:
        return False
    vision = vision if isinstance(vision, dict) else {}
    if name := vision.get("timm_model_name"):
        return has_batch_norms(TimmNet(str(name)))
    return isinstance(vision.get("layers"), list)  # of the stages of a ResNet


def _require(settings: TeacherSettings) -> None:
    source = locate(settings.name)
    require = SOURCES[type(source)].require
    if require is not None:
        require(source)


def _once(settings: TeacherSettings) -> None:
    """Refuses a teacher that is named twice: its average with itself is itself."""
    names = [one.name for one in each_teacher(settings)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        what = "the same teacher is named twice"
        raise ConfigError(what, got=twice, remedy="one --teacher, or another second one")


def _heads(settings: TeacherSettings) -> None:
    """Refuses heads that start from texts, for a teacher that has none."""
    if settings.heads != (PROBE,):
        remedy = "--set 'teacher.heads=[probe]'"
        require_texts(settings, f"teacher.heads=[{', '.join(settings.heads)}]", remedy)


def _origins(before: Before) -> None:
    """Refuses classes that an image-only teacher cannot know without shots; names one teacher."""
    source = before.once(listed)
    if source is None or before.settings.data.shots != 0:
        return
    for teacher in each_teacher(before.settings.teacher):
        network = locate(teacher.name)
        if isinstance(network, TimmNet):
            known = known_names(label_set(network), source.classes)
            require_origin(teacher.name, source.classes, known)


def _prompts(before: Before) -> None:
    templates = before.settings.teacher.templates
    check_templates(templates)
    source = before.once(listed)
    if source is not None:
        prompts_for(source.classes, templates)
