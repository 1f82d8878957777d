"""report.json, the public interface: strict about what is promised, open to what is added later.

``schema.json`` beside this file is the same contract for readers without Python; a test keeps the
two equal. ``model_device.py`` holds the parts about speed, devices and budgets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from compress.engine.errors import Clip2EdgeError
from compress.report.model.device import (
    Breakdown,
    Budget,
    Candidate,
    Count,
    Device,
    Fraction,
    Interval,
    Latency,
    Part,
    Sensitivity,
    Speedup,
)

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("schema.json")


class Dataset(Part):
    """What was classified."""

    name: str
    classes: Annotated[int, Field(ge=1)]
    shots: Count | Literal["all"]
    train_images: Count | None = None
    test_images: Count
    class_names: list[str]
    domain: str | None = None


class Teacher(Part):
    """The CLIP model that was compressed; both accuracies are null without test images."""

    name: str
    params: Count | None
    top1: Fraction | None
    zero_shot_top1: Fraction | None


class Student(Part):
    """The small model."""

    name: str
    params: Count | None


class Probe(Part):
    """A candidate for the generator's settings, scored by the teacher on a small batch."""

    candidate: dict[str, Any]
    agreement: Fraction | None = None
    diversity: float | None = None
    gap: float | None = None
    score: float | None = None
    refused: str | None = None  # why nothing could be made to be scored


class Probing(Part):
    """Every candidate, and the row that the bulk was generated with."""

    rows: list[Probe]
    chosen: Count | None


class Synthetic(Part):
    """The generated training images; distances are 1 - cosine of teacher features."""

    images: Count
    per_class: Count | None
    strategy: str
    diversity: float | None = None
    diversity_real: float | None = None
    domain_gap: float | None = None
    probing: Probing | None = None


class Accuracy(Part):
    """One form of a model on the real test split, measured with the exported file."""

    n: Annotated[int, Field(ge=1)]
    top1: Fraction
    ci95: Interval
    macro_f1: Fraction
    ece: Fraction
    nll: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _ordered(self) -> Accuracy:
        if not self.ci95[0] <= self.top1 <= self.ci95[1]:
            raise ValueError(f"top1 {self.top1} must lie inside ci95 {self.ci95}")
        return self


class DomainAccuracy(Part):
    """One form on the test set of one domain."""

    n: Annotated[int, Field(ge=1)]
    top1: Fraction
    ci95: Interval


class Domains(Part):
    """Accuracy per domain and form; the means give every domain the same weight.

    ``own`` is the domain of the shots, and first in ``order``.
    """

    own: str
    order: list[str]
    tests: dict[str, dict[str, DomainAccuracy]]
    mean_top1: dict[str, Fraction]
    mean_top1_others: dict[str, Fraction]


class Recipe(Part):
    """How the student was made; ``preset`` is the one that describes the run best."""

    strategy: str
    objective: str | None
    preset: str | None


class Comparison(Part):
    """Two forms on the same test images; difference = first minus second."""

    mcnemar_p: Fraction
    agreement: Fraction
    difference: Annotated[float, Field(ge=-1, le=1)]
    ci95: Interval


class ClassChange(Part):
    """One class between two forms: fractions right, images lost and gained, exact McNemar raw and
    after Holm.
    """

    name: str
    n: Annotated[int, Field(ge=1)]
    first: Fraction
    second: Fraction
    difference: Annotated[float, Field(ge=-1, le=1)]
    lost: Count
    gained: Count
    p: Fraction
    p_holm: Fraction


class Flip(Part):
    """An image whose answer turned; before is the second form's answer, after the first's."""

    key: str
    true: str
    before: str
    after: str
    before_confidence: Fraction
    after_confidence: Fraction


class Changes(Part):
    """The first form against the second, class by class and image by image.

    ``needed``: images of one class that have to change in one direction before that class counts as
        changed.
    ``classes``: those where an image was lost or gained, out of ``tested``; ``smallest`` is the
        fewest images of a class.
    """

    first: str
    second: str
    n: Count
    lost: Count
    gained: Count
    moved: Count
    needed: Count
    tested: Count
    smallest: Count
    classes: list[ClassChange]
    right_to_wrong: list[Flip]
    wrong_to_right: list[Flip]


class Gate(Part):
    """One condition behind the verdict."""

    what: str
    limit: float
    value: float | None
    passed: bool | None


class Ship(Part):
    """Which file is the default one here, and why."""

    file: str
    precision: str
    reason: str


class Verdicts(Part):
    """What the tool decided from what it measured."""

    ship: Ship
    gates: list[Gate]


class Report(Part):
    """The whole of report.json."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, title="clip2edge report")

    schema_: Annotated[Literal[1], Field(alias="schema")]
    headline: str
    dataset: Dataset
    teacher: Teacher
    student: Student
    synthetic: Synthetic
    accuracy: dict[str, Accuracy]
    paired: dict[str, Comparison]
    changes: dict[str, Changes] = {}
    domains: Domains | None = None
    recipe: Recipe | None = None
    latency: list[Latency]
    breakdown: dict[str, Breakdown] | None = None
    speedup_vs_teacher: Speedup
    size_bytes: dict[str, Count]
    budgets: list[Budget]
    candidates: list[Candidate] = []
    devices: list[Device] = []
    sensitivity: Sensitivity | None = None
    verdicts: Verdicts
    timings_s: dict[str, Annotated[float, Field(ge=0)]]
    environment: dict[str, Any]
    provenance: dict[str, Any]
    states: list[str]
    repeat: str


def validate(report: dict[str, Any]) -> None:
    """Checks a report against the contract.

    Raises:
        Clip2EdgeError: names the first path that is wrong.
    """
    try:
        Report.model_validate(report)
    except ValidationError as error:
        raise refusal("report.json does not keep its contract", error) from error


def refusal(what: str, error: ValidationError) -> Clip2EdgeError:
    """The error that names the first path that is wrong."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    return Clip2EdgeError(
        f"{what} at {path}",
        got=repr(first["input"])[:80],
        expected=first["msg"].removeprefix("Value error, "),
        remedy=f"see {SCHEMA_FILE.name} (schema {SCHEMA})",
    )


def json_schema() -> str:
    """The text of ``schema.json``."""
    return json.dumps(Report.model_json_schema(by_alias=True), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":  # python -m compress.report.model.report, after a change of the contract
    SCHEMA_FILE.write_text(json_schema())
