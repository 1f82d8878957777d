"""First weights that must be placed by hand, and settings that the distill stage refuses."""

from __future__ import annotations

from compress.engine.config import DistillSettings, Settings
from compress.engine.errors import ConfigError
from compress.engine.hub import cached
from compress.engine.packages import installed
from compress.generate.inversion.prompt_targets import PROMPT_TARGETS, prompt_kind
from compress.generate.strategies.table import STRATEGIES, has_styles


def missing(run: Settings, online: bool) -> str | None:
    """As `missing_student`; raises ConfigError for meta steps on images without styles."""
    text = missing_student(run.distill, online)
    check_styles(run)
    return text


def missing_student(settings: DistillSettings, online: bool) -> str | None:
    """First weights to place by hand, or None; raises ConfigError for an unknown student."""
    from compress.distill.origin import EMBEDDED, shipped
    from compress.distill.students import check_architecture

    check_architecture(settings.student)
    if settings.init_path is not None:
        return None
    if settings.init in ("clip", "generic") and not shipped(settings.init, settings.student):
        return (
            f"first weights of student {settings.student}: this package holds no {settings.init!r} "
            "trunk of it; name one with --set distill.init_path=FILE.safetensors, or start from "
            "--set distill.init=timm"
        )
    if settings.init != "timm" or settings.student.startswith(EMBEDDED) or online:
        return None
    if installed(settings.student) is not None:
        return None
    import timm

    repository = getattr(timm.get_pretrained_cfg(settings.student), "hf_hub_id", None) or ""
    if cached(repository):
        return None
    return (
        f"first weights of student {settings.student}{f' ({repository})' if repository else ''}: "
        "put the safetensors file anywhere and give --set distill.init_path=FILE (or start from "
        "random weights: --set distill.init=random)"
    )


def check_styles(settings: Settings) -> None:
    """Raises ConfigError for meta steps on images of one style, before any is generated."""
    chosen = settings.generate
    if settings.distill.meta.mode != "none" and not has_styles(chosen):
        kinds = ", ".join(name for name, kind in PROMPT_TARGETS.items() if kind.styled)
        strategies = " or ".join(name for name, row in STRATEGIES.items() if row.from_prompts)
        raise ConfigError(
            "meta steps compare styles, and these images have none",
            got=f"generate.strategy={chosen.strategy}, generate.prompts.kind={chosen.prompts.kind}",
            expected=f"strategy {strategies} with a kind of {kinds}",
            remedy="--set distill.meta.mode=none",
        )
    styles = prompt_kind(chosen.prompts.kind).styles
    if settings.distill.meta.mode != "none" and styles is not None:
        require_styles(styles(chosen.prompts), str(styles(chosen.prompts)))


def require_styles(count: int, got: str) -> None:
    """Raises ConfigError for images of fewer styles than a meta step splits."""
    if count < 2:
        what = "a meta step needs images of at least two styles"
        remedy = "--set generate.prompts.kind=words, or --set distill.meta.mode=none"
        raise ConfigError(what, got=f"styles {got}", remedy=remedy)
