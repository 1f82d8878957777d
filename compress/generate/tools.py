"""Tools: what a strategy has its images from: a generator, a decoder, a drawing or photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.stage import StageContext
from compress.generate import photo_folder
from compress.generate.artifact import ToolFacts
from compress.generate.dead_leaves import DeadLeaves
from compress.generate.generators import table as generators
from compress.generate.generators.generator import Generator
from compress.generate.inversion import decoders
from compress.generate.inversion.decoder import Decoder
from compress.generate.photo_folder import PhotoFolder
from compress.generate.strategies.table import strategy_row


@dataclass(frozen=True)
class ToolKind:
    """One kind of tool: how it is loaded, and what is known before."""

    load: Callable[
        [GenerateSettings, str, bool], Generator | Decoder | DeadLeaves | PhotoFolder
    ]  # on a device, offline
    fingerprint: Callable[[GenerateSettings], dict[str, str]]
    missing: Callable[[GenerateSettings, bool], str | None]  # what has to be placed by hand
    settings: set[str]  # those that decide what is loaded; all others are given to each call


TOOLS = {
    "generator": ToolKind(
        generators.load_generator,
        generators.fingerprint,
        generators.missing,
        {"generator", "dtype", "height", "scheduler", "prior_steps", "text_via_prior"},
    ),
    "decoder": ToolKind(
        decoders.load_decoder, decoders.fingerprint, decoders.missing, {"inversion", "dtype"}
    ),
    "drawing": ToolKind(
        lambda settings, device, offline: DeadLeaves(),
        lambda settings: {"drawing": DeadLeaves().fingerprint()},
        lambda settings, online: None,
        set(),
    ),
    "photos": ToolKind(
        lambda settings, device, offline: photo_folder.folder_of(settings),
        lambda settings: {"photos": photo_folder.folder_of(settings).fingerprint()},
        photo_folder.missing,
        {"generator"},
    ),
}


class ToolCache:
    """Loads one tool at a time, on first use: two may not fit into memory."""

    def __init__(self, ctx: StageContext) -> None:
        self._ctx = ctx
        self._key: object = None
        self._tool: Any = None

    def get(self, settings: GenerateSettings) -> Any:
        """The tool of these settings and their strategy.

        Raises:
            ConfigError: no tool, one that does not take what the strategy gives it, or any refusal
                of its loader.
        """
        row = strategy_row(settings.strategy)
        if row.tool is None:
            raise ConfigError(f"strategy {settings.strategy} generates no images")
        kind = TOOLS[row.tool]
        key = row.tool, settings.model_dump_json(include=kind.settings)
        if self._key != key:
            self._key = self._tool = None  # frees the old one first
            self._tool = kind.load(settings, self._ctx.host.device, self._ctx.settings.data.offline)
            self._key = key
        if row.needs:
            generators.check_takes(settings, row.needs, self._tool.takes)
        return self._tool

    @property
    def facts(self) -> ToolFacts:
        """Of the tool that is loaded."""
        tool = self._tool
        return ToolFacts(tool.name, tool.license, tool.fingerprint(), tool.image_size)
