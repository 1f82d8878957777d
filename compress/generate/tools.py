"""Tools: what a strategy generates images with: a generator, a decoder or a drawing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.partial import keep_json
from compress.engine.stage import StageContext
from compress.generate.artifact import GENERATOR
from compress.generate.dead_leaves import DeadLeaves
from compress.generate.generators import table as generators
from compress.generate.generators.generator import Generator
from compress.generate.inversion import decoders
from compress.generate.inversion.decoder import Decoder
from compress.generate.strategies.table import strategy_row


@dataclass(frozen=True)
class ToolKind:
    """One kind of tool: how it is loaded, and what is known before."""

    load: Callable[
        [GenerateSettings, str, bool], Generator | Decoder | DeadLeaves
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
}


@dataclass(frozen=True)
class ToolFacts:
    """What the report says about a tool; all None if no image was generated."""

    name: str | None = None
    license: str | None = None
    fingerprint: str | None = None
    image_size: int | None = None


class ToolCache:
    """Loads one tool at a time, on first use: two may not fit into memory.

    Its facts are kept on disk, for a resumed run that needs the tool no more.
    """

    def __init__(self, ctx: StageContext) -> None:
        self._ctx = ctx
        self._file = ctx.partial / GENERATOR
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
            tool = kind.load(settings, self._ctx.host.device, self._ctx.settings.data.offline)
            facts = ToolFacts(tool.name, tool.license, tool.fingerprint(), tool.image_size)
            keep_json(self._file, asdict(facts))
            self._key = key
            self._tool = tool
        if row.needs:
            generators.check_takes(settings, row.needs, self._tool.takes)
        return self._tool

    def facts(self, settings: GenerateSettings) -> ToolFacts:
        """Of the tool that was loaded last, by this process or one before it."""
        if not self._file.exists():  # it was damaged after the last image
            self.get(settings)
        return ToolFacts(**json.loads(self._file.read_text(encoding="utf-8")))
