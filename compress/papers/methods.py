"""The five published systems as data: ``papers/*.yaml`` says what each table row is in terms of
this project's settings.

A row is a preset with overrides, so a method is a combination of a generation strategy and an
objective, and nothing else. Numbers under ``printed`` are the paper's own; settings under
``inferred`` are ours where the paper is silent, and a table made with them is a replica with
inferred settings, never a reproduction.
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
from compress.engine.errors import ConfigError, nearest

PAPERS = Path(__file__).parent
Overrides = dict[str, Any]
Row = dict[str, Overrides]  # name -> nested settings


#: arguments of a table that name what a scale may name too
NAMED = {"teacher": ("teacher", "name"), "generator": ("generate", "generator")}


class Scale(Section):
    """How big a table is made: on which data, how often, with which settings on top of a row's."""

    datasets: tuple[str, ...]
    shots: tuple[int | Literal["all"], ...]
    seeds: Annotated[int, Field(ge=1)]
    set: Overrides = {}
    rows: Row = {}  # overrides of single rows, which win


class Paper(Section):
    """One system and its table.

    Attributes:
        rows, extra: rows of the paper's table, and further ones of ours.
        signs: ``(better, worse)`` rows, the order that the paper finds.
        printed: dataset -> row -> top-1 in %, one number or one per number of shots of the scale
            "full".
        measured_on: the test split, the test sets of every domain, or training images that are no
            shots (for choosing).
        inferred: setting -> what we chose where the paper is silent.
    """

    name: str
    system: str
    title: str
    where: str
    preset: str
    rows: Row
    extra: Row = {}
    signs: tuple[tuple[str, str], ...] = ()
    printed: dict[str, dict[str, float | tuple[float, ...]]] = {}
    measured_on: Literal["test", "domains", "unused"] = "test"
    scales: dict[str, Scale]
    inferred: dict[str, str] = {}

    @property
    def rows_of_a_paper(self) -> bool:
        """Whether somebody else published it; "-" marks a table of ours."""
        return self.system != "-"

    def all_rows(self) -> Row:
        """The paper's rows and ours."""
        return {**self.rows, **self.extra}

    def overrides(self, row: str, scale: Scale) -> Overrides:
        """The settings of a row at a scale: the scale's, then the row's, then the scale's for that
        row.
        """
        return config.merge(scale.set, self.all_rows()[row], scale.rows.get(row, {}))

    def settings(
        self,
        row: str,
        scale: Scale,
        dataset: str | None,
        shots: int | Literal["all"],
        seed: int,
        **source: Any,
    ) -> Settings:
        """The resolved settings of one cell of the table.

        Args:
            source: further arguments of `api.settings_for`: ``data``, ``teacher``, ``generator``
                (which win over the scale's), and ``overrides``, which win over everything.
        """
        chosen = {**self.overrides(row, scale), "seed": seed}
        for argument, (section, field) in NAMED.items():
            if source.get(argument) is not None:
                chosen = config.merge(chosen, {section: {field: str(source[argument])}})
        chosen = config.merge(chosen, source.get("overrides") or {})
        source = {key: value for key, value in source.items() if key != "overrides"}
        if dataset == "petals" and "teacher" not in source:
            source = {**source, "teacher": "petals"}
        return api.settings_for(
            dataset, preset=self.preset, shots=shots, overrides=chosen, **source
        )

    def paper_says(self, dataset: str, row: str, shots: int | Literal["all"]) -> float | None:
        """The printed number of a cell, if there is one."""
        found = self.printed.get(dataset, {}).get(row)
        if isinstance(found, tuple):
            known = self.scales["full"].shots
            return found[known.index(shots)] if shots in known else None
        return found


@cache
def paper(name: str) -> Paper:
    """The paper of a name.

    Raises:
        ConfigError: there is none (with the nearest name), or its file does not say what a paper's
            file must.
    """
    if name not in names():
        raise ConfigError("unknown paper", got=repr(name), remedy=nearest(name, names()))
    try:
        found = Paper(name=name, **config.read_layer(PAPERS / f"{name}.yaml"))
    except ValidationError as error:
        raise ConfigError(f"papers/{name}.yaml is wrong", got=str(error.errors()[0])) from error
    unknown = {row for pair in found.signs for row in pair} - set(found.all_rows())
    unknown |= {row for scale in found.scales.values() for row in scale.rows} - set(
        found.all_rows()
    )
    if unknown:
        raise ConfigError(
            f"papers/{name}.yaml names rows that it does not have", got=sorted(unknown)
        )
    return found


def names() -> list[str]:
    """The papers there are."""
    return sorted(path.stem for path in PAPERS.glob("*.yaml"))


def combinations() -> Iterator[tuple[str, str, str, str, str]]:
    """Every row of every paper: (paper, preset, row, strategy, objective), read off the resolved
    settings.
    """
    for name in names():
        made = paper(name)
        for row in made.all_rows():
            plain = config.resolve(config.preset(made.preset), made.all_rows()[row])
            prompts = plain.generate.prompts.kind
            strategy = plain.generate.strategy + (
                f" ({prompts})" if plain.generate.strategy == "inversion" else ""
            )
            meta = plain.distill.meta.mode
            objective = plain.distill.objective + (f" + meta ({meta})" if meta != "none" else "")
            yield name, made.preset, row, strategy, objective
