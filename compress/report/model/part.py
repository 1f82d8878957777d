"""What every part of report.json shares: strict about what is promised, open to later fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

OPEN = ConfigDict(extra="allow", allow_inf_nan=False)

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Some = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[float, Field(gt=0)]
Interval = tuple[float, float]


class Part(BaseModel):
    """A group of fields; more may be added without a new schema number."""

    model_config = OPEN
