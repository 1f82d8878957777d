"""The networks of a generator or decoder by their config.json files: a folder's own, or published.

``published.yaml`` holds those of the generators that have names of their own. Nothing is
downloaded: of a hub id whose files are not in a folder, nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compress.engine.config import GenerateSettings
from compress.engine.text import read_object, user_path
from compress.generate.generators import table
from compress.generate.inversion import decoders

FILE = Path(__file__).parent / "published.yaml"
CONFIG = "config.json"
#: networks that count, by their folder below a pipeline
PARTS = ("unet", "movq", "vae", "prior", "text_encoder", "image_encoder")
TEACHER = "teacher"  # of a generator of the embedded world: an open_clip folder
SCHEDULER = "scheduler/scheduler_config.json"
KANDINSKY_EDGE = 512  # as its adapter says
Config = Mapping[str, Any]


@dataclass(frozen=True)
class GeneratorConfigs:
    """What is known of a generator without its weights.

    Attributes:
        kind: a row of ``KINDS`` of the generators' table.
        parts: name of a network -> its config.
        scheduler: class in diffusers, where it is known.
        teacher: the open_clip folder of a generator of the embedded world.
    """

    kind: str
    parts: Mapping[str, Config]
    scheduler: str | None = None
    teacher: Path | None = None

    @property
    def factor(self) -> int:
        """Pixels of an image per entry of its latents, along an edge."""
        return 2 ** (len(self.autoencoder["block_out_channels"]) - 1)

    @property
    def autoencoder(self) -> Config:
        """The config of the network that decodes latents."""
        return self.parts["movq" if self.kind == "kandinsky" else "vae"]

    def latent_edge(self, settings: GenerateSettings) -> int:
        """Entries along an edge of the latents, as the pipelines of diffusers compute them."""
        factor = self.factor
        if self.kind == "kandinsky":
            height = settings.height or KANDINSKY_EDGE
            return -(-height // factor**2) * factor
        if settings.height is None:
            return int(self.parts["unet"]["sample_size"])
        return settings.height // factor


def generator_configs(name: str) -> GeneratorConfigs | None:
    """The networks of a generator; None if they are neither on this disk nor published here.

    Raises:
        ConfigError: no such generator, or a folder of another kind.
    """
    weights = table.locate(name)
    if name in published():
        entry = published()[name]
        return GeneratorConfigs(str(weights.kind), entry["parts"], entry["scheduler"])
    if weights.kind == "petals":
        from compress.petals.weights import WEIGHTS

        folder = Path(weights.parts[0]) if weights.parts else WEIGHTS
        return GeneratorConfigs("petals", _parts(folder), teacher=folder / TEACHER)
    folders = [user_path(part) for part in weights.parts]
    if weights.kind is None or not all(folder.is_dir() for folder in folders):
        return None
    parts = {key: config for folder in folders for key, config in _parts(folder).items()}
    scheduler = folders[-1] / SCHEDULER
    name_of = read_object(scheduler).get("_class_name") if scheduler.is_file() else None
    return GeneratorConfigs(weights.kind, parts, name_of)


def decoder_config(name: str) -> Config | None:
    """The VQModel of an inversion decoder; None for one without a network.

    Raises:
        ConfigError: no such decoder, or a folder that is none.
    """
    weights = decoders.locate(name)
    if weights.folder is not None:
        return read_object(weights.folder / CONFIG)
    if not weights.repository:
        return None
    known: Config = published()["kandinsky-2.2"]["parts"]["movq"]
    return known


@cache
def published() -> Mapping[str, Any]:
    """``published.yaml``."""
    import yaml

    loaded: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def _parts(folder: Path) -> dict[str, Config]:
    files = {part: folder / part / CONFIG for part in PARTS}
    return {part: read_object(file) for part, file in files.items() if file.is_file()}
