"""The part of report.json about the images: what was found, their map, and labels in doubt."""

from __future__ import annotations

from pydantic import Field

from compress.data.summary import DataSummary
from compress.report.model.part import Count, Fraction, Part


class MapPoint(Part):
    """A training image on the map; ``label`` is its class's number."""

    key: str
    label: Count
    x: Fraction
    y: Fraction


class DoubtfulLabel(Part):
    """An image that is nearer to the mean of another class than to that of its own.

    ``margin`` is the difference of the cosines, of features without the image itself.
    """

    key: str
    label: str
    nearest: str
    margin: float = Field(gt=0)


class FarImage(Part):
    """An image far from the mean of its class; ``distance`` is 1 - cosine."""

    key: str
    label: str
    distance: float


class ReportImages(Part):
    """Long lists are cut; ``totals`` has their lengths, the data stage's summary.json all rows.

    ``judged``: training images whose labels were compared with the teacher's features, those of
    classes with two and more; None without such features.
    """

    summary: DataSummary
    totals: dict[str, Count] = {}
    map: list[MapPoint] = []
    judged: Count | None = None
    relabel: list[DoubtfulLabel] = []
    outliers: list[FarImage] = []
