"""What every group of settings is: frozen and strict, its numbers limited on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from compress.engine.text import user_path

MOST = 2**31 - 1  # of anything that is counted: beyond it lies a typing error
Count = Annotated[int, Field(ge=1, le=MOST)]
Some = Annotated[int, Field(ge=1, le=65_536)]  # of what is in memory at once
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
Noises = Annotated[int, Field(ge=1, le=100_000)]  # of a diffusion, one after the other
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Threads = Annotated[int, Field(ge=1, le=1024)]  # as the engine takes them
Pixels = Annotated[int, Field(ge=16, le=1024)]
LEAST, LARGEST = 1e-15, 1e6  # of a rate, a weight, a ratio: beyond them lies a typing error
Positive = Annotated[float, Field(ge=LEAST, le=LARGEST)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]  # as the commands that measure take them
Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]  # of a moving average
Share = Annotated[float, Field(gt=0, le=1)]


def _not_empty(path: object) -> object:
    """ValueError for an empty path, which is the current folder to Python."""
    if path == "":
        raise ValueError('a path that is not empty; "." is the current folder')
    return path


UserPath = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(user_path)]


class Section(BaseModel):
    """A frozen group of settings; unknown names are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: object, info: ValidationInfo) -> object:
        """Refuses true as a number, which is 1 to pydantic, and text that no file name can hold."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (kind, *get_args(kind)):
            raise ValueError("a value, not true or false")
        if isinstance(value, str) and "\0" in value:
            raise ValueError("text without a null character")
        return value
