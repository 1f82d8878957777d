"""The networks of a build, each counted on one image or text: student, teachers, generators."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.cost.counting import Counted, NotCountable, counted, measure
from compress.cost.published import Config
from compress.engine.config import DistillSettings, ImageSettings
from compress.engine.text import read_object
from compress.petals.weights import TEACHER, WEIGHTS
from compress.teacher.loading import folder_config, require_architecture, require_open_clip
from compress.teacher.sources import (
    Checkpoint,
    Embedded,
    Folder,
    HubRepository,
    Tag,
    TimmNet,
    TransformersFolder,
    locate,
)

if TYPE_CHECKING:
    from torch import nn

#: classes that a config may name: of diffusers, of this package, of transformers
DIFFUSERS = ("UNet2DConditionModel", "PriorTransformer", "VQModel", "AutoencoderKL")
OWN = ("PetalPrior",)
TRANSFORMERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection")

LOCAL = "local-dir:"  # open_clip's name of a folder


@dataclass(frozen=True)
class TeacherCounts:
    """A teacher: an image, and a text where it has texts and their tower can be built here."""

    image: Counted
    text: Counted | None = None


def count_student(settings: DistillSettings, image: ImageSettings) -> Counted:
    """The trunk of a student on one image; ``width`` is that of its pooled features.

    Raises:
        ConfigError: an unknown architecture, or one that does not take images of this size.
        NotCountable: ``meta`` does not know one of its operators.
    """

    def count() -> Counted:
        import torch

        from compress.distill.students import require_takes

        trunk = require_takes(settings, image)
        return measure(trunk, trunk, torch.zeros(1, 3, image.size, image.size, device="meta"))

    what = {"student": settings.student, "activation": settings.activation, "size": image.size}
    return counted(what, count)


def count_teacher(name: str) -> TeacherCounts | None:
    """A teacher by its name; None if its network is not known here, or cannot be counted.

    Raises:
        ConfigError: no such teacher.
    """
    source = locate(name)
    if isinstance(source, HubRepository | TransformersFolder):
        return None
    try:
        if isinstance(source, TimmNet):
            return TeacherCounts(_count_timm(source.model))
        if isinstance(source, Embedded):
            source = Folder(WEIGHTS / TEACHER)
        return count_clip(source)
    except NotCountable:
        return None


def timm_edge(name: str) -> int:
    """Pixels along an edge of the images of a teacher ``timm:NAME``."""
    import timm

    source = locate(name)
    assert isinstance(source, TimmNet), name
    config = timm.get_pretrained_cfg(source.model, allow_unregistered=True)
    return int(config.input_size[-1]) if config is not None else 224


def count_clip(source: Folder | Tag | Checkpoint) -> TeacherCounts:
    """The two towers of an open_clip model: a name, or a folder in its format.

    Raises:
        ConfigError: no such model, or a folder that is none.
        NotCountable: a model that cannot be built here.
    """
    if isinstance(source, Folder):
        config: Config = folder_config(source)
        name = f"{LOCAL}{source.path}"
    else:
        config = clip_config(source.model)
        name = source.model
    from_hub = "hf_model_name" in config["text_cfg"]
    built = cache(lambda: _clip(name, config if from_hub else None))
    image = counted({"clip": config, "tower": "image"}, lambda: _image_tower(built()))
    if from_hub:
        return TeacherCounts(image)
    return TeacherCounts(
        image, counted({"clip": config, "tower": "text"}, lambda: _text_tower(built()))
    )


def clip_config(model: str) -> Config:
    """open_clip's config of an architecture, read from its package without importing it.

    Raises:
        ConfigError: no such architecture, with the nearest name.
        MissingExtraError: open_clip is not installed.
    """
    package = find_spec("open_clip")
    for folder in (package.submodule_search_locations if package else None) or ():
        file = Path(folder) / "model_configs" / f"{model}.json"
        if file.is_file():
            return read_object(file)
    require_open_clip()
    require_architecture(model)
    from open_clip import get_model_config

    config: Config = get_model_config(model)
    return config


def count_part(part: str, config: Config, edge: int = 0) -> Counted:
    """A network of a generator; NotCountable for one that is not in this file's tables.

    Args:
        part: one of ``PARTS`` in ``published.py``.
        edge: entries along an edge of its latents.
    """
    shape = {key: value for key, value in config.items() if not key.startswith("_name")}
    return counted(
        {"part": part, "config": shape, "edge": edge}, lambda: _count(part, config, edge)
    )


def _count_timm(model: str) -> Counted:
    def count() -> Counted:
        import timm
        import torch

        with torch.device("meta"):
            net: Any = timm.create_model(model, num_classes=0)
        edge = int(timm.data.resolve_model_data_config(net)["input_size"][-1])
        return measure(net, net, torch.zeros(1, 3, edge, edge, device="meta"))

    return counted({"timm": model}, count)


def _clip(name: str, hub_text: Config | None) -> Any:
    """An open_clip model without weights, on ``meta``.

    Args:
        hub_text: the config of a model whose text tower only the hub describes; it gets another.
    """
    import open_clip
    import torch

    if name.startswith(LOCAL):
        import compress.petals.nets  # noqa: F401 (registers its towers: folders may name them)
    with torch.device("meta"), _quiet():
        if hub_text is not None:
            return open_clip.CLIP(hub_text["embed_dim"], hub_text["vision_cfg"], {})
        return open_clip.create_model(name, device="meta", load_weights=False)


def _image_tower(model: Any) -> Counted:
    import torch

    size = model.visual.image_size
    edge = size if isinstance(size, int) else size[0]
    pixels = torch.zeros(1, 3, edge, edge, device="meta")
    return measure(model.visual, model.encode_image, pixels)


def _text_tower(model: Any) -> Counted:
    import torch

    tokens = torch.zeros(1, model.context_length, dtype=torch.long, device="meta")
    return measure(model, model.encode_text, tokens)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's warning of a model that has no weights: none are wanted."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _count(part: str, config: Config, edge: int) -> Counted:
    import torch

    with torch.device("meta"), torch.no_grad():
        network = _build(config)
        if part == "unet":
            return _count_unet(network, config, edge)
        if part in ("movq", "vae"):
            latents = torch.zeros(1, int(config["latent_channels"]), edge, edge)
            options = {"force_not_quantize": True} if part == "movq" else {}
            return measure(network, lambda z: network.decode(z, **options).sample, latents)
        if part == "prior":
            return _count_prior(network, config)
        if part == "text_encoder":
            tokens = torch.zeros(1, int(config["max_position_embeddings"]), dtype=torch.long)
            return measure(network, lambda ids: network(input_ids=ids)[0], tokens)
        pixels = torch.zeros(1, 3, int(config["image_size"]), int(config["image_size"]))
        return measure(network, lambda images: network(pixel_values=images)[0], pixels)


def _count_unet(network: Any, config: Config, edge: int) -> Counted:
    import torch

    latents = torch.zeros(1, int(config["in_channels"]), edge, edge)
    options: dict[str, Any] = {}
    states = None
    if config.get("encoder_hid_dim_type") == "image_proj":
        embeds = torch.zeros(1, int(config["encoder_hid_dim"]))
        options["added_cond_kwargs"] = {"image_embeds": embeds}
    else:
        states = torch.zeros(1, 77, int(config["cross_attention_dim"]))  # CLIP's text is 77 tokens
    if label := config.get("projection_class_embeddings_input_dim"):
        options["class_labels"] = torch.zeros(1, int(label))
    return measure(network, lambda x: network(x, torch.zeros(1), states, **options).sample, latents)


def _count_prior(network: Any, config: Config) -> Counted:
    import torch

    if config["_class_name"] in OWN:
        rows = torch.zeros(1, int(config["embed_dim"]))
        return measure(network, network, rows, rows)
    width = int(config["embedding_dim"])
    tokens = int(config["num_embeddings"])
    rows = torch.zeros(1, width)
    states = torch.zeros(1, tokens, width)
    mask = torch.ones(1, tokens, dtype=torch.bool)
    return measure(
        network,
        lambda x: network(x, torch.zeros(1), rows, states, mask).predicted_image_embedding,
        rows,
    )


def _build(config: Config) -> Any:
    """The network of a config, without weights."""
    name = str(config.get("_class_name") or "")
    if name in DIFFUSERS:
        import diffusers

        return getattr(diffusers, name).from_config(dict(config))
    if name in OWN:
        from compress.petals.nets import PetalPrior

        return PetalPrior.from_config(dict(config))
    architecture = next(iter(config.get("architectures") or ()), "")
    if architecture not in TRANSFORMERS:
        raise ValueError(f"no network {name or architecture!r} is known here")
    import transformers

    kind: Any = getattr(transformers, architecture)
    network: nn.Module = kind(kind.config_class(**config))
    return network
