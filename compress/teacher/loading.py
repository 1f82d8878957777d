"""Identifies, looks for and loads teachers: one row of ``SOURCES`` a kind of source."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import runtime
from compress.engine.config import Settings, TeacherSettings
from compress.engine.errors import ConfigError, MissingExtraError, nearest, require_known
from compress.engine.hub import cached, fingerprint_path, hub, not_available, snapshot_revision
from compress.engine.stage import StageContext
from compress.petals import weights as petals
from compress.teacher import timm_net, transformers_clip
from compress.teacher.clip import ClipTeacher
from compress.teacher.licenses import stated_license
from compress.teacher.sources import (
    CONFIG_FILE,
    EMBEDDED,
    Checkpoint,
    Embedded,
    Folder,
    HubRepository,
    Tag,
    TimmNet,
    TransformersFolder,
    locate,
)
from compress.teacher.teacher import Teacher
from compress.teacher.timm_net import is_network, load_timm
from compress.teacher.weights import first_line, require_finite, require_tensors

if TYPE_CHECKING:
    from torch import nn


def load_teacher(
    settings: TeacherSettings,
    device: str = "cpu",
    *,
    offline: bool = False,
    kept: Path | None = None,
) -> Teacher:
    """The teacher of the settings, see ``compress/teacher/sources.py`` for its names.

    Args:
        kept: a folder for weights that are converted first, so that it happens once.

    Returns: an ``Ensemble`` if there are ``settings.others``.

    Raises:
        ConfigError: no such model, tag, folder or file, or weights that do not fit the model.
        DownloadError: the weights are neither in the local cache nor reachable.
        MissingExtraError: open_clip is not installed.
    """
    members = [_load(one, device, offline, kept) for one in each_teacher(settings)]
    if len(members) == 1:
        return members[0]
    from compress.teacher.ensemble import Ensemble

    return Ensemble.of(members)


def load_for(ctx: StageContext) -> Teacher:
    """The teacher of a run, for one of its stages; raises as ``load_teacher``."""
    offline = ctx.settings.data.offline
    return load_teacher(ctx.settings.teacher, ctx.host.device, offline=offline, kept=ctx.weights)


def load_clip(
    settings: TeacherSettings, device: str = "cpu", *, offline: bool = False
) -> ClipTeacher:
    """A teacher with texts; raises as ``load_teacher``, and ConfigError for one without them."""
    teacher = load_teacher(settings, device, offline=offline)
    if not isinstance(teacher, ClipTeacher):
        raise ConfigError(
            "this teacher has no texts", got=teacher.name, expected="an open_clip one"
        )
    return teacher


def each_teacher(settings: TeacherSettings) -> list[TeacherSettings]:
    """The settings of every teacher of a run alone."""
    return [
        settings.model_copy(update={"name": name, "others": ()})
        for name in (settings.name, *settings.others)
    ]


def _load(settings: TeacherSettings, device: str, offline: bool, kept: Path | None) -> Teacher:
    source = locate(settings.name)
    if isinstance(source, TimmNet):
        return load_timm(source, settings, device, offline, kept)
    require_open_clip()
    return SOURCES[type(source)].load(source, settings, device, offline)


def fingerprint(settings: Settings) -> dict[str, str]:
    """The identity of the teachers' weights: the content of local ones, the name of others."""
    found = {}
    for number, one in enumerate(each_teacher(settings.teacher), 1):
        source = locate(one.name)
        local = SOURCES[type(source)].local
        file = local(source) if local else None
        key = "teacher" if number == 1 else f"teacher {number}"
        found[key] = fingerprint_path(file) if file else one.name
    return found


def missing(settings: Settings, online: bool) -> str | None:
    """What a person must place by hand before the teachers can be loaded; None if nothing."""
    texts = [_missing(one.name, online) for one in each_teacher(settings.teacher)]
    return "\n  - ".join(filter(None, texts)) or None


def _missing(name: str, online: bool) -> str | None:
    source = locate(name)
    repository_of = SOURCES[type(source)].repository
    repository = repository_of(source) if repository_of else None
    if repository is None or online or cached(repository):
        return None
    published_as = f"; published as {repository}" if repository else ""
    if isinstance(source, TimmNet):
        place = f"place its file and say --teacher timm:{source.model}@FILE.safetensors"
        return f"teacher {name}: {place}{published_as}"
    files = f"{CONFIG_FILE}, open_clip_model.safetensors{published_as}"
    place = f"put its files into a folder ({files}) and say --teacher PATH"
    return f"teacher {name}: {place}"


def require_open_clip() -> None:
    """Raises MissingExtraError where open_clip is not installed."""
    try:
        import open_clip  # noqa: F401
    except ImportError as error:
        remedy = "pip install 'clip2edge[build]'"
        raise MissingExtraError("a teacher needs open_clip", remedy=remedy) from error


def require_architecture(model: str) -> None:
    """Raises ConfigError, with the nearest name, for a model that open_clip does not have."""
    from open_clip import list_models

    require_known(model, list_models(), "unknown architecture")


def published(source: Tag) -> dict[str, Any]:
    """open_clip's record of published weights; ConfigError, with the nearest name, without one."""
    from open_clip import list_models, list_pretrained_tags_by_model
    from open_clip.pretrained import get_pretrained_cfg

    if source.model not in list_models():
        remedy = nearest(source.model, [*list_models(), EMBEDDED])
        if is_network(source.model):
            remedy = f"a network without texts is said so: --teacher timm:{source.model}"
        raise ConfigError("unknown teacher", got=repr(source.model), remedy=remedy)
    tags = list_pretrained_tags_by_model(source.model)
    require_known(source.tag, tags, f"teacher {source.model} has no such tag")
    record: dict[str, Any] = get_pretrained_cfg(source.model, source.tag)
    return record


def published_arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip arguments that build a model as its weights were trained.

    Some tags (openai's among them) were trained with QuickGELU although their model's config says
    GELU; open_clip 3 only warns about it, and the teacher would be worse without an error.
    """
    keys = ("mean", "std", "interpolation", "resize_mode")
    return {
        "force_quick_gelu": bool(record.get("quick_gelu")),
        "force_preprocess_cfg": {key: record[key] for key in keys if key in record},
    }


def wrap(
    model: Any,
    tokenize: Any,
    settings: TeacherSettings,
    device: str,
    license: str = "unknown",
    revision: str = "unknown",
) -> ClipTeacher:
    """A teacher with the preprocessing that open_clip attached to the model."""
    config: dict[str, Any] = model.visual.preprocess_cfg
    size = config["size"] if isinstance(config["size"], int) else config["size"][0]
    how = "bicubic" if config["interpolation"] == "random" else config["interpolation"]
    mean = tuple(config["mean"])
    spec = runtime.PreprocessSpec(size, size, how, mean, std=tuple(config["std"]))
    return ClipTeacher(
        name=settings.name,
        model=model,
        tokenize=tokenize,
        spec=spec,
        device=device,
        precision=settings.precision,
        license=license,
        revision=revision,
    )


def _load_embedded(
    source: Embedded, settings: TeacherSettings, device: str, offline: bool
) -> Teacher:
    from compress.petals.nets import SPEC

    model, tokenize = petals.load_teacher()
    return ClipTeacher(
        name=settings.name,
        model=model,
        tokenize=tokenize,
        spec=SPEC,
        device=device,
        precision=settings.precision,
        license="Apache-2.0",
        revision="embedded",
    )


def _load_tag(source: Tag, settings: TeacherSettings, device: str, offline: bool) -> Teacher:
    from open_clip.pretrained import download_pretrained

    record = published(source)
    arguments = published_arguments(record)
    with hub(offline):
        try:
            weights = Path(download_pretrained(record))
            loaded = _create(source.model, settings.name, pretrained=str(weights), **arguments)
        except ConfigError:
            raise
        except Exception as error:  # every library below has its own exceptions for "no network"
            where = record.get("hf_hub", "").strip("/") or record.get("url", "its publisher")
            option = f"--teacher {source.model}/PATH/TO/FILE.safetensors"
            place = f"get it from {where} and say {option} (or a folder with {CONFIG_FILE})"
            raise not_available(f"teacher {settings.name}", error, place=place) from error
    revision = snapshot_revision(weights) or record.get("url", "unknown")
    return wrap(*loaded, settings, device, stated_license(settings.name), revision)


def _load_hub(
    source: HubRepository, settings: TeacherSettings, device: str, offline: bool
) -> Teacher:
    name = f"hf-hub:{source.name}"
    with hub(offline) as online:
        try:
            folder = transformers_clip.fetched(source.name, online)
            loaded = transformers_clip.load(folder) if folder else _create(name, settings.name)
        except ConfigError:
            raise
        except Exception as error:
            place = "say --teacher FOLDER with its files"
            raise not_available(f"teacher {name}", error, place=place) from error
    return wrap(*loaded, settings, device, revision=name)


def _load_folder(source: Folder, settings: TeacherSettings, device: str, offline: bool) -> Teacher:
    import compress.petals.nets  # noqa: F401 (registers its towers: folders may name them)

    weights = require_folder(source)
    with hub(offline=True):
        loaded = _create(f"local-dir:{source.path}", settings.name)
    return wrap(*loaded, settings, device, revision=f"local {weights.name}")


def require_folder(source: Folder) -> Path:
    """The weights of a folder; ConfigError if it is not in open_clip's format. Loads nothing."""
    weights = sorted(source.path.glob("*.safetensors"))
    if not (source.path / CONFIG_FILE).is_file() or not weights:
        names = sorted(entry.name for entry in source.path.iterdir())[:8]
        raise ConfigError(
            "the teacher's folder is not in open_clip's format",
            got=f"{source.path} with {names}",
            expected=f"{CONFIG_FILE} and open_clip_model.safetensors",
            remedy="a pickle must be named: --teacher MODEL/PATH/TO/FILE.pt",
        )
    folder_config(source)
    require_tensors(weights[0])
    return weights[0]


def folder_config(source: Folder) -> dict[str, Any]:
    """The model's part of a folder's configuration; ConfigError if there is none."""
    file = source.path / CONFIG_FILE
    try:
        config: dict[str, Any] = dict(json.loads(file.read_text(encoding="utf-8"))["model_cfg"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        expected = "a JSON object with model_cfg, as open_clip writes it"
        raise ConfigError(
            f"{file} does not describe a teacher", got=first_line(error), expected=expected
        ) from error
    return config


def require_checkpoint(source: Checkpoint) -> None:
    """ConfigError for an unknown architecture or a file without tensors. Loads nothing."""
    require_architecture(source.model)
    if source.path.suffix == ".safetensors":
        require_tensors(source.path)


def embed_dim(settings: TeacherSettings) -> int | None:
    """The width D of the teacher's space where it is known without loading it, else None."""
    widths = [_embed_dim(one.name) for one in each_teacher(settings)]
    known = [width for width in widths if width is not None]
    return sum(known) if len(known) == len(widths) else None


def _embed_dim(name: str) -> int | None:
    source = locate(name)
    if isinstance(source, TimmNet):
        return timm_net.embed_dim(source)
    if isinstance(source, Embedded):
        from compress.petals.nets import EMBED_DIM

        return EMBED_DIM
    if isinstance(source, HubRepository):
        return None
    if isinstance(source, Folder):
        config = folder_config(source)
    elif isinstance(source, TransformersFolder):
        config = transformers_clip.model_config(source.path)
    else:
        import open_clip

        config = open_clip.get_model_config(source.model) or {}
    dim = config.get("embed_dim")
    return dim if isinstance(dim, int) else None


def _load_checkpoint(
    source: Checkpoint, settings: TeacherSettings, device: str, offline: bool
) -> Teacher:
    require_checkpoint(source)
    with hub(offline=True):
        loaded = _create(source.model, settings.name, pretrained=str(source.path))
    return wrap(*loaded, settings, device, revision=f"local {source.path.name}")


def _create(name: str, teacher: str, **arguments: Any) -> tuple[nn.Module, Any]:
    """An open_clip model with its weights, never random ones where they do not fit; tokenizer."""
    from open_clip import create_model, get_tokenizer

    try:
        model = create_model(name, require_pretrained=True, weights_only=True, **arguments)
    except Exception as error:  # pickle, safetensors, torch and open_clip: each raises its own
        if name.startswith("hf-hub:"):
            raise
        raise ConfigError(
            "the teacher's weights cannot be used",
            got=f"{teacher}: {first_line(error)}",
            expected="tensors of that model, as safetensors or a pickle for weights_only=True",
        ) from error
    require_finite(model.state_dict(), f"teacher {teacher}")
    return model, get_tokenizer(name)


@dataclass(frozen=True)
class SourceKind:
    """How a kind of source is loaded, and where it lies before."""

    load: Callable[[Any, TeacherSettings, str, bool], Teacher]  # the bool: offline
    local: Callable[[Any], Path | None] | None = None  # its file or folder, if on this machine
    # on the hub; "" if it is published elsewhere, None if it is on this machine
    repository: Callable[[Any], str | None] | None = None
    require: Callable[[Any], object] | None = None  # what it must be; loads nothing


SOURCES: dict[type, SourceKind] = {
    Embedded: SourceKind(_load_embedded, local=lambda source: petals.WEIGHTS / petals.TEACHER),
    Tag: SourceKind(
        _load_tag, repository=lambda source: published(source).get("hf_hub", "").strip("/")
    ),
    HubRepository: SourceKind(_load_hub, repository=lambda source: source.name),
    Folder: SourceKind(_load_folder, local=lambda source: source.path, require=require_folder),
    TransformersFolder: SourceKind(
        lambda source, *how: wrap(*transformers_clip.load(source.path), *how[:2]),
        local=lambda source: source.path,
        require=lambda source: transformers_clip.weights_of(source.path),
    ),
    Checkpoint: SourceKind(
        _load_checkpoint, local=lambda source: source.path, require=require_checkpoint
    ),
    TimmNet: SourceKind(
        load_timm,
        local=timm_net.local,
        repository=timm_net.repository,
        require=timm_net.require_timm,
    ),
}
