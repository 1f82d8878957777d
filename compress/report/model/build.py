"""The parts of report.json about the build: data, models, accuracy, and where it all comes from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from compress.bench.artifact import Int8Kernels
from compress.evaluate.comparison import PairedComparison
from compress.evaluate.gates import Gate, Ship
from compress.report.model.confidence import Calibrated
from compress.report.model.part import OPEN, Count, Fraction, Interval, Part, Some
from runtime.host.telemetry import Host


class Skipped(Part):
    """An image that could not be read."""

    key: str
    reason: str


class ReportDataset(Part):
    """The classes and images."""

    name: str
    classes: Some
    shots: Count | Literal["all"]
    train_images: Count | None = None
    test_images: Count
    class_names: list[str]
    domain: str | None = None
    skipped: list[Skipped] = []


class TeacherMember(Part):
    """One of several teachers that are averaged."""

    name: str
    params: Count | None = None
    image_params: Count | None = None


class ReportTeacher(Part):
    """The model that was compressed; both accuracies are null without test images."""

    name: str
    params: Count | None
    top1: Fraction | None
    zero_shot_top1: Fraction | None
    image_params: Count | None = None
    revision: str | None = None
    license: str | None = None
    members: list[TeacherMember] = []


class ReportStudent(Part):
    """The small model; ``shipped`` is the variant that is the bundle's default."""

    name: str
    params: Count | None
    init: str | None = None
    shipped: str = "student_fp32"
    macs: Count | None = None  # of one image
    sha256: dict[str, str] = {}  # variant -> of its file in the bundle


class Probe(Part):
    """A candidate for the generator's settings, scored by the teacher on a small batch.

    ``refused`` is the reason why it could generate nothing.
    """

    candidate: dict[str, Any]
    agreement: Fraction | None = None
    diversity: float | None = None
    gap: float | None = None
    score: float | None = None
    refused: str | None = None


class Probing(Part):
    """Every candidate, and the row that the bulk was generated with."""

    rows: list[Probe]
    chosen: Count | None


class ReportSynthetic(Part):
    """The generated training images; distances are 1 - cosine of teacher features."""

    images: Count
    per_class: Count | None
    strategy: str
    generator: str | None = None
    dropped: Count | None = None
    teacher_agreement: Fraction | None = None
    diversity: float | None = None
    diversity_real: float | None = None
    domain_gap: float | None = None
    probing: Probing | None = None


class DomainAccuracy(Part):
    """A model variant on the test set of one domain."""

    n: Some
    top1: Fraction
    ci95: Interval


class Accuracy(DomainAccuracy):
    """A model variant on the real test split, measured with the exported file."""

    macro_f1: Fraction
    ece: Fraction
    nll: float = Field(ge=0)
    calibrated: Calibrated | None = None  # of the probabilities that the runtime gives

    @model_validator(mode="after")
    def _ordered(self) -> Accuracy:
        if not self.ci95[0] <= self.top1 <= self.ci95[1]:
            raise ValueError(f"top1 {self.top1} must lie inside ci95 {list(self.ci95)}")
        return self


class ReportDomains(Part):
    """Accuracy per domain and model variant; the means give every domain the same weight.

    ``own`` is the domain of the shots, and first in ``order``.
    """

    own: str
    order: list[str]
    tests: dict[str, dict[str, DomainAccuracy]]
    mean_top1: dict[str, Fraction]
    mean_top1_others: dict[str, Fraction]


class ReportRecipe(Part):
    """How the student was trained; ``preset`` is the one that describes the run best."""

    strategy: str
    objective: str | None
    preset: str | None
    preset_changes: Count | None = None
    terms: dict[str, float] | None = None
    meta: str | None = None
    train: str | None = None
    feature_steps: Count | None = None
    steps: Count | None = None
    teacher_images: Count | None = None


class Verdicts(Part):
    """What the tool decided from what it measured."""

    ship: Ship
    gates: list[Gate]


class ReportQuantization(Part):
    """How int8 came about; ``kept``: "qat", "calibrated" or "reconstructed"."""

    kernels: Int8Kernels = Int8Kernels({}, False)
    qat_vs_ptq: PairedComparison | None = None
    kept: str | None = None
    mode: str | None = None  # "qat" or "ptq"


class FileParity(Part):
    """An exported file beside the torch model it came from: logits and predicted classes."""

    max_abs_diff: float
    tolerance: float
    agreement: Fraction
    images: Count


class PredictParity(Part):
    """``Classifier.predict`` on encoded test images beside the stored test set."""

    images: Count
    max_abs_logit_difference: float


class ReportParity(Part):
    """Exported files beside their torch models, and predict() beside the test set."""

    files: dict[str, FileParity | None] = {}
    predict: PredictParity | None = None


@dataclass(config=OPEN, frozen=True)
class ReportEnvironment(Host):
    """The machine of the build, and the versions of what ran there.

    ``date`` is when latency was measured, in UTC.
    """

    date: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class StageFacts(Part):
    """What a stage reported about itself."""

    facts: dict[str, Any] = {}


class ReportProvenance(Part):
    """The bundle's origins, and the content hash of every stage."""

    seed: int | None = None
    stages: dict[str, StageFacts] = {}
    content: dict[str, str] = {}
