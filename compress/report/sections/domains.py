"""The section "Other domains": accuracy on domains that the shots do not come from."""

from __future__ import annotations

from dataclasses import dataclass

from compress.report.model.report import Report
from compress.report.wording import VARIANTS, interval, percent, points, variant


@dataclass(frozen=True)
class DomainColumn:
    """A domain, the run's own first; ``shots``: whether the shots come from there."""

    name: str
    images: int
    shots: bool


@dataclass(frozen=True)
class DomainRow:
    """A model variant; cells are (top-1, interval) in the order of the columns."""

    key: str
    model: str
    ships: bool
    cells: list[tuple[str, str]]
    mean: str
    others: str


def domain_name(name: str) -> str:
    """``"art_painting"`` -> ``"art painting"``."""
    return name.replace("_", " ")


def domain_columns(report: Report) -> list[DomainColumn]:
    """One column per domain, the run's own first."""
    domains = report.domains
    if not domains:
        return []
    return [
        DomainColumn(
            domain_name(name),
            next(iter(domains.tests[name].values())).n,
            name == domains.own and bool(report.dataset.shots),
        )
        for name in domains.order
    ]


def domain_rows(report: Report) -> list[DomainRow]:
    """One row per model variant."""
    domains = report.domains
    if not domains:
        return []
    tests = [domains.tests[name] for name in domains.order]
    return [
        DomainRow(
            key=name,
            model=variant(name),
            ships=name == report.shipped,
            cells=[(percent(rows[name].top1), interval(rows[name].ci95)) for rows in tests],
            mean=percent(domains.mean_top1[name]),
            others=percent(domains.mean_top1_others[name]),
        )
        for name in VARIANTS
        if name in domains.mean_top1
    ]


def domain_sentence(report: Report) -> str:
    """The student's fall outside the domain of its shots, beside its teacher's."""
    domains, shipped = report.domains, report.shipped
    if not domains or shipped not in domains.mean_top1:
        return ""
    tests, others, own = domains.tests, domains.order[1:], domain_name(domains.own)
    here, there = tests[domains.own][shipped].top1, domains.mean_top1_others[shipped]
    weakest = min(others, key=lambda name: tests[name][shipped].top1)
    source = f"All shots come from {own}."
    if not report.dataset.shots:
        source = "No real image was trained on."
    fall = f"{percent(there)} on average ({points(there - here)})"
    elsewhere = f"on the other {len(others)} domains {fall}, least on {domain_name(weakest)} "
    elsewhere += f"({percent(tests[weakest][shipped].top1)})."
    if len(others) == 1:
        elsewhere = f"on {domain_name(weakest)} {percent(there)} ({points(there - here)})."
    text = f"{source} On {own}, {variant(shipped)} names {percent(here)} right, {elsewhere}"
    if teacher := tests[domains.own].get("teacher"):
        change = points(domains.mean_top1_others["teacher"] - teacher.top1)
        text += f" Its teacher changes by {change} from {own} to the "
        text += "others." if len(others) > 1 else "other."
    return text
