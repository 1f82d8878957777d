"""The section "Speed": spread, breakdown and cold start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from compress.report.charts import speed as plots
from compress.report.charts.speed import PARTS, Curve, Start
from compress.report.charts.svg import both_widths
from compress.report.model.report import Report, student_variant, variant_of
from compress.report.wording import VARIANTS, milliseconds, percent, size, times, variant
from runtime.bench.breakdown import Breakdown
from runtime.bench.cold import Cold
from runtime.bench.latency import COMPUTE, LatencyRow, Stamp

STAMPS: Mapping[Stamp, str] = {  # but VALID
    "DRIFTING": "its calls became faster or slower while it was timed",
    "THROTTLED": "the processor slowed down",
    "NOISY_HOST": "other work took turns on the processor",
    "TOO_FEW": "fewer calls than its median needs",
}
TAIL = 1.5  # p99 over p50 that is worth a word


def curves(report: Report) -> list[Curve]:
    """The compute series of one image at the fewest threads, in the order of tables."""
    rows = [row for row in report.latency if row.includes == COMPUTE and row.batch == 1]
    rows = [row for row in rows if row.quantiles_ms]
    least = min((row.threads for row in rows), default=1)
    chosen = {variant_of(row): row for row in rows if row.threads == least}
    ordered = {name: chosen[name] for name in VARIANTS if name in chosen}
    return [Curve(name, row.quantiles_ms or [], row.n) for name, row in ordered.items()]


def ecdf_plots(report: Report) -> list[tuple[str, str]]:
    """Share of calls by latency, for wide and narrow pages; empty without quantiles."""
    lines = curves(report)
    return both_widths(lambda width: plots.ecdf(lines, width)) if lines else []


def spread_sentence(report: Report) -> str:
    """The distance of the shipped student's slow calls from its median."""
    row = report.compute_row(report.shipped)
    if row is None or not row.p50_ms or not row.p99_ms:
        return ""
    ratio = row.p99_ms / row.p50_ms
    steady = "99 of 100 calls stay below"
    weight = steady if ratio < TAIL else "one call in a hundred takes longer than"
    tail = f"{milliseconds(row.p99_ms)}, {times(ratio)} its median"
    return f"Of {row.n:,} calls of {variant(report.shipped)}, {weight} {tail}."


def breakdowns(report: Report) -> dict[str, Breakdown]:
    """Model variant -> where its time goes."""
    return {
        key if key == "teacher" else student_variant(key): value
        for key, value in (report.breakdown or {}).items()
    }


def breakdown_plots(report: Report) -> list[tuple[str, str]]:
    """One bar per model variant, for wide and narrow pages."""
    bars = {name: part.stages_ms for name, part in breakdowns(report).items()}
    return both_widths(lambda width: plots.breakdown(bars, width)) if bars else []


def breakdown_sentence(report: Report) -> str:
    """The network's share of one image's time, for the shipped student."""
    part = breakdowns(report).get(report.shipped)
    parts = part.stages_ms if part else {}
    if part is None or not sum(parts.values()):
        return ""
    whole = part.end_to_end_ms or sum(parts.values())
    largest = max(parts, key=lambda name: parts[name])
    shares = {name: percent(spent / whole, 0) for name, spent in parts.items()}
    text = f"From encoded image to answer, the network takes {shares['compute']} of the time of "
    text += variant(report.shipped)
    if largest != "compute":
        text += f"; {PARTS[largest]} takes most ({shares[largest]}): a faster network gains little"
    return f"{text}."


def colds(report: Report) -> dict[str, Cold]:
    """Model variant -> its cold start, in the order of tables."""
    return {name: report.cold[name] for name in VARIANTS if name in report.cold}


def start_plots(report: Report) -> list[tuple[str, str]]:
    """Cold against warm, for wide and narrow pages."""
    rows = [
        Start(name, cold.warm_ms, cold.first_ms, cold.load_ms, cold.process_ms)
        for name, cold in colds(report).items()
    ]
    return both_widths(lambda width: plots.starts(rows, width)) if rows else []


def start_sentence(report: Report) -> str:
    """The time and memory of a new process up to the shipped student's first answer."""
    cold = report.cold.get(report.shipped)
    if not cold or not cold.process_ms:
        return ""
    after = milliseconds(cold.process_ms)
    text = f"A new process answers with {variant(report.shipped)} after {after}"
    if cold.peak_rss_bytes:
        text += f" and holds {size(cold.peak_rss_bytes)} at most"
    if cold.first_ms:
        text += f"; its first image takes {milliseconds(cold.first_ms)}"
        text += f", later ones {milliseconds(cold.warm_ms)}" if cold.warm_ms else ""
    return f"{text}."


def stamp_sentence(report: Report) -> str:
    """How many series have which stamp but VALID, and what each of these says."""
    counts = Counter(row.verdict for row in report.latency if row.verdict != "VALID")
    if not counts:
        return "Every series is stamped VALID."
    each = "; ".join(f"{count} {stamp}: {STAMPS[stamp]}" for stamp, count in counts.items())
    many = f"{sum(counts.values())} of {len(report.latency)} series"
    return f"{many} are not stamped VALID ({each}): read those with care, their rows say why."


def inside(row: LatencyRow) -> str:
    """Words for the content of a call; the section's introduction lists the steps."""
    whole = f"end to end ({row.image})" if row.image else "end to end"
    return COMPUTE if row.includes == COMPUTE else whole
