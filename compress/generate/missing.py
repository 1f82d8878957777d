"""What has to be placed by hand before generators and decoders can be loaded."""

from __future__ import annotations

from pathlib import Path

from compress.engine.config import GenerateSettings, Settings
from compress.engine.hub import cached


def missing(run: Settings, online: bool) -> str | None:
    """As :func:`missing_generator`, of a whole run."""
    return missing_generator(run.generate, online)


def missing_generator(settings: GenerateSettings, online: bool) -> str | None:
    """What has to be placed by hand before generators and decoders can be loaded, or None; all
    candidates are looked at.

    Raises:
        ConfigError: no such generator, decoder or strategy, or a generator that does not take what
            the strategy gives it.
    """
    from compress.generate.base import wants_images
    from compress.generate.inversion.decoders import missing as missing_decoder
    from compress.generate.probing import candidates
    from compress.generate.stage import check as check_fits
    from compress.generate.stage import strategy_class

    check_fits(settings)
    look = {"generator": _missing_pipeline, "decoder": missing_decoder}
    used = [wanted for wanted in candidates(settings) if wants_images(wanted)]
    found = [look[strategy_class(wanted.strategy).tool](wanted, online) for wanted in used]
    return "\n  - ".join(dict.fromkeys(text for text in found if text)) or None


def _missing_pipeline(settings: GenerateSettings, online: bool) -> str | None:
    from compress.generate.generators.table import locate

    parts = locate(settings.generator).parts
    lost = [part for part in parts if not Path(part).expanduser().is_dir() and not cached(part)]
    if online or not lost:
        return None
    target = "PATH/prior and PATH/decoder" if len(parts) > 1 else "PATH"
    return (
        f"generator {settings.generator} ({' and '.join(lost)}): put it into {target}, as "
        "diffusers saves pipelines, and "
        "say --generator PATH (or do without: --set generate.strategy=none)"
    )
