"""What has to be placed by hand before the student can start, and settings that distillation
refuses.
"""

from __future__ import annotations

from compress.engine.config import DistillSettings, Settings
from compress.engine.errors import ConfigError, nearest
from compress.engine.hub import cached

UNSTYLED = ("none", "sidclip", "cls2img", "img2img")  # strategies whose images have no style
STYLED = (
    "mix",
    "contrastive",
    "words",
    "learned",
)  # kinds of prompts that give every image a style


def missing(run: Settings, online: bool) -> str | None:
    """What has to be placed by hand before the student can start, or None.

    Raises:
        ConfigError: no such student, or meta steps on images without styles.
    """
    lost = missing_student(run.distill, online)
    check_styles(run)
    return lost


def missing_student(settings: DistillSettings, online: bool) -> str | None:
    """What has to be placed by hand before the student can start, or None.

    Raises:
        ConfigError: no such student.
    """
    from compress.distill.students import EMBEDDED, architectures, shipped

    if settings.student not in architectures():
        raise ConfigError(
            "unknown student",
            got=repr(settings.student),
            remedy=nearest(settings.student, architectures()),
        )
    if (
        settings.init in ("clip", "generic")
        and settings.init_path is None
        and not shipped(settings.init, settings.student)
    ):
        return (
            f"first weights of student {settings.student}: there is no {settings.init!r} "
            "trunk of it in this package; name "
            "one with --set distill.init_path=FILE.safetensors, or start from --set "
            "distill.init=timm"
        )
    if (
        settings.init != "timm"
        or settings.init_path is not None
        or settings.student.startswith(EMBEDDED)
        or online
    ):
        return None
    import timm

    published = timm.get_pretrained_cfg(settings.student)
    repository = str(getattr(published, "hf_hub_id", None) or "")
    if cached(repository):
        return None
    return (
        "first weights of student "
        f"{settings.student}{f' ({repository})' if repository else ''}: put the safetensors "
        "file "
        "anywhere and say --set distill.init_path=FILE (or start from nothing: --set "
        "distill.init=random)"
    )


def check_styles(settings: Settings) -> None:
    """Refuses meta steps that would find one style only, before any image is made.

    Raises:
        ConfigError: says which images have styles.
    """
    generate = settings.generate
    plain = generate.strategy in UNSTYLED or (
        generate.strategy == "inversion" and generate.prompts.kind not in STYLED
    )
    if settings.distill.meta.mode != "none" and plain:
        raise ConfigError(
            "meta steps compare styles, and these images have none",
            got=f"generate.strategy={generate.strategy}, "
            f"generate.prompts.kind={generate.prompts.kind}",
            expected=f"strategy inversion with a kind of {', '.join(STYLED)}",
            remedy="--set distill.meta.mode=none",
        )
