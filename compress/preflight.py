"""Before any work: is everything that a build needs from elsewhere on this disk or within reach?

Hours of generation must not end in "no weights for the student", so all four are looked for at once: dataset, teacher,
generator, student. Nothing is downloaded or loaded here.
"""

from __future__ import annotations

from pathlib import Path

from compress.config import DistillSettings, GenerateSettings, Settings, TeacherSettings
from compress.errors import ConfigError, DownloadError, nearest
from compress.hub import hub_answers

UNSTYLED = ("none", "sidclip", "cls2img", "img2img")  # strategies whose images have no style
STYLED = ("mix", "contrastive", "words", "learned")  # kinds of prompts that give every image a style
OFFLINE_COMMAND = "compress build --dataset petals --shots 4"


def check(settings: Settings) -> None:
    """Looks for everything a build needs from outside.

    Raises:
        ConfigError: an unknown name, with the nearest one.
        DownloadError: one error that names all that is missing and where each can be placed by hand.
    """
    from compress.data.sources import missing as missing_data

    online = not settings.data.offline and hub_answers()
    found = (
        missing_data(settings.data, online),
        missing_teacher(settings.teacher, online),
        missing_generator(settings.generate, online),
        missing_student(settings.distill, online),
    )
    check_styles(settings)
    lost = [text for text in found if text]
    if lost:
        raise DownloadError(
            "this build needs what is neither on this disk nor reachable",
            got="".join(f"\n  - {text}" for text in lost) + "\n",
            remedy=f"place the files by hand as said above; what works offline: {OFFLINE_COMMAND}",
        )


def missing_teacher(settings: TeacherSettings, online: bool) -> str | None:
    """What has to be placed by hand before the teacher can be loaded, or None.

    Raises:
        ConfigError: no such model or tag.
    """
    from compress.teacher import HubRepository, Tag, locate

    source = locate(settings.name)
    if isinstance(source, HubRepository):
        repository = source.name.removeprefix("hf-hub:")
    elif isinstance(source, Tag):
        from open_clip import list_models, list_pretrained_tags_by_model
        from open_clip.pretrained import get_pretrained_cfg

        if source.model not in list_models():
            raise ConfigError("unknown teacher", got=repr(settings.name), remedy=nearest(source.model, list_models()))
        tags = list_pretrained_tags_by_model(source.model)
        if source.tag not in tags:
            raise ConfigError(
                f"teacher {source.model} has no such tag", got=repr(source.tag), remedy=nearest(source.tag, tags)
            )
        repository = get_pretrained_cfg(source.model, source.tag).get("hf_hub", "").strip("/")
    else:
        return None
    if online or cached(repository):
        return None
    return (
        f"teacher {settings.name}: put its files into a folder (open_clip_config.json, open_clip_model.safetensors"
        f"{f'; published as {repository}' if repository else ''}) and say --teacher PATH"
    )


def missing_generator(settings: GenerateSettings, online: bool) -> str | None:
    """What has to be placed by hand before generators and decoders can be loaded, or None; all candidates are looked at.

    Raises:
        ConfigError: no such generator, decoder or strategy, or a generator that does not take what the strategy gives it.
    """
    from compress.generate.base import wants_images
    from compress.generate.decoders import missing as missing_decoder
    from compress.generate.probing import candidates
    from compress.generate.stage import check as check_fits
    from compress.generate.stage import strategy_class

    check_fits(settings)
    look = {"generator": _missing_pipeline, "decoder": missing_decoder}
    used = [wanted for wanted in candidates(settings) if wants_images(wanted)]
    found = [look[strategy_class(wanted.strategy).tool](wanted, online) for wanted in used]
    return "\n  - ".join(dict.fromkeys(text for text in found if text)) or None


def _missing_pipeline(settings: GenerateSettings, online: bool) -> str | None:
    from compress.generate.generators import locate

    parts = locate(settings.generator).parts
    lost = [part for part in parts if not Path(part).expanduser().is_dir() and not cached(part)]
    if online or not lost:
        return None
    target = "PATH/prior and PATH/decoder" if len(parts) > 1 else "PATH"
    return (
        f"generator {settings.generator} ({' and '.join(lost)}): put it into {target}, as diffusers saves pipelines, and "
        "say --generator PATH (or do without: --set generate.strategy=none)"
    )


def missing_student(settings: DistillSettings, online: bool) -> str | None:
    """What has to be placed by hand before the student can start, or None.

    Raises:
        ConfigError: no such student.
    """
    from compress.distill.students import EMBEDDED, architectures, shipped

    if settings.student not in architectures():
        raise ConfigError(
            "unknown student", got=repr(settings.student), remedy=nearest(settings.student, architectures())
        )
    if (
        settings.init in ("clip", "generic")
        and settings.init_path is None
        and not shipped(settings.init, settings.student)
    ):
        return (
            f"first weights of student {settings.student}: there is no {settings.init!r} trunk of it in this package; name "
            "one with --set distill.init_path=FILE.safetensors, or start from --set distill.init=timm"
        )
    if settings.init != "timm" or settings.init_path is not None or settings.student.startswith(EMBEDDED) or online:
        return None
    import timm

    published = timm.get_pretrained_cfg(settings.student)
    repository = str(getattr(published, "hf_hub_id", None) or "")
    if cached(repository):
        return None
    return (
        f"first weights of student {settings.student}{f' ({repository})' if repository else ''}: put the safetensors file "
        "anywhere and say --set distill.init_path=FILE (or start from nothing: --set distill.init=random)"
    )


def check_styles(settings: Settings) -> None:
    """Refuses meta steps that would find one style only, before any image is made.

    Raises:
        ConfigError: says which images have styles.
    """
    generate = settings.generate
    plain = generate.strategy in UNSTYLED or (generate.strategy == "inversion" and generate.prompts.kind not in STYLED)
    if settings.distill.meta.mode != "none" and plain:
        raise ConfigError(
            "meta steps compare styles, and these images have none",
            got=f"generate.strategy={generate.strategy}, generate.prompts.kind={generate.prompts.kind}",
            expected=f"strategy inversion with a kind of {', '.join(STYLED)}", remedy="--set distill.meta.mode=none",
        )  # fmt: skip


def cached(repository: str) -> bool:
    """Whether a snapshot of a hub repository lies in the local cache."""
    if not repository:
        return False
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return folder.is_dir() and any(folder.iterdir())
