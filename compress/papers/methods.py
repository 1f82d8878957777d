"""Papers as data: ``*.yaml`` describes every row of a table in terms of this project's settings.

A row is a preset with overrides: a generation strategy times an objective. Numbers under
``printed`` are the paper's own. Settings under ``inferred`` are ours where the paper is silent; a
table made with them is a replica with inferred settings, not a reproduction.

A file describes the paper's main table; under ``tables`` are its further ones by name. What one of
those says of a row, a scale or an answer is laid over what the main table says of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from compress import api
from compress.engine import config
from compress.engine.config import Layer, Section, Settings
from compress.engine.errors import ConfigError, require_known
from compress.engine.options import EMBEDDED_DATASETS

PAPERS = Path(__file__).parent
MAIN = "main"
AVERAGE = "average"  # under ``printed``: of all datasets
Overrides = dict[str, Any]  # nested settings
Rows = dict[str, Overrides]
Shots = int | Literal["all"]
Number = float | None  # None: the paper has a dash

#: options of a table -> the setting that a scale may fix too
OPTIONS = {"teacher": ("teacher", "name"), "generator": ("generate", "generator")}
#: what every table of a paper shares
SHARED = ("system", "title", "where", "preset")


class Scale(Section):
    """The size of a table: its datasets, shots and seeds, and settings on top of a row's."""

    datasets: tuple[str, ...]
    shots: tuple[Shots, ...]
    seeds: Annotated[int, Field(ge=1)]
    set: Overrides = {}
    rows: Rows = {}  # overrides of single rows, which win
    without: tuple[str, ...] = ()  # rows that the world of this scale cannot have


class Paper(Section):
    """One system and one of its tables.

    ``printed`` maps a dataset and a row to top-1 in %: one number, or one per number of shots of
    the scale "full". ``printed[AVERAGE]`` are means over the datasets.
    """

    name: str
    table: str = MAIN
    caption: str = ""  # of the table
    system: str
    title: str
    where: str
    preset: str
    rows: Rows  # of the paper's table
    extra: Rows = {}  # further ones of ours
    # what answers, a row of ``cells.ANSWERS``, where it is not the row's exported student
    answers: dict[str, Literal["student", "teacher", "sampling"]] = {}
    shots_of: dict[str, tuple[Shots, ...]] = {}  # rows that do not exist at all numbers of shots
    not_made: dict[str, str] = {}  # rows and more of the paper's table that are not made here: why
    signs: tuple[tuple[str, str], ...] = ()  # (better, worse) rows, the paper's claims
    printed: dict[str, dict[str, float | tuple[Number, ...]]] = {}
    # a row of ``cells.MEASURES``; sizes: parameters and operations, for which nothing is built
    measured_on: Literal["test", "domains", "unused", "sizes"] = "test"
    scales: Annotated[dict[str, Scale], Field(min_length=1)]
    inferred: dict[str, str] = {}  # setting -> our choice where the paper is silent
    tables: tuple[str, ...] = ()  # the names of the paper's further tables

    @property
    def published(self) -> bool:
        """Whether the table is a paper's; "-" marks one of ours."""
        return self.system != "-"

    @property
    def command(self) -> tuple[str, ...]:
        """What ``compress reproduce`` is told to make this table."""
        return (self.name,) if self.table == MAIN else (self.name, "--table", self.table)

    def all_rows(self) -> Rows:
        """The paper's rows and ours."""
        return {**self.rows, **self.extra}

    def answer(self, row: str) -> str:
        """What gives a row's answers: a name of ``cells.ANSWERS``."""
        return self.answers.get(row, "student")

    def rows_of(self, scale: Scale) -> tuple[str, ...]:
        """The rows that a scale has."""
        return tuple(row for row in self.all_rows() if row not in scale.without)

    def exists(self, row: str, shots: Shots) -> bool:
        """Whether a row has a cell at this number of shots; at one the table lacks, yes."""
        own = self.shots_of.get(row)
        known = {shots for scale in self.scales.values() for shots in scale.shots}
        return own is None or shots in own or shots not in known

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


def paper(name: str, table: str = MAIN) -> Paper:
    """A table of the paper of a name.

    ConfigError for an unknown paper or table, with the nearest name, or for an invalid file.
    """
    require_known(name, names(), "unknown paper")
    return _read(name)[_known_table(name, table)]


def _known_table(name: str, table: str) -> str:
    require_known(table, _read(name), f"{name} has no such table")
    return table


@cache
def _read(name: str) -> dict[str, Paper]:
    """The tables of a paper by name, the main one first."""
    layer = config.read_layer(PAPERS / f"{name}.yaml")
    further = layer.pop("tables", None) or {}
    named = {"name": name, "tables": tuple(further)}
    return {
        MAIN: _checked({**layer, **named}),
        **{table: _checked(_further(layer, own) | named, table) for table, own in further.items()},
    }


def _further(main: Layer, own: Layer) -> Layer:
    """A further table, laid over what the main one says of the same rows and scales.

    Its printed figures are the main table's unless it has its own.
    """
    every = {**main["rows"], **main.get("extra", {})}
    table = {**{key: main[key] for key in SHARED}, "measured_on": main.get("measured_on", "test")}
    table |= own
    for part in ("rows", "extra"):
        said = (own.get(part) or {}).items()
        table[part] = {row: config.merge(every.get(row, {}), layer or {}) for row, layer in said}
    rows = {*table["rows"], *table["extra"]}
    for part in ("answers", "shots_of"):
        both = {**main.get(part, {}), **own.get(part, {})}
        table[part] = {row: value for row, value in both.items() if row in rows}
    table["inferred"] = {**main.get("inferred", {}), **own.get("inferred", {})}
    table["scales"] = {
        scale: _further_scale(main["scales"].get(scale, {}), said or {}, rows)
        for scale, said in own.get("scales", {}).items()
    }
    if "printed" not in own and "full" in table["scales"]:
        shots = main["scales"]["full"]["shots"], table["scales"]["full"]["shots"]
        table["printed"] = _same_figures(main.get("printed", {}), rows, *shots)
    return table


def _further_scale(main: Layer, own: Layer, rows: set[str]) -> Layer:
    """The scale of a further table: the main table's, its rows left out, and its own over it."""
    under = {
        **main,
        "rows": {row: layer for row, layer in main.get("rows", {}).items() if row in rows},
        "without": [row for row in main.get("without", ()) if row in rows],
    }
    return config.merge(under, own)


def _same_figures(
    printed: dict[str, Layer], rows: set[str], old: list[Shots], new: list[Shots]
) -> dict[str, Layer]:
    """Printed figures of ``rows`` by the numbers of shots ``new``; they are listed by ``old``."""

    def at_new(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [value[old.index(shots)] if shots in old else None for shots in new]

    return {
        dataset: {row: at_new(value) for row, value in figures.items() if row in rows}
        for dataset, figures in printed.items()
    }


def _checked(layer: Layer, table: str = MAIN) -> Paper:
    """The table of a layer; ConfigError if it is invalid or names rows that it does not have."""
    file = f"papers/{layer['name']}.yaml" + ("" if table == MAIN else f", table {table},")
    try:
        made = Paper(table=table, **layer)
    except ValidationError as error:
        raise ConfigError(f"{file} is wrong", got=str(error.errors()[0])) from error
    named = {row for pair in made.signs for row in pair} | {*made.answers, *made.shots_of}
    named |= {row for scale in made.scales.values() for row in (*scale.rows, *scale.without)}
    unknown = sorted(named - set(made.all_rows()))
    if unknown:
        raise ConfigError(f"{file} names rows that it does not have", got=unknown)
    unprinted = {row for rows in made.printed.values() for row in rows}
    unprinted -= {*made.all_rows(), *made.not_made}
    if unprinted:
        what = f"{file} prints rows that it neither has nor says why it has not"
        raise ConfigError(what, got=sorted(unprinted))
    return made


def names() -> list[str]:
    """The names of the papers."""
    return sorted(path.stem for path in PAPERS.glob("*.yaml"))


def tables(name: str) -> list[Paper]:
    """All tables of a paper, the main one first."""
    require_known(name, names(), "unknown paper")
    return list(_read(name).values())


def combinations() -> Iterator[tuple[str, str, str, str, str]]:
    """(paper and table, preset, row, strategy, objective) of all rows of all tables, as resolved.

    A row that builds no student has its answer in place of an objective.
    """
    for table in (table for name in names() for table in tables(name)):
        for row, overrides in table.all_rows().items():
            settings = config.resolve(config.preset(table.preset), overrides)
            strategy = settings.generate.strategy
            objective = settings.distill.objective
            if strategy == "inversion":
                strategy += f" ({settings.generate.prompts.kind})"
            if settings.distill.meta.mode != "none":
                objective += f" + meta ({settings.distill.meta.mode})"
            if table.answer(row) == "teacher":
                strategy, objective = "none", "the teacher's own answers"
            elif table.answer(row) == "sampling":
                objective += ", sampled"
            yield " ".join(table.command), table.preset, row, strategy, objective
