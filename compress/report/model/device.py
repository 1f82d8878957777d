"""The parts of report.json that a device gives: latency, energy, breakdown, bench.json, budgets and
the search.

``model.py`` puts them together with the rest of the report.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(gt=0)]
Span = Annotated[float, Field(ge=0)]  # ms of a part, which may be too short for the clock
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Verdict = Literal["VALID", "DRIFTING", "THROTTLED", "NOISY_HOST", "TOO_FEW"]


class Part(BaseModel):
    """A group of fields; more may be added without a new schema number."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Energy(Part):
    """Energy of one inference, from a sensor of the machine that ran it."""

    mj_per_inference: Annotated[float, Field(ge=0)] | None
    watts: Annotated[float, Field(ge=0)] | None = None
    source: str


class Latency(Part):
    """One measured configuration; a percentile below its sample floor is null.

    ``quantiles_ms``: p0, p1, ..., p100 of the calls, null below the floor of the median.
    """

    model: str
    precision: str
    backend: str
    batch: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    includes: str
    n: Annotated[int, Field(ge=1)]
    p50_ms: Milliseconds | None
    p90_ms: Milliseconds | None
    p99_ms: Milliseconds | None
    verdict: Verdict
    provider: str | None = None
    reason: str = ""
    clock_mhz: list[float | None] | None = None  # before, after
    temperature_c: list[float | None] | None = None  # before, after
    versions: dict[str, str] = {}
    quantiles_ms: Annotated[list[Milliseconds], Field(min_length=101, max_length=101)] | None = None
    energy: Energy | None = None
    peak_rss_bytes: Count | None = None

    @model_validator(mode="after")
    def _rising(self) -> Latency:
        curve = self.quantiles_ms or []
        if any(a > b for a, b in zip(curve, curve[1:], strict=False)):
            raise ValueError("quantiles_ms must not fall")
        return self


class Breakdown(Part):
    """Where the time of one encoded image goes: medians of n calls, in ms."""

    decode_ms: Span
    geometry_ms: Span
    normalise_ms: Span
    compute_ms: Span
    post_ms: Span
    end_to_end_ms: Span
    bare_ms: Span | None = None  # decoding and the engine on a ready input: what cannot be saved
    over_bare: Annotated[float, Field(gt=0)] | None = None
    over_bare_ci95: Interval | None = None
    n: Count


class Speedup(Part):
    """Ratio of p50 latencies: teacher / shipped student; null where one of them was not
    measured.
    """

    p50: Annotated[float, Field(gt=0)] | None
    ci95: Interval | None


class Budget(BaseModel):
    """A limit the user set. ``pass`` on an estimate says what the estimate promises, not what was
    measured.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    what: str
    limit: float
    value: float | None
    passed: Annotated[bool | None, Field(alias="pass")]
    metric: str | None = None
    device: str | None = None
    unit: str | None = None
    basis: Literal["measured", "estimate"] | None = None
    why: str | None = None


class Candidate(Part):
    """A student that the search considered: what was estimated, and what was measured where it was
    trained.
    """

    student: str
    size: Count | None = None
    precision: str
    status: Literal["pruned", "trained", "chosen"]
    estimate: dict[str, Any] | None = None
    measured: dict[str, Any] | None = None
    top1: Fraction | None = None


class DeviceBundle(Part):
    """Which bundle was measured."""

    name: str
    manifest_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    default: str


class DeviceHost(Part):
    """The machine, as far as it tells of itself."""

    device: str | None = None
    gpu: str | None = None
    cpu: str | None = None
    arch: str | None = None
    cores_usable: Count | None = None
    governor: str | None = None
    power_mode: str | None = None


class Window(Part):
    """A stretch of a sustained run: seconds since its start, the median of its calls."""

    t_s: Annotated[float, Field(ge=0)]
    p50_ms: Milliseconds | None


class Device(Part):
    """What ``compress bench`` measured on one device (bench.json, shortened)."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    kind: Literal["clip2edge-bench"]
    mode: str
    command: str
    started: str
    host: DeviceHost
    bundle: DeviceBundle
    rows: Annotated[list[Latency], Field(min_length=1)]
    speedups: dict[str, Speedup]
    cold: dict[str, Any] = {}
    breakdown: dict[str, Breakdown] = {}
    sustained: list[Window] | None = None
    kernels: dict[str, dict[str, int]] = {}
    states: list[str] = []


class Block(Part):
    """A block of the student: points of top-1 that int8 costs there, ms that it saves there, and
    what was kept.
    """

    block: str
    drop_points: float
    saved_ms: float | None
    kept: str


class FrontPoint(Part):
    """One mixture: the blocks that stay float, and what it gives."""

    float_blocks: list[str]
    top1: Fraction
    p50_ms: Milliseconds | None
    size_bytes: Count


class Sensitivity(Part):
    """Which blocks may be quantized, and the mixture that was chosen (an index into ``front``)."""

    blocks: list[Block]
    front: list[FrontPoint]
    chosen: Count | None
    verdict: str
