"""Loading what a strategy makes images with: a generator or a decoder, when the first image needs
it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from compress.engine.config import GenerateSettings
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.generate.base import Strategy
from compress.generate.generators.table import check_takes, load_generator

# What images are made with -> the settings that decide what is loaded; all others are given to each
# call.
LOADED = {
    "generator": frozenset(
        {"generator", "dtype", "height", "scheduler", "prior_steps", "text_via_prior"}
    ),
    "decoder": frozenset({"inversion", "dtype"}),
}


class Tools:
    """One generator or decoder at a time, for two may not fit into memory.

    ``partial/generator.json`` keeps what the report says about it, for a resumed run that needs it
    no more.
    """

    def __init__(self, ctx: StageContext) -> None:
        self._ctx, self._file = ctx, ctx.partial / "generator.json"
        self._loaded: tuple[object, Any] | None = None

    def get(self, settings: GenerateSettings, strategy: Strategy) -> Any:
        """What the settings name, of the sort the strategy works with.

        Raises:
            ConfigError: a generator that does not take what the strategy gives it; whatever its
                loader refuses.
        """
        key = strategy.tool, settings.model_dump_json(include=set(LOADED[strategy.tool]))
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # let go of the old one first
            made = LOADERS[strategy.tool](
                settings, self._ctx.host.device, self._ctx.settings.data.offline
            )
            about = {
                "name": made.name,
                "license": made.license,
                "fingerprint": made.fingerprint(),
                "image_size": made.image_size,
            }
            write_json(self._file, about)
            self._loaded = key, made
        tool = self._loaded[1]
        if strategy.needs:
            check_takes(settings, strategy.needs, tool.takes)
        return tool

    def about(self) -> dict[str, Any]:
        """Name, license, fingerprint and image size of what was loaded last, by this process or one
        before it.
        """
        kept: dict[str, Any] = json.loads(self._file.read_text())
        return kept


def _load_generator(settings: GenerateSettings, device: str, offline: bool) -> Any:
    return load_generator(settings, device, offline=offline)


def _load_decoder(settings: GenerateSettings, device: str, offline: bool) -> Any:
    from compress.generate.inversion.decoders import load_decoder

    return load_decoder(settings, device, offline)


# What images are made with -> its loader.
LOADERS: dict[str, Callable[[GenerateSettings, str, bool], Any]] = {
    "generator": _load_generator,
    "decoder": _load_decoder,
}
