"""The parts of report.json about choices: limits, candidates of the search, and float blocks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from compress.report.model.part import Count, Fraction, Milliseconds, Part


class BudgetRow(Part):
    """A limit of the user's. ``pass`` on an estimate is what the estimate promises.

    ``precision`` names the file that was judged.
    """

    model_config = ConfigDict(populate_by_name=True)

    what: str
    limit: float
    value: float | None
    passed: Annotated[bool | None, Field(alias="pass")]
    metric: str | None = None
    device: str | None = None
    unit: str | None = None
    basis: Literal["measured", "estimate"] | None = None
    why: str | None = None
    precision: str | None = None


class CandidateCost(Part):
    """What a candidate costs on one device, measured or estimated."""

    device: str | None = None
    p50_ms: float | None = None
    size_bytes: float | None = None


class CandidateRow(Part):
    """A student that the search considered: estimates, and measurements if it was timed."""

    student: str
    size: Count | None = None
    precision: str
    status: Literal["pruned", "trained", "chosen"]
    estimate: CandidateCost | None = None
    measured: CandidateCost | None = None
    size_bytes: float | None = None
    top1: Fraction | None = None
    why: str | None = None


class SensitivityBlock(Part):
    """A block of the student: points of top-1 that int8 costs, ms it saves, and what was kept."""

    block: str
    drop_points: float
    saved_ms: float | None
    kept: str
    drop_ci95: tuple[float, float] | None = None
    saved_ci95_ms: tuple[float, float] | None = None


class MixedVariant(Part):
    """A model with some blocks in float, the others in int8."""

    float_blocks: list[str]
    top1: Fraction
    p50_ms: Milliseconds | None
    size_bytes: Count


class ReportSensitivity(Part):
    """Which blocks may be quantized, and the variant that was chosen (an index into ``front``)."""

    blocks: list[SensitivityBlock]
    front: list[MixedVariant]
    chosen: Count | None
    verdict: str
    alone: bool = True  # a block's drop: that block alone in int8, else beside all in int8
