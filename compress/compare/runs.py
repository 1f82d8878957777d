"""Reads finished runs and compares them: accuracy on the same test images, time on equal terms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.bench.artifact import BenchArtifact, Predictions
from compress.data.artifact import TEST, DataArtifact
from compress.engine.errors import ConfigError
from compress.engine.runs import RunFolder
from compress.evaluate.claims import Claim, claim
from compress.evaluate.comparison import PairedComparison, paired
from compress.report.artifact import ReportArtifact
from compress.report.model.report import Report, parse
from compress.report.sections.headline import shots
from runtime.bench.latency import LatencyRow
from runtime.files.strict_json import to_text

KIND = "clip2edge-comparison"
SCHEMA = 1


@dataclass(frozen=True)
class Tests:
    """The test images of a run, as far as another run can have the same.

    Attributes:
        dataset: its name.
        keys: of the images, in their order.
        labels: the name of each one's class.
        logits: of what ships, ``(N, K)``.
        numbers: the class number of each.
    """

    dataset: str
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    logits: np.ndarray
    numbers: np.ndarray

    def same(self, other: Tests) -> bool:
        """Whether these are the same images of the same classes."""
        mine, theirs = ((one.dataset, one.keys, one.labels) for one in (self, other))
        return mine == theirs and self.logits.shape == other.logits.shape


@dataclass(frozen=True)
class ComparedRun:
    """A finished run: its name, its report, and its answers where they are still at hand."""

    name: str
    report: Report
    tests: Tests | None

    @property
    def row(self) -> LatencyRow | None:
        """The latency of what ships: one image, the fewest threads, compute only."""
        return self.report.compute_row(self.report.shipped)

    @property
    def machine(self) -> tuple[str, int | None]:
        """What its latency was measured on: the processor, and threads."""
        host, row = self.report.environment, self.row
        return str(host.cpu or host.device or "unknown"), row.threads if row else None


@dataclass(frozen=True)
class Against:
    """A run against the first one on the same test images; ``why`` there is no comparison."""

    compared: PairedComparison | None
    claim: Claim | None
    why: str


@dataclass(frozen=True)
class Comparison:
    """Runs, the first of which is what the others are compared with."""

    runs: tuple[ComparedRun, ...]
    against: tuple[Against, ...]  # of the second run on

    @property
    def machines(self) -> list[tuple[str, int | None]]:
        """What latencies were measured on; times compare only if it is one."""
        return list(dict.fromkeys(run.machine for run in self.runs if run.row))

    def to_json(self) -> dict[str, Any]:
        """JSON values: the figures of every run, and what may be said of them."""
        rows = []
        for run in self.runs:
            report, shipped = run.report, run.report.shipped
            accuracy, row = report.accuracy.get(shipped), run.row
            rows.append(
                {
                    "name": run.name,
                    "dataset": report.dataset.name,
                    "shots": report.dataset.shots,
                    "student": report.student.name,
                    "shipped": shipped,
                    "top1": accuracy.top1 if accuracy else None,
                    "ci95": list(accuracy.ci95) if accuracy and accuracy.ci95 else None,
                    "test_images": report.dataset.test_images,
                    "size_bytes": report.size_bytes.get(shipped),
                    "params": report.student.params,
                    "p50_ms": row.p50_ms if row else None,
                    "verdict": row.verdict if row else None,
                    "machine": run.machine[0],
                    "threads": run.machine[1],
                }
            )
        pairs = [
            {
                "first": run.name,
                "second": self.runs[0].name,
                "claim": found.claim,
                "why": found.why,
                "compared": asdict(found.compared) if found.compared else None,
            }
            for run, found in zip(self.runs[1:], self.against, strict=True)
        ]
        return {"kind": KIND, "schema": SCHEMA, "runs": rows, "against": pairs}

    def to_text(self) -> str:
        """The same as indented JSON."""
        return to_text(self.to_json(), indent=1, ensure_ascii=False)


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Compares finished runs with the first of them.

    Raises:
        ConfigError: fewer than two runs, or one without a report, or half rebuilt.
        Clip2EdgeError: a report that does not keep its contract.
    """
    names = [RunFolder(folder).name for folder in folders]
    if len(set(folders)) < 2:
        raise ConfigError(
            "a comparison needs runs that differ",
            got=", ".join(names) or "none",
            expected="two or more",
            remedy="compress show lists the runs of a work folder",
        )
    if len(set(names)) < len(names):  # of several work folders
        names = [str(folder) for folder in folders]
    runs = tuple(_read(*pair) for pair in zip(names, folders, strict=True))
    return Comparison(runs, tuple(_against(run, runs[0]) for run in runs[1:]))


def _read(name: str, folder: Path) -> ComparedRun:
    artifact = ReportArtifact(folder)
    if not artifact.exists:
        remedy = RunFolder(folder).repeat
        raise ConfigError("this run has no report yet", got=name, remedy=remedy)
    RunFolder(folder).require_whole()
    report = parse(artifact.read())
    return ComparedRun(name, report, _tests(folder, report))


def _tests(folder: Path, report: Report) -> Tests | None:
    """The test images of a run and its answers; None where its stages are gone."""
    stages = RunFolder(folder).stages()
    if not {"data", "bench"} <= stages.keys():
        return None
    try:
        bench, data = BenchArtifact(stages["bench"]), DataArtifact(stages["data"])
        answers: Predictions = bench.predictions()
        images, names = data.images(TEST), [entry.name for entry in data.classes]
        logits = answers.logits[report.shipped]
    except (OSError, ValueError, KeyError, json.JSONDecodeError):
        return None
    labels = tuple(names[number] for number in images.labels)
    return Tests(report.dataset.name, images.keys, labels, logits, answers.labels)


def _against(run: ComparedRun, first: ComparedRun) -> Against:
    if run.tests is None or first.tests is None:
        gone = run.name if run.tests is None else first.name
        return Against(None, None, f"the answers of {gone} to its test images are not at hand")
    if not len(run.tests.keys):
        return Against(None, None, "there are no test images")
    if not run.tests.same(first.tests):
        return Against(None, None, "the test images are others")
    found = paired(run.tests.logits, first.tests.logits, run.tests.numbers)
    return Against(found, claim(found), "")


def what(run: ComparedRun) -> str:
    """Student, precision and shots of a run in words."""
    precision = run.report.shipped.removeprefix("student_")
    return f"{run.report.student.name} {precision}, {shots(run.report.dataset)}"
