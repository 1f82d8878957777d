"""The section ``budget`` of a run's settings: limits, and how to search for what keeps them. Part of no stage's identity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from compress.budgets.grammar import parse_budget

Share = Annotated[float, Field(gt=0, le=1)]


class BudgetSettings(BaseModel):
    """Limits, and the search for a student that keeps them (successive halving, Jamieson and Talwalkar 2016)."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    limits: tuple[str, ...] = ()  # e.g. "p50<=5ms@orin-nano"; () = no budget
    search: bool = True  # False: only judge the build that the other settings describe
    students: tuple[str, ...] = ()  # () = the zoo of the run's world, and distill.student
    sizes: tuple[Annotated[int, Field(ge=16, le=1024)], ...] = ()  # () = image.size; smaller ones only if nothing fits
    most: Annotated[int, Field(ge=1)] = 6  # candidates that are trained at all, the largest that fit
    rungs: tuple[Share, ...] = (0.25, 0.5)  # shares of distill.steps after which candidates are compared
    keep: Share = 0.5  # of the candidates from one rung to the next
    held_out: Annotated[int, Field(ge=1)] = 16  # fresh synthetic images a class that candidates are compared on
    seconds: Annotated[float, Field(gt=0)] = 0.5  # measuring each untrained file on this machine
    calibration: tuple[Path, ...] = ()  # files of `compress estimate --save`

    @field_validator("limits")
    @classmethod
    def _readable(cls, limits: tuple[str, ...]) -> tuple[str, ...]:
        parse_budget(*limits)
        return limits
