"""CLIP teachers: any open_clip model behind one small shape.

A teacher's name is one of

    ViT-L-14/openai              an open_clip model and tag (downloaded once, then from the local
                                 cache)
    hf-hub:org/repo              a repository on the hub in open_clip's format
    path/to/folder               a folder in open_clip's format: open_clip_config.json +
                                 open_clip_model.safetensors
    ViT-L-14/path/to/weights     a checkpoint file for a named architecture: .safetensors, or a
                                 pickle (.pt, .bin) asked for by its name, which is only ever read
                                 with weights_only=True
    petals                       the small teacher of the embedded world

Teachers with a sigmoid loss (SigLIP) are used like all others, ``z = scale * cos``: their bias is
the same for every class and cancels under a softmax over classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import runtime
from compress.engine.config import Settings, TeacherSettings
from compress.engine.errors import ConfigError, MissingExtraError, nearest
from compress.engine.hub import (
    fingerprint_path,
    fingerprint_tensors,
    hub,
    not_available,
    snapshot_revision,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

EMBEDDED = "petals"
CONFIG_FILE = "open_clip_config.json"
INSTALL = "pip install 'clip2edge[build]'"
# What the authors of the weights state, by the beginning of open_clip's tag; everything else is
# recorded as unknown.
LICENSES = {
    "openai": "MIT",
    "laion": "MIT",
    "datacomp": "MIT",
    "dfn": "apple-amlr",
    "webli": "Apache-2.0",
}


@dataclass(frozen=True)
class Embedded:
    """The teacher inside this package."""


@dataclass(frozen=True)
class Tag:
    """An open_clip model and the tag of its weights."""

    model: str
    tag: str


@dataclass(frozen=True)
class HubRepository:
    """A repository in open_clip's format on the hub; ``name`` keeps its ``hf-hub:`` prefix."""

    name: str


@dataclass(frozen=True)
class Folder:
    """A local folder in open_clip's format."""

    path: Path


@dataclass(frozen=True)
class Checkpoint:
    """A local file of weights for an open_clip architecture."""

    model: str
    path: Path


Source = Embedded | Tag | HubRepository | Folder | Checkpoint


@dataclass
class Teacher:
    """A frozen CLIP: images and texts to unit vectors of one space.

    Attributes:
        name: as asked for.
        model: the open_clip model (``encode_image``, ``encode_text``, ``logit_scale``), in eval
            mode and frozen.
        tokenize: texts -> ``(N, L)`` token ids.
        spec: the geometry and normalization of its images.
        precision: "fp32", or "bf16" for mixed precision forward passes; outputs are float32 either
            way.
        license, revision: of the weights, as far as known.
        images_encoded: how many images `encode_images` has been given.
    """

    name: str
    model: Any  # nn.Module, whose attributes mypy cannot know
    tokenize: Callable[[Sequence[str]], Tensor]
    spec: runtime.PreprocessSpec
    device: str = "cpu"
    precision: str = "fp32"
    license: str = "unknown"
    revision: str = "unknown"
    images_encoded: int = field(default=0, init=False)
    _towers: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.model.to(self.device).eval().requires_grad_(False)

    @property
    def params(self) -> int:
        """Parameters of both towers."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def image_params(self) -> int:
        """Parameters of the image tower, projection included."""
        return sum(p.numel() for p in self.model.visual.parameters())

    @property
    def logit_scale(self) -> float:
        """The scale of its cosines, ``exp`` of the learned parameter."""
        return float(self.model.logit_scale.detach().float().exp())

    @cached_property
    def embed_dim(self) -> int:
        """The width D of the shared space."""
        return int(self.encode_texts([""]).shape[1])

    @property
    def image_tower(self) -> nn.Module:
        """``(B, 3, S, S)`` normalized float images -> ``(B, D)`` embeddings before L2
        normalization.
        """
        if "image" not in self._towers:
            from compress.teacher.image_tower import ImageTower

            self._towers["image"] = ImageTower(self.model).eval()
        tower: nn.Module = self._towers["image"]
        return tower

    def encode_images(self, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
        """Unit features ``(N, D)`` of uint8 images ``(N, S, S, 3)`` that already have the teacher's
        geometry.

        Raises:
            ValueError: the images have another size.
        """
        import torch

        edge = self.spec.size
        if images.ndim != 4 or images.shape[1:] != (edge, edge, 3):
            raise ValueError(
                f"teacher images must be (N, {edge}, {edge}, 3) uint8, got {images.shape}"
            )
        self.images_encoded += len(images)
        out = np.empty((len(images), self.embed_dim), np.float32)
        for start in range(0, len(images), batch):
            pixels = torch.from_numpy(
                runtime.normalize(np.asarray(images[start : start + batch]), self.spec)
            )
            out[start : start + batch] = self._unit(self.model.encode_image, pixels.to(self.device))
        return out

    def embed_pixels(self, images: Tensor, *, mixed: bool = False) -> Tensor:
        """Unit features ``(B, D)`` of images ``(B, 3, S, S)`` in [0, 1], with gradients to them;
        float32.

        Images of another size are resized to the tower's (antialiased bilinear). ``mixed`` asks for
        bf16 where the teacher's own precision is fp32. Images go to the tower in channels-last
        memory, where convolutions are faster.
        """
        import torch

        if images.shape[-1] != self.spec.size:
            edges = (self.spec.size, self.spec.size)
            images = torch.nn.functional.interpolate(images, edges, mode="bilinear", antialias=True)
        mean, std = (
            images.new_tensor(values)[:, None, None] for values in (self.spec.mean, self.spec.std)
        )
        pixels = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        with self._mixed(mixed or self.precision == "bf16"):
            made = self.model.encode_image(pixels)
        return torch.nn.functional.normalize(made.float(), dim=-1)

    def encode_texts(self, texts: Sequence[str], batch: int = 256) -> NDArray[np.float32]:
        """Unit features ``(N, D)`` of texts."""
        parts = [
            self._unit(
                self.model.encode_text,
                self.tokenize(list(texts[start : start + batch])).to(self.device),
            )
            for start in range(0, len(texts), batch)
        ]
        return np.concatenate(parts)

    def class_head(self, prompts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """The text head ``(K, D)``: per class the mean of its prompts' unit embeddings, normalized
        again.
        """
        flat = self.encode_texts([prompt for row in prompts for prompt in row])
        ends = np.cumsum([len(row) for row in prompts])
        means = np.stack([part.mean(axis=0) for part in np.split(flat, ends[:-1])])
        head: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return head

    def fingerprint(self) -> str:
        """SHA-256 over every tensor of the model."""
        return fingerprint_tensors(dict(self.model.state_dict()))

    def _unit(self, encode: Callable[[Tensor], Tensor], batch: Tensor) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode(), self._mixed(self.precision == "bf16"):
            made = encode(batch)
        unit = torch.nn.functional.normalize(made.float(), dim=-1)
        return unit.cpu().numpy()

    def _mixed(self, enabled: bool) -> torch.autocast:
        import torch

        return torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=enabled)


def load_teacher(
    settings: TeacherSettings, device: str = "cpu", *, offline: bool = False
) -> Teacher:
    """Loads the teacher that ``settings.name`` names (see the head of this file).

    Raises:
        ConfigError: no such model, tag, folder or file, or weights that do not fit the
            architecture.
        DownloadError: the weights are neither in the local cache nor reachable.
        MissingExtraError: open_clip is not installed.
    """
    source = locate(settings.name)
    try:
        import open_clip  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("a teacher needs open_clip", remedy=INSTALL) from error
    return LOADERS[type(source)](source, settings, device, offline)


def locate(name: str) -> Source:
    """Says what a teacher's name means, without loading anything.

    Raises:
        ConfigError: a path that does not exist, or a name without a tag.
    """
    if name == EMBEDDED:
        return Embedded()
    if name.startswith("hf-hub:"):
        return HubRepository(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        raise ConfigError(
            "a teacher checkpoint needs its architecture",
            got=name,
            expected=f"MODEL/FILE, e.g. ViT-L-14/{path}",
        )
    model, _, rest = name.partition("/")
    if not model or model in (".", "..", "~"):
        raise ConfigError(
            "the teacher's folder does not exist", got=name, expected=f"a folder with {CONFIG_FILE}"
        )
    if rest and Path(rest).expanduser().is_file():
        return Checkpoint(model, Path(rest).expanduser())
    return Tag(model, rest)


def fingerprint(settings: Settings) -> dict[str, str]:
    """What identifies the teacher's weights before they are loaded: local ones' content, published
    ones' name.
    """
    source = locate(settings.teacher.name)
    if isinstance(source, (Folder, Checkpoint)):
        return {"teacher": fingerprint_path(source.path)}
    if isinstance(source, Embedded):
        from compress.petals.weights import TEACHER, WEIGHTS

        return {"teacher": fingerprint_path(WEIGHTS / TEACHER)}
    return {"teacher": settings.teacher.name}


def _load_embedded(
    source: Embedded, settings: TeacherSettings, device: str, offline: bool
) -> Teacher:
    from compress.petals.nets import INPUT_SIZE, MEAN, STD
    from compress.petals.weights import load_teacher as load

    model, tokenize = load()
    spec = runtime.PreprocessSpec(
        size=INPUT_SIZE, resize=INPUT_SIZE, interpolation="bicubic", mean=MEAN, std=STD
    )
    return Teacher(
        settings.name, model, tokenize, spec, device, settings.precision, "Apache-2.0", "embedded"
    )


def _load_tag(source: Tag, settings: TeacherSettings, device: str, offline: bool) -> Teacher:
    from open_clip import get_tokenizer, list_models, list_pretrained_tags_by_model
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    if source.model not in list_models():
        remedy = nearest(source.model, [*list_models(), EMBEDDED])
        raise ConfigError("unknown teacher", got=repr(settings.name), remedy=remedy)
    tags = list_pretrained_tags_by_model(source.model)
    if source.tag not in tags:
        remedy = nearest(source.tag, tags)
        raise ConfigError(
            f"teacher {source.model} has no such tag", got=repr(source.tag), remedy=remedy
        )
    published = get_pretrained_cfg(source.model, source.tag)
    with hub(offline):
        try:
            weights = Path(download_pretrained(published))
            tokenize = get_tokenizer(source.model)
            model = _create(
                source.model,
                settings.name,
                pretrained=str(weights),
                **published_arguments(published),
            )
        except ConfigError:
            raise
        except Exception as error:  # every library below has its own exceptions for "no network"
            raise not_available(
                f"teacher {settings.name}", error, place=_by_hand(source.model, published)
            ) from error
    licenses = [text for prefix, text in LICENSES.items() if source.tag.startswith(prefix)]
    revision = snapshot_revision(weights) or published.get("url", "unknown")
    return wrap(
        model,
        tokenize,
        settings,
        device,
        license=licenses[0] if licenses else "unknown",
        revision=revision,
    )


def published_arguments(published: dict[str, Any]) -> dict[str, Any]:
    """open_clip arguments that make a model as its weights were trained.

    Some tags (openai's among them) were trained with QuickGELU although their model's config says
    GELU; open_clip 3 only warns about it, and the teacher would quietly be worse.
    """
    kept = {
        key: published[key]
        for key in ("mean", "std", "interpolation", "resize_mode")
        if key in published
    }
    return {"force_quick_gelu": bool(published.get("quick_gelu")), "force_preprocess_cfg": kept}


def _by_hand(model: str, published: dict[str, Any]) -> str:
    where = published.get("hf_hub", "").strip("/") or published.get("url", "its publisher")
    return (
        f"get it from {where} and say --teacher {model}/PATH/TO/FILE.safetensors (or a "
        f"folder with {CONFIG_FILE})"
    )


def _load_hub(
    source: HubRepository, settings: TeacherSettings, device: str, offline: bool
) -> Teacher:
    from open_clip import get_tokenizer

    with hub(offline):
        try:
            model = _create(source.name, settings.name)
            tokenize = get_tokenizer(source.name)
        except ConfigError:
            raise
        except Exception as error:
            raise not_available(
                f"teacher {source.name}", error, place="say --teacher FOLDER with its files"
            ) from error
    return wrap(model, tokenize, settings, device, revision=source.name)


def _load_folder(source: Folder, settings: TeacherSettings, device: str, offline: bool) -> Teacher:
    from open_clip import get_tokenizer

    import compress.petals.nets  # noqa: F401 (folders may name its towers, which it registers with timm)

    weights = sorted(source.path.glob("*.safetensors"))
    if not (source.path / CONFIG_FILE).is_file() or not weights:
        found = sorted(entry.name for entry in source.path.iterdir())[:8]
        raise ConfigError(
            "the teacher's folder is not in open_clip's format",
            got=f"{source.path} with {found}",
            expected=f"{CONFIG_FILE} and open_clip_model.safetensors",
            remedy="a pickle must be asked for by name: --teacher MODEL/PATH/TO/FILE.pt",
        )
    name = f"local-dir:{source.path}"
    with hub(offline=True):
        model = _create(name, settings.name)
        tokenize = get_tokenizer(name)
    return wrap(model, tokenize, settings, device, revision=f"local {weights[0].name}")


def _load_checkpoint(
    source: Checkpoint, settings: TeacherSettings, device: str, offline: bool
) -> Teacher:
    from open_clip import get_tokenizer, list_models

    if source.model not in list_models():
        raise ConfigError(
            "unknown architecture",
            got=repr(source.model),
            remedy=nearest(source.model, list_models()),
        )
    with hub(offline=True):
        model = _create(source.model, settings.name, pretrained=str(source.path))
        tokenize = get_tokenizer(source.model)
    return wrap(model, tokenize, settings, device, revision=f"local {source.path.name}")


def _create(model: str, asked: str, **arguments: Any) -> nn.Module:
    """An open_clip model with its weights; weights that do not fit are an error, never a random
    initialization.
    """
    from open_clip import create_model

    try:
        made: nn.Module = create_model(
            model, require_pretrained=True, weights_only=True, **arguments
        )
        return made
    except (
        Exception
    ) as error:  # pickle, safetensors, torch and open_clip each have their own for "does not fit"
        if model.startswith("hf-hub:"):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            "the teacher's weights cannot be used",
            got=f"{asked}: {first[:200]}",
            expected="tensors of that architecture, as safetensors or a pickle that loads "
            "with weights_only=True",
        ) from error


def wrap(
    model: Any,
    tokenize: Any,
    settings: TeacherSettings,
    device: str,
    license: str = "unknown",
    revision: str = "unknown",
) -> Teacher:
    """A teacher with the preprocessing that open_clip attached to the model."""
    cfg: dict[str, Any] = model.visual.preprocess_cfg
    size = cfg["size"] if isinstance(cfg["size"], int) else cfg["size"][0]
    spec = runtime.PreprocessSpec(
        size=size,
        resize=size,
        interpolation=cfg["interpolation"] if cfg["interpolation"] != "random" else "bicubic",
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
    )
    return Teacher(
        settings.name, model, tokenize, spec, device, settings.precision, license, revision
    )


LOADERS: dict[type, Callable[[Any, TeacherSettings, str, bool], Teacher]] = {
    Embedded: _load_embedded,
    Tag: _load_tag,
    HubRepository: _load_hub,
    Folder: _load_folder,
    Checkpoint: _load_checkpoint,
}
