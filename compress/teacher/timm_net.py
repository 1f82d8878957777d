"""An image-only teacher: any timm network, ``timm:NAME`` or ``timm:NAME@FILE``.

DINOv2 and DINOv3, ImageNet networks and the like have no texts: their heads come from the shots, or
from the rows of their own classifier for classes whose names it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import runtime
from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError, require_known
from compress.engine.frozen import FrozenNetwork, frozen_network
from compress.engine.hub import hub, not_available
from compress.engine.packages import PACKAGES, installed, packaged_weights
from compress.teacher.artifact import unit
from compress.teacher.licenses import stated_license
from compress.teacher.sources import TimmNet
from compress.teacher.teacher import Teacher
from compress.teacher.timm_weights import classifier_names, network_with
from compress.teacher.weights import read_tensors
from runtime.preprocess import INTERPOLATIONS

if TYPE_CHECKING:
    from torch import Tensor, nn

# Multiplies cosines with rows of a discriminant, for which no network learns a scale. On views of 4
# or 8 shots a class the right one then gets a probability of 0.9 or 0.8.
LOGIT_SCALE = 10.0


@dataclass(frozen=True)
class Classifier:
    """A network's own classifier, float32, and what knows the names of its rows."""

    rows: NDArray[np.float32]  # (C, D)
    bias: NDArray[np.float32]  # (C,)
    subset: str  # timm's name of the label set, e.g. "imagenet-1k"


@dataclass(kw_only=True)
class TimmTeacher(Teacher):
    """A frozen timm network without its classifier.

    Attributes:
        classifier: what it was trained to name, if that is a label set with known names.
    """

    classifier: Classifier | None = None
    fast: FrozenNetwork | None = field(default=None, init=False)

    @property
    def logit_scale(self) -> float:
        """A constant: ``LOGIT_SCALE``."""
        return LOGIT_SCALE

    @cached_property
    def embed_dim(self) -> int:
        """The width D of its pooled features."""
        import torch

        edge = self.spec.size
        with torch.inference_mode():
            shape = self.model(torch.zeros(1, 3, edge, edge, device=self.device)).shape
        return int(shape[-1])

    @property
    def image_tower(self) -> nn.Module:
        """The network."""
        tower: nn.Module = self.model
        return tower

    def expect(self, images: int) -> None:
        """Makes the network ready in onnxruntime, in float32 on the CPU only."""
        if self.fast is None and self.precision == "fp32":
            self.fast = frozen_network(self.model, self.spec.size, images, self.device)

    def unit_rows(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit features ``(B, D)`` of normalized images ``(B, 3, S, S)``."""
        return super().unit_rows(pixels) if self.fast is None else unit(self.fast(pixels))

    def unit_features(self, pixels: Tensor, mixed: bool = False) -> Tensor:
        """Unit rows ``(B, D)`` of pooled features."""
        import torch

        enabled = mixed or self.precision == "bf16"
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=enabled):
            pooled = self.model(pixels)
        return torch.nn.functional.normalize(pooled.float(), dim=-1)


def load_timm(
    source: TimmNet, settings: TeacherSettings, device: str, offline: bool, kept: Path | None = None
) -> TimmTeacher:
    """The network with the weights of its file, its package or the hub, in that order.

    Args:
        kept: the folder for converted weights, see ``packaged_weights``.

    Raises:
        ConfigError: an unknown network, or weights that do not fit it.
        DownloadError: weights that are neither here nor reachable.
    """
    import timm
    import torch

    model, revision = _with_weights(source, settings.name, offline, kept)
    classifier = _classifier(model)
    model.reset_classifier(0)
    data = timm.data.resolve_model_data_config(model)
    edge = int(data["input_size"][-1])
    how = data["interpolation"] if data["interpolation"] in INTERPOLATIONS else "bicubic"
    spec = runtime.PreprocessSpec(edge, edge, how, tuple(data["mean"]), tuple(data["std"]))
    model.to(memory_format=torch.channels_last)
    return TimmTeacher(
        name=settings.name,
        model=model,
        spec=spec,
        device=device,
        precision=settings.precision,
        license=stated_license(settings.name),
        revision=revision,
        classifier=classifier,
    )


def label_set(source: TimmNet) -> str | None:
    """timm's name of the label set that a network names, e.g. "imagenet-1k"; None if unknown.

    Also None for a network whose classifier has no row for each class, and for a file without.

    Raises: ConfigError: as `require_timm`.
    """
    from timm.data import infer_imagenet_subset

    model = _on_meta(source)
    if not model.num_classes or not classifier_names(model.pretrained_cfg):
        return None
    subset: str | None = infer_imagenet_subset({"num_classes": model.num_classes})
    return subset if _last_layer(model) is not None else None


def has_batch_norms(source: TimmNet) -> bool:
    """Whether a network keeps statistics of what it was trained on; errors as `require_timm`."""
    return bool(batch_norms(_on_meta(source)))


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms of a network that keep statistics, in its own order."""
    from torch import nn

    found = (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    return [module for module in found if module.running_mean is not None]


def repository(source: TimmNet) -> str | None:
    """The hub's repository that a network's weights come from; None for weights on this disk."""
    import timm

    if source.path is not None or installed(source.model):
        return None
    record = timm.get_pretrained_cfg(source.model, allow_unregistered=True)
    return str(getattr(record, "hf_hub_id", None) or "")


def local(source: TimmNet) -> Path | None:
    """The file of a network's weights on this machine, None if they come from the hub."""
    return source.path or installed(source.model)


def require_network(name: str) -> None:
    """Raises ConfigError, with the nearest name, for a network that timm does not have."""
    require_known(name, _networks(), "unknown timm network")


def is_network(name: str) -> bool:
    """Whether timm has a network of this name."""
    return name in _networks()


def _networks() -> list[str]:
    import timm

    return [*timm.list_models(), *timm.list_pretrained()]


def require_timm(source: TimmNet) -> None:
    """Raises ConfigError for an unknown network, or for a file that is none of its weights."""
    require_network(source.model)
    if source.path is not None:
        _on_meta(source)


def _on_meta(source: TimmNet) -> Any:
    """The network, of a file as that file has it, in shapes alone: nothing is computed.

    Raises: ConfigError: as `require_timm`.
    """
    import timm
    import torch

    require_network(source.model)
    if source.path is not None and not source.path.is_file():
        what = f"the teacher's file {'is a folder' if source.path.is_dir() else 'does not exist'}"
        expected = "timm:NAME@FILE, a .safetensors file or a pickle of tensors"
        remedy = None
        if not source.path.is_absolute():
            remedy = f"its path starts here: {Path.cwd()}; say another with --teacher"
        raise ConfigError(what, got=source.path, expected=expected, remedy=remedy)
    with torch.device("meta"):
        if source.path is None:
            return timm.create_model(source.model)
        return network_with(source.model, read_tensors(source.path, "meta"), source.path.name)


def embed_dim(source: TimmNet) -> int:
    """The width D of a network's features; computes shapes only.

    Raises: ConfigError: an unknown network.
    """
    import timm
    import torch

    require_network(source.model)
    with torch.device("meta"):
        model: Any = timm.create_model(source.model, num_classes=0)
    return int(model.head_hidden_size if hasattr(model, "head_hidden_size") else model.num_features)


def _with_weights(source: TimmNet, name: str, offline: bool, kept: Path | None) -> tuple[Any, str]:
    """The network with its own classifier, where it has one, and the weights' revision."""
    import timm

    require_timm(source)
    if source.path is not None:
        model = network_with(source.model, read_tensors(source.path), source.path.name)
        return model, f"local {source.path.name}"
    if installed(source.model):
        state = packaged_weights(source.model, kept)
        model = network_with(source.model, state, source.model)
        return model, PACKAGES[source.model].revision
    with hub(offline):
        try:
            return timm.create_model(source.model, pretrained=True), source.model
        except Exception as error:  # every library below has its own for "no network"
            package = PACKAGES.get(source.model)
            place = f"say --teacher timm:{source.model}@FILE.safetensors"
            place += f", or pip install {package.distribution}" if package else ""
            raise not_available(f"teacher {name}", error, place=place) from error


def _classifier(model: Any) -> Classifier | None:
    """The rows of a network's classifier if the names of its classes are known."""
    from timm.data import infer_imagenet_subset

    subset = infer_imagenet_subset(model) if model.num_classes else None
    layer = _last_layer(model) if subset else None
    if subset is None or layer is None:
        return None
    rows = layer.weight.detach().float().flatten(1).numpy().copy()
    bias = layer.bias.detach().float().numpy().copy() if layer.bias is not None else 0 * rows[:, 0]
    return Classifier(rows, bias, subset)


def _last_layer(model: Any) -> Any | None:
    """The one linear layer, or 1 x 1 convolution, on the pooled features; None for anything else.

    Some networks have several classifiers, or more layers before one.
    """
    from torch import nn

    layer = model.get_classifier()
    width = int(getattr(model, "head_hidden_size", None) or model.num_features)
    linear = isinstance(layer, nn.Linear) and layer.in_features == width
    pointwise = isinstance(layer, nn.Conv2d) and layer.weight.shape[1:] == (width, 1, 1)
    return layer if linear or pointwise else None
