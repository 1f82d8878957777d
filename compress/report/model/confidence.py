"""The part of report.json about confidence: temperature, images of no class, worse images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compress.evaluate.metrics import ReliabilityBin
from compress.report.model.part import Count, Fraction, Interval, Part, Some

Temperature = Annotated[float, Field(gt=0)]


class Calibrated(Part):
    """Metrics on the test split of the probabilities that the runtime gives."""

    temperature: Temperature
    ece: Fraction
    nll: float = Field(ge=0)


class FittedTemperature(Part):
    """By model of the bundle, and the images that it was fitted on; none of them a test image."""

    models: dict[str, Temperature]
    fitted_on: str
    n: Count
    because: str | None = None


class UnknownKind(Part):
    """Test images against images of no class of one kind; ``passed`` is at the threshold."""

    wanted: Some
    others: Some
    auroc: Fraction
    fpr95: Fraction
    passed: Fraction


class PassedImage(Part):
    """An image of no class that passes as known; its picture is in the report."""

    kind: str
    label: str
    confidence: Fraction
    above: float


class ReportRejection(Part):
    """How the shipped model tells images of no class, and how well.

    ``chosen_by`` is the AUROC of every score on the made images that it was chosen on.
    """

    score: str
    threshold: float
    keep: Fraction
    wanted: Some
    kept: Fraction
    kept_ci95: Interval
    kinds: dict[str, UnknownKind]
    pictures: list[PassedImage] = []
    set_on: str | None = None
    n: Count | None = None
    chosen_by: dict[str, dict[str, Fraction]] = {}


class Stressed(Part):
    """Accuracy on test images at one severity; ``known`` is the share that passes as known."""

    top1: Fraction
    ci95: Interval
    known: Fraction | None = None


class Severity(Stressed):
    """One severity of a corruption: 1 to 5, and its strength (compress/evaluate/corruptions.py)."""

    severity: Some
    strength: float


class ReportStress(Part):
    """The shipped model on the same test images under common corruptions."""

    n: Some
    clean: Stressed
    kinds: dict[str, list[Severity]]


class ReportConfidence(Part):
    """How far the answers are to be trusted; null where it was not measured."""

    temperature: FittedTemperature | None = None
    reliability: dict[str, list[ReliabilityBin]] = {}  # at the temperature
    rejection: ReportRejection | None = None
    stress: ReportStress | None = None
