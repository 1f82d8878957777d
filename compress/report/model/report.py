"""report.json, the public interface: strict about what is promised, open to what is added later.

``schema.json`` beside this file is the same contract for readers without Python; a test keeps the
two equal. ``python -m compress.report.model.report`` writes it after a change of the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.json_schema import GenerateJsonSchema

from compress.engine.errors import Clip2EdgeError
from compress.evaluate.changes import Changes
from compress.evaluate.comparison import PairedComparison
from compress.evaluate.metrics import ReliabilityBin
from compress.report.model import build
from compress.report.model.confidence import ReportConfidence
from compress.report.model.images import ReportImages
from compress.report.model.part import OPEN, Count, Fraction, Interval, Milliseconds, Part
from compress.report.model.search import BudgetRow, CandidateRow, ReportSensitivity
from runtime.bench import older
from runtime.bench.breakdown import Breakdown
from runtime.bench.cold import Cold
from runtime.bench.latency import COMPUTE, LatencyRow, Ratio
from runtime.bench.report import BenchReport

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("schema.json")


class PerClass(Part):
    """Test images of every class; accuracies per model variant are further fields."""

    __pydantic_extra__: dict[str, list[Fraction | None]] = Field(init=False)

    support: list[Count] = []

    def of(self, variant: str) -> list[Fraction | None]:
        """Accuracy of every class, None without test images; empty for an unknown variant."""
        return self.__pydantic_extra__.get(variant, [])


class ReportSpeedup(Part):
    """Ratio of p50 latencies, teacher over shipped student; null if one was not measured."""

    p50: Milliseconds | None
    ci95: Interval | None


@dataclass(config=OPEN, frozen=True, kw_only=True)
class ReportDevice(BenchReport):
    """What ``compress bench`` measured on one device (bench.json, shortened)."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    kind: Literal["clip2edge-bench"]
    rows: Annotated[list[LatencyRow], Field(min_length=1)]


class Report(Part):
    """The whole of report.json. Keys of its mappings are model variants ("student_int8")."""

    model_config = ConfigDict(title="clip2edge report")

    schema_: Annotated[Literal[1], Field(alias="schema")]
    headline: str
    dataset: build.ReportDataset
    teacher: build.ReportTeacher
    student: build.ReportStudent
    synthetic: build.ReportSynthetic
    accuracy: dict[str, build.Accuracy]
    paired: dict[str, PairedComparison]
    changes: dict[str, Changes] = {}
    domains: build.ReportDomains | None = None
    images: ReportImages | None = None
    recipe: build.ReportRecipe | None = None
    latency: list[LatencyRow]
    breakdown: dict[str, Breakdown] | None = None
    speedup_vs_teacher: ReportSpeedup
    speedups: dict[str, Ratio] = {}
    size_bytes: dict[str, Count]
    budgets: list[BudgetRow]
    candidates: list[CandidateRow] = []
    devices: list[ReportDevice] = []
    sensitivity: ReportSensitivity | None = None
    verdicts: build.Verdicts
    quantization: build.ReportQuantization = build.ReportQuantization()
    parity: build.ReportParity = build.ReportParity()
    calibration: dict[str, list[ReliabilityBin]] = {}
    confidence: ReportConfidence = ReportConfidence()
    per_class: PerClass = PerClass()
    confusion: dict[str, list[tuple[Count, Count, Count]]] = {}
    cold: dict[str, Cold] = {}
    timings_s: dict[str, Annotated[float, Field(ge=0)]]
    environment: build.ReportEnvironment
    provenance: build.ReportProvenance
    states: list[str]
    repeat: str

    @property
    def shipped(self) -> str:
        """The model variant that is the bundle's default."""
        return self.student.shipped

    def compute_row(self, variant: str) -> LatencyRow | None:
        """The compute row of a variant for one image, on the fewest threads."""
        kind = (variant, 1, COMPUTE)
        rows = [row for row in self.latency if (variant_of(row), row.batch, row.includes) == kind]
        return min(rows, key=lambda row: row.threads, default=None)

    def p50_ms(self, variant: str) -> float | None:
        """The compute p50 of one image on the fewest threads."""
        row = self.compute_row(variant)
        return row.p50_ms if row else None


def variant_of(row: LatencyRow) -> str:
    """The model variant of a row: "teacher", or "student_int8" for precision "int8"."""
    return "teacher" if row.model == "teacher" else student_variant(row.precision)


def student_variant(precision: str) -> str:
    """The variant of a precision: "int8.trt" -> "student_int8_trt"."""
    return f"student_{precision.replace('.', '_')}"


def parse(report: Mapping[str, object]) -> Report:
    """The content of report.json as typed values.

    Raises: Clip2EdgeError: names the first path that does not keep the contract.
    """
    try:
        return Report.model_validate(_completed(report))
    except ValidationError as error:
        raise refusal("report.json does not keep its contract", error) from error


def _completed(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report of any version of the schema with today's fields."""
    out = older.completed(report)
    if isinstance(pairs := out.get("paired"), dict):
        empty = {"n": None, "only_a": None, "only_b": None}
        out["paired"] = {
            name: {**empty, **row} if isinstance(row, dict) else row for name, row in pairs.items()
        }
    verdicts = out.get("verdicts")
    if isinstance(verdicts, dict) and isinstance(gates := verdicts.get("gates"), list):
        rows = [{"unit": "", **gate} if isinstance(gate, dict) else gate for gate in gates]
        out["verdicts"] = {**verdicts, "gates": rows}
    if isinstance(devices := out.get("devices"), list):
        bench = older.completed_bench
        out["devices"] = [bench(row) if isinstance(row, dict) else row for row in devices]
    return out


def refusal(what: str, error: ValidationError) -> Clip2EdgeError:
    """The error that names the first path that is wrong."""
    first = error.errors()[0]
    what += f" at {'.'.join(map(str, first['loc']))}"
    got, expected = repr(first["input"])[:80], first["msg"].removeprefix("Value error, ")
    remedy = f"see {SCHEMA_FILE.name} (schema {SCHEMA})"
    return Clip2EdgeError(what, got=got, expected=expected, remedy=remedy)


class Untitled(GenerateJsonSchema):
    """A schema whose fields have no titles that only repeat their names."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def json_schema() -> str:
    """The text of ``schema.json``."""
    schema = Report.model_json_schema(by_alias=True, schema_generator=Untitled)
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json_schema(), encoding="utf-8")
