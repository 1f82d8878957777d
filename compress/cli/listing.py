"""What ``compress list`` prints: one table row per kind of name, each read from the table that the
code itself uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from compress.engine.errors import ConfigError, nearest


def _datasets() -> Iterable[str]:
    from compress.data.catalog import CATALOG

    return CATALOG


def _teachers() -> Iterable[str]:
    import open_clip

    return ["petals", *(f"{model}/{tag}" for model, tag in open_clip.list_pretrained())]


def _students() -> Iterable[str]:
    from compress.distill.students import architectures

    return architectures()


def _generators() -> Iterable[str]:
    from compress.generate.generators.table import GENERATORS

    return GENERATORS


def _strategies() -> Iterable[str]:
    from compress.generate.stage import STRATEGIES

    return STRATEGIES


def _objectives() -> Iterable[str]:
    from compress.distill.objectives import OBJECTIVES

    return OBJECTIVES


def _decoders() -> Iterable[str]:
    from compress.generate.inversion.decoders import DECODERS

    return DECODERS


def _prompts() -> Iterable[str]:
    from compress.generate.inversion.prompt_targets import PROMPT_TARGETS

    return PROMPT_TARGETS


def _methods() -> Iterable[str]:
    """One aligned line per row of every paper: paper, preset, row, strategy x objective."""
    from compress.papers.methods import combinations

    rows = list(combinations())
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for paper, preset, row, strategy, objective in rows:
        yield (
            f"{paper:{widths[0]}}  --preset {preset:{widths[1]}}  {row:{widths[2]}}  "
            f"{strategy:{widths[3]}}  x  {objective}"
        )


def _presets() -> Iterable[str]:
    from compress.engine.config import preset_names

    return preset_names()


def _devices() -> Iterable[str]:
    from compress.budgets.devices import lines

    return lines()


KINDS: dict[str, Callable[[], Iterable[str]]] = {
    "datasets": _datasets,
    "teachers": _teachers,
    "students": _students,
    "generators": _generators,
    "decoders": _decoders,
    "strategies": _strategies,
    "prompts": _prompts,
    "objectives": _objectives,
    "presets": _presets,
    "methods": _methods,
    "devices": _devices,
}


def names(kind: str) -> list[str]:
    """The names of a kind.

    Raises:
        ConfigError: unknown kind, with the nearest one.
    """
    if kind not in KINDS:
        raise ConfigError(
            "nothing of this kind to list", got=repr(kind), remedy=nearest(kind, KINDS)
        )
    return list(KINDS[kind]())
