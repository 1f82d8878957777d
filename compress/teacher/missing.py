"""What has to be placed by hand before the teacher can be loaded."""

from __future__ import annotations

from compress.engine.config import Settings
from compress.engine.errors import ConfigError, nearest
from compress.engine.hub import cached


def missing(run: Settings, online: bool) -> str | None:
    """What has to be placed by hand before the teacher can be loaded, or None.

    Raises:
        ConfigError: no such model or tag.
    """
    from compress.teacher.clip import HubRepository, Tag, locate

    settings = run.teacher

    source = locate(settings.name)
    if isinstance(source, HubRepository):
        repository = source.name.removeprefix("hf-hub:")
    elif isinstance(source, Tag):
        from open_clip import list_models, list_pretrained_tags_by_model
        from open_clip.pretrained import get_pretrained_cfg

        if source.model not in list_models():
            raise ConfigError(
                "unknown teacher",
                got=repr(settings.name),
                remedy=nearest(source.model, list_models()),
            )
        tags = list_pretrained_tags_by_model(source.model)
        if source.tag not in tags:
            raise ConfigError(
                f"teacher {source.model} has no such tag",
                got=repr(source.tag),
                remedy=nearest(source.tag, tags),
            )
        repository = get_pretrained_cfg(source.model, source.tag).get("hf_hub", "").strip("/")
    else:
        return None
    if online or cached(repository):
        return None
    return (
        f"teacher {settings.name}: put its files into a folder (open_clip_config.json, "
        "open_clip_model.safetensors"
        f"{f'; published as {repository}' if repository else ''}) and say --teacher PATH"
    )
