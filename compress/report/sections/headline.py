"""The head of the report: the one sentence to remember, and four figures."""

from __future__ import annotations

from dataclasses import dataclass

from compress.engine.packages import is_packaged
from compress.evaluate.claims import claim
from compress.evaluate.comparison import PairedComparison
from compress.report.model.build import ReportDataset
from compress.report.model.report import Report
from compress.report.wording import (
    milliseconds,
    percent,
    plural,
    points,
    signed_interval,
    significant,
    size,
    times,
    variant,
)

EMBEDDED = "petals"  # the world that is drawn, and its teacher


@dataclass(frozen=True)
class Tile:
    """A figure under the headline."""

    what: str
    value: str
    note: str


def headline(report: Report) -> str:
    """The one sentence a person should remember."""
    shipped, sizes = report.shipped, report.size_bytes
    own, p50 = report.accuracy.get(shipped), report.p50_ms(shipped)
    speedup = report.speedup_vs_teacher.p50
    did = "takes"
    if own:
        did = f"names {percent(own.top1)} of {report.dataset.test_images:,} test images right, in"
    precision = variant(shipped).removeprefix("student ")
    text = f"{report.student.name} ({precision}) {did} {size(sizes.get(shipped))}"
    text += f" and {milliseconds(p50)}" if p50 else ""
    text += f": {times(speedup)} as fast as its teacher" if speedup else ""
    if sizes.get("teacher") and sizes.get(shipped):
        ratio = sizes["teacher"] / sizes[shipped]
        change = f"{times(ratio)} smaller" if ratio >= 1 else f"{times(1 / ratio)} larger"
        text += f"{' and' if speedup else ':'} {change}"
    if against := _against_teacher(report):
        text += f"; {gap(against)}"
    return f"{text}." if own else f"{text}. Without test images its accuracy is not known."


def gap(against: PairedComparison) -> str:
    """What the test images say of the shipped model's accuracy beside that of its teacher."""
    found = claim(against)
    if found == "too few":
        return f"{against.n} test images are too few to compare its accuracy with the teacher's"
    if found == "open":
        return "in accuracy the test images do not tell it from its teacher"
    value = round(100 * abs(against.difference), 1)
    return f"{value:g} {'point' if value == 1 else 'points'} {found} its teacher's accuracy"


def _against_teacher(report: Report) -> PairedComparison | None:
    """The shipped model against its teacher on the same test images."""
    return report.paired.get(f"{report.shipped.removeprefix('student_')}_vs_teacher")


def tiles(report: Report) -> list[Tile]:
    """The four figures under the headline."""
    shipped, sizes, speedup = report.shipped, report.size_bytes, report.speedup_vs_teacher
    own, teacher = report.accuracy.get(shipped), report.accuracy.get("teacher")
    against = _against_teacher(report)
    gap = f": {points(against.difference)} ({signed_interval(against.ci95)})" if against else ""
    row = report.compute_row(shipped)
    stamp = f" · {row.verdict}" if row and row.verdict != "VALID" else ""
    span = "not measured"
    if speedup.ci95:
        span = "95 % CI " + " to ".join(significant(value, 2) for value in speedup.ci95)
    beside = f"teacher {percent(teacher.top1)}{gap}" if teacher else "no test images"
    p50, teacher_p50 = report.p50_ms(shipped), milliseconds(report.p50_ms("teacher"))
    place = f" · {where}" if (where := measured_on(report)) else ""
    return [
        Tile("top-1 accuracy", percent(own.top1) if own else "not known", beside),
        Tile("file", size(sizes.get(shipped)), f"teacher {size(sizes.get('teacher'))}"),
        Tile("latency, p50", milliseconds(p50), f"teacher {teacher_p50}{place}{stamp}"),
        Tile("speed-up over the teacher", times(speedup.p50), span),
    ]


def measured_on(report: Report) -> str:
    """What the latency of the shipped model was measured on: threads, processor and date."""
    host, row = report.environment, report.compute_row(report.shipped)
    parts = [
        plural(row.threads, "thread") if row else "",
        host.device or host.cpu or "",
        (host.date or "")[:10],
    ]
    return ", ".join(filter(None, parts)) if row else ""


def stand_in(report: Report) -> str:
    """What stands in for CLIP as the teacher, and what follows for the figures; "" if nothing."""
    names = [one.name for one in report.teacher.members] or [report.teacher.name]
    if names == [EMBEDDED]:
        return (
            "The teacher is the small CLIP of the drawn miniature world petals. The figures show "
            "that the pipeline works, not what photos give."
        )
    if all(map(is_packaged, names)):
        return (
            "Networks with ImageNet weights stand in for CLIP as the teacher. Test photos that "
            "ImageNet holds too are not new to them."
        )
    return ""


def images_tested(report: Report) -> str:
    """The test images in words: those of petals are drawn, not taken."""
    kind = "drawn test images" if report.dataset.name == EMBEDDED else "test images"
    return f"{report.dataset.test_images:,} {kind}"


def shots(dataset: ReportDataset) -> str:
    """The number of real training images: "4 shots a class", "all 1,020 training images"."""
    if dataset.shots == "all":
        return f"all {dataset.train_images:,} training images"
    return f"{dataset.shots} {'shot' if dataset.shots == 1 else 'shots'} a class"
