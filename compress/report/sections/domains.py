"""The section "Other domains": accuracy on domains that the shots do not come from."""

from __future__ import annotations

from compress.report.model.report import Report
from compress.report.wording import VARIANTS, percent, points, spaced, variant


def images(report: Report, domain: str) -> int:
    """The test images of a domain."""
    tests = report.domains.tests[domain] if report.domains else {}
    return max((row.n for row in tests.values()), default=0)


def has_shots(report: Report, domain: str) -> bool:
    """Whether the shots come from a domain."""
    return bool(report.domains and domain == report.domains.own and report.dataset.shots)


def variants(report: Report) -> list[str]:
    """The model variants that every domain was tested with, in the order of tables."""
    return [name for name in VARIANTS if report.domains and name in report.domains.mean_top1]


def domain_sentence(report: Report) -> str:
    """The student's fall outside the domain of its shots, beside its teacher's."""
    domains, shipped = report.domains, report.shipped
    if not domains or shipped not in domains.mean_top1:
        return ""
    tests, others, own = domains.tests, domains.order[1:], spaced(domains.own)
    here, there = tests[domains.own][shipped].top1, domains.mean_top1_others[shipped]
    weakest = min(others, key=lambda name: tests[name][shipped].top1)
    trained_on = f"All shots come from {own}."
    source = trained_on if report.dataset.shots else "No real image was trained on."
    fall, least = points(there - here), percent(tests[weakest][shipped].top1)
    elsewhere = f"on {spaced(weakest)} {percent(there)} ({fall})."
    if len(others) > 1:
        elsewhere = f"on the other {len(others)} domains {percent(there)} on average ({fall}), "
        elsewhere += f"least on {spaced(weakest)} ({least})."
    text = f"{source} On {own}, {variant(shipped)} names {percent(here)} right, {elsewhere}"
    if teacher := tests[domains.own].get("teacher"):
        change = points(domains.mean_top1_others["teacher"] - teacher.top1)
        rest = "others" if len(others) > 1 else "other"
        text += f" Its teacher changes by {change} from {own} to the {rest}."
    return text
