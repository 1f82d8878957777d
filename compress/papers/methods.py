"""Papers as data: ``*.yaml`` describes every row of a table in terms of this project's settings.

A row is a preset with overrides: a generation strategy times an objective. Numbers under
``printed`` are the paper's own. Settings under ``inferred`` are ours where the paper is silent; a
table made with them is a replica with inferred settings, not a reproduction.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from compress import api
from compress.engine import config
from compress.engine.config import Section, Settings
from compress.engine.errors import ConfigError, require_known
from compress.engine.options import EMBEDDED_DATASETS

PAPERS = Path(__file__).parent
Overrides = dict[str, Any]  # nested settings
Rows = dict[str, Overrides]
Shots = int | Literal["all"]

#: options of a table -> the setting that a scale may fix too
OPTIONS = {"teacher": ("teacher", "name"), "generator": ("generate", "generator")}


class Scale(Section):
    """The size of a table: its datasets, shots and seeds, and settings on top of a row's."""

    datasets: tuple[str, ...]
    shots: tuple[Shots, ...]
    seeds: Annotated[int, Field(ge=1)]
    set: Overrides = {}
    rows: Rows = {}  # overrides of single rows, which win


class Paper(Section):
    """One system and its table.

    ``printed`` maps a dataset and a row to top-1 in %: one number, or one per number of shots of
    the scale "full".
    """

    name: str
    system: str
    title: str
    where: str
    preset: str
    rows: Rows  # of the paper's table
    extra: Rows = {}  # further ones of ours
    signs: tuple[tuple[str, str], ...] = ()  # (better, worse) rows, the paper's claims
    printed: dict[str, dict[str, float | tuple[float, ...]]] = {}
    measured_on: Literal["test", "domains", "unused"] = "test"  # a row of ``cells.MEASURES``
    scales: dict[str, Scale]
    inferred: dict[str, str] = {}  # setting -> our choice where the paper is silent

    @property
    def published(self) -> bool:
        """Whether the table is a paper's; "-" marks one of ours."""
        return self.system != "-"

    def all_rows(self) -> Rows:
        """The paper's rows and ours."""
        return {**self.rows, **self.extra}

    def overrides(self, row: str, scale: Scale) -> Overrides:
        """The settings of a row: the scale's, then the row's, then the scale's for that row."""
        return config.merge(scale.set, self.all_rows()[row], scale.rows.get(row, {}))

    def settings(
        self, row: str, scale: Scale, dataset: str | None, shots: Shots, seed: int, **options: Any
    ) -> Settings:
        """The resolved settings of one cell.

        Of the options of `api.settings_for`, ``data``, ``teacher`` and ``generator`` win over the
        scale's, and ``overrides`` over everything.
        """
        overrides = {**self.overrides(row, scale), "seed": seed}
        for option, (section, field) in OPTIONS.items():
            if options.get(option) is not None:
                overrides = config.merge(overrides, {section: {field: str(options[option])}})
        overrides = config.merge(overrides, options.pop("overrides", None) or {})
        if dataset in EMBEDDED_DATASETS:
            options.setdefault("teacher", "petals")
        return api.settings_for(
            dataset, preset=self.preset, shots=shots, overrides=overrides, **options
        )

    def printed_top1(self, dataset: str, row: str, shots: Shots) -> float | None:
        """The paper's number of a cell, if it prints one."""
        value = self.printed.get(dataset, {}).get(row)
        if isinstance(value, tuple):
            columns = self.scales["full"].shots
            return value[columns.index(shots)] if shots in columns else None
        return value


@cache
def paper(name: str) -> Paper:
    """The paper of a name; ConfigError if unknown, with the nearest name, or an invalid file."""
    require_known(name, names(), "unknown paper")
    try:
        table = Paper(name=name, **config.read_layer(PAPERS / f"{name}.yaml"))
    except ValidationError as error:
        raise ConfigError(f"papers/{name}.yaml is wrong", got=str(error.errors()[0])) from error
    named = {row for pair in table.signs for row in pair}
    named |= {row for scale in table.scales.values() for row in scale.rows}
    unknown = sorted(named - set(table.all_rows()))
    if unknown:
        raise ConfigError(f"papers/{name}.yaml names rows that it does not have", got=unknown)
    return table


def names() -> list[str]:
    """The names of the papers."""
    return sorted(path.stem for path in PAPERS.glob("*.yaml"))


def combinations() -> Iterator[tuple[str, str, str, str, str]]:
    """(paper, preset, row, strategy, objective) of every row of every paper, as resolved."""
    for name in names():
        table = paper(name)
        for row, overrides in table.all_rows().items():
            settings = config.resolve(config.preset(table.preset), overrides)
            strategy = settings.generate.strategy
            objective = settings.distill.objective
            if strategy == "inversion":
                strategy += f" ({settings.generate.prompts.kind})"
            if settings.distill.meta.mode != "none":
                objective += f" + meta ({settings.distill.meta.mode})"
            yield name, table.preset, row, strategy, objective
