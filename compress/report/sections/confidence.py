"""The sections "Confidence" and "In the field": temperature, images of no class, worse images."""

from __future__ import annotations

from compress.report.charts import accuracy as plots
from compress.report.charts.field import NAMES, stress_plot
from compress.report.charts.svg import both_widths
from compress.report.model.confidence import ReportRejection, UnknownKind
from compress.report.model.report import Report
from compress.report.wording import interval, percent, points, significant, variant

SCORES = {  # runtime.rejection -> words
    "max_logit": "the largest logit",
    "energy": "the energy of the logits",
    "prototype": "the cosine to the nearest class prototype",
    "combined": "the mean of the largest logit, the energy and the cosine to class prototypes",
}
WORSE = 0.1  # a fall of accuracy that is worth naming


def temperature_sentence(report: Report) -> str:
    """The calibration error with and without the temperature; empty without one."""
    fitted, shown = report.confidence.temperature, report.accuracy.get(report.shipped)
    if fitted is None or shown is None or shown.calibrated is None:
        return ""
    honest = shown.calibrated
    because = f" ({fitted.because})" if fitted.because else ""
    change = "a smaller" if honest.ece < shown.ece else "a larger"
    if abs(honest.ece - shown.ece) < 5e-4:
        change = "the same"
    return (
        f"The runtime divides the logits by a temperature of {significant(honest.temperature)}, "
        f"fitted on {fitted.n:,} {_images(fitted.fitted_on)}{because}; no answer changes. "
        f"With it the expected calibration error of {variant(report.shipped)} is "
        f"{percent(honest.ece)}, without it {percent(shown.ece)}: {change} error on the test split."
    )


def _images(source: str) -> str:
    """What was fitted on, behind its number."""
    return source.replace("the teacher's answers to views", "views that the teacher answered", 1)


def honest_plots(report: Report) -> list[tuple[str, str, float]]:
    """Words, drawing and ECE of the shipped student: as logits are, and as the runtime tells."""
    shown, tables = report.accuracy.get(report.shipped), report.confidence.reliability
    if shown is None or shown.calibrated is None or report.shipped not in tables:
        return []
    bins, ece = tables[report.shipped], shown.calibrated.ece
    words = f"{variant(report.shipped)} at temperature {significant(shown.calibrated.temperature)}"
    return [(words, plots.reliability(bins, report.shipped, ece), ece)]


def rejection_sentence(report: Report) -> str:
    """How images of no class are told, and how many wanted ones that costs."""
    told = report.confidence.rejection
    if told is None:
        return ""
    text = f"An image is known if {SCORES.get(told.score, told.score)} reaches a threshold"
    if told.set_on:
        text += f", set to keep {percent(told.keep, 0)} of {told.n:,} {told.set_on}"
    text += (
        f". Of {told.wanted:,} test images it keeps {percent(told.kept)} "
        f"(95 % CI {interval(told.kept_ci95)})."
    )
    return text + _weakest(told)


def _weakest(told: ReportRejection) -> str:
    if not told.kinds:
        return ""
    kind, row = min(told.kinds.items(), key=lambda pair: pair[1].auroc)
    return (
        f" Hardest to tell: {kind}, AUROC {row.auroc:.3f}, {percent(row.passed)} pass as one of "
        "the classes."
    )


def unknown_rows(report: Report) -> list[tuple[str, UnknownKind]]:
    """Kind and numbers, the hardest first."""
    told = report.confidence.rejection
    return sorted(told.kinds.items(), key=lambda pair: pair[1].auroc) if told else []


def score_rows(report: Report) -> tuple[list[str], list[tuple[str, bool, list[float]]]]:
    """What the score was chosen by: kinds, and of each score its words, the choice, its AUROCs."""
    told = report.confidence.rejection
    if told is None or not told.chosen_by:
        return [], []
    kinds = list(next(iter(told.chosen_by.values())))
    rows = [
        (SCORES.get(name, name), name == told.score, [row[kind] for kind in kinds])
        for name, row in told.chosen_by.items()
    ]
    return [kind.replace("_", " ") for kind in kinds], rows


def stress_sentence(report: Report) -> str:
    """Which corruptions cost accuracy, from the middle severity on."""
    stress = report.confidence.stress
    if stress is None:
        return ""
    clean = stress.clean.top1
    falls = {kind: rows[len(rows) // 2].top1 - clean for kind, rows in stress.kinds.items()}
    named = [
        f"{NAMES.get(kind, kind)} {points(fall, 0)}"
        for kind, fall in sorted(falls.items(), key=lambda pair: pair[1])
        if fall <= -WORSE
    ]
    text = (
        f"{variant(report.shipped)} on the same {stress.n:,} test images, corrupted at five "
        f"severities: {percent(clean)} as they are (95 % CI {interval(stress.clean.ci95)})"
    )
    return f"{text}; at severity 3 {', '.join(named)}." if named else f"{text}."


def stress_plots(report: Report) -> list[tuple[str, str]]:
    """(CSS class, drawing) for wide and for narrow pages."""
    stress = report.confidence.stress
    if stress is None:
        return []
    return both_widths(lambda width: stress_plot(stress, report.shipped, width))
