"""What ``compress list`` prints: per kind, the names in the table that the code itself uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

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
STUDENTS = Path(__file__).parents[1] / "search" / "known.yaml"


def names(kind: str) -> list[str]:
    """The names of a kind; ConfigError for an unknown kind."""
    table = resolve(lookup(KINDS, kind, "nothing of this kind to list"))
    return list(table() if callable(table) else table)


def lines(kind: str, match: str = "", everything: bool = False) -> Iterator[str]:
    """What is printed of a kind: a name first, and what is known of it.

    Args:
        match: only names that contain this.
        everything: of students all that timm has, not the measured ones alone.

    Raises:
        ConfigError: an unknown kind.
    """
    told = TOLD.get(kind)
    if told is None or (kind == "students" and (match or everything)):
        yield from (name for name in names(kind) if match in name)
        return
    rows = [row for row in told() if match in row[0]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
    if kind == "students":
        yield "any timm model can be one: compress list students --all, or a part of its name"


def told_datasets() -> Iterator[tuple[str, ...]]:
    """Name, title, number of classes, domains and license."""
    from compress.data.datasets.catalog import CATALOG

    for name, row in CATALOG.items():
        domains = f"{len(row.domains)} domains" if row.domains else ""
        yield name, row.title, f"{row.classes:,} classes", domains, f"license: {row.license}"


def told_presets() -> Iterator[tuple[str, ...]]:
    """Name, and the first sentence of the preset's file."""
    from compress.engine.config import preset_names
    from compress.engine.config.layers import PRESETS

    for name in preset_names():
        text = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")
        comment = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
        yield name, " ".join(comment).partition(". ")[0].rstrip(".")


def told_students() -> Iterator[tuple[str, ...]]:
    """Name, size of the input, parameters, operations, what int8 gains and where it is good."""
    import yaml

    yield "student", "edge", "params", "GFLOPs", "int8 over fp32", "measured on"
    known: Mapping[str, Mapping[str, str | float]]
    known = yaml.safe_load(STUDENTS.read_text(encoding="utf-8"))
    for name, row in known.items():
        gain = f"{row['int8']:g}×" if row["int8"] else "not measured"
        gain += " (fp32 ships)" if row["int8"] and float(row["int8"]) < 1 else ""
        size = f"{row['params']:g} M", f"{row['gflops']:g}"
        yield name, f"{row['edge']} px", *size, gain, str(row["good_on"])


#: kinds of which more than names is told -> rows of cells, the name first
TOLD: Mapping[str, Callable[[], Iterator[tuple[str, ...]]]] = {
    "datasets": told_datasets,
    "presets": told_presets,
    "students": told_students,
}


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
