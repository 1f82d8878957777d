"""What ``compress list`` prints: per kind, the names in the table that the code itself uses."""

from __future__ import annotations

from collections.abc import Iterator

from compress.engine.errors import lookup
from compress.engine.stage import resolve

#: kind -> a table of names, or a function that gives them; imported when listed
KINDS = {
    "datasets": "compress.data.datasets.catalog:CATALOG",
    "teachers": "compress.cli.listing:teachers",
    "students": "compress.distill.students:architectures",
    "generators": "compress.generate.generators.table:GENERATORS",
    "decoders": "compress.generate.inversion.decoders:DECODERS",
    "strategies": "compress.generate.strategies.table:STRATEGIES",
    "prompts": "compress.generate.inversion.prompt_targets:PROMPT_TARGETS",
    "objectives": "compress.distill.objectives:OBJECTIVES",
    "presets": "compress.engine.config:preset_names",
    "methods": "compress.cli.listing:methods",
    "devices": "compress.budgets.devices:lines",
}


def names(kind: str) -> list[str]:
    """The names of a kind; ConfigError for an unknown kind."""
    table = resolve(lookup(KINDS, kind, "nothing of this kind to list"))
    return list(table() if callable(table) else table)


def teachers() -> Iterator[str]:
    """The embedded teacher, open_clip's, and timm's, which have no texts."""
    import open_clip
    import timm

    from compress.engine.packages import TIMM

    yield "petals"
    yield from (f"{model}/{tag}" for model, tag in open_clip.list_pretrained())
    yield from (f"{TIMM}{name}" for name in timm.list_pretrained())


def methods() -> Iterator[str]:
    """One aligned line per row of every paper: paper, preset, row, strategy x objective."""
    from compress.papers.methods import combinations

    rows = list(combinations())
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for *cells, objective in rows:
        padded = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        paper, preset, row, strategy = padded
        yield f"{paper}  --preset {preset}  {row}  {strategy}  x  {objective}"
