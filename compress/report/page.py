"""A report and its pictures -> HTML and Markdown. The sections write; the templates only place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from compress.report import wording
from compress.report.charts.accuracy import named
from compress.report.charts.pictures import EXACT_EDGE, Mistake, Noted, Passed, Sheet, Turned
from compress.report.model.report import Report, variant_of
from compress.report.sections import (
    budget,
    changes,
    classes,
    confidence,
    data,
    devices,
    domains,
    embed,
    headline,
    images,
    int8,
    origin,
    sensitivity,
    speed,
    summary,
    training,
)
from runtime.errors import harmless

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).with_name("templates")
PAIRS = {  # report.json "paired" -> words
    "int8_vs_fp32": "int8 against fp32",
    "fp32_vs_teacher": "fp32 student against teacher",
    "int8_vs_teacher": "int8 student against teacher",
    "int8_vs_ptq": "int8 against ONNX Runtime's static PTQ",
    "teacher_vs_zero_shot": "teacher's probe against its zero-shot head",
}
FILTERS = (
    *("percent", "points", "interval", "signed_interval", "p_value", "distance", "times"),
    *("milliseconds", "millijoules", "seconds", "size", "cell", "spaced", "variant"),
)
LONG_NAME = 18  # characters that fit beside a bar or a strip of pictures
SECTIONS = (
    *(budget, changes, classes, confidence, data, devices, domains, embed, headline, images),
    *(int8, origin, sensitivity, speed, summary, training),
)


@dataclass(frozen=True)
class Material:
    """The page beside report.json: pictures, and training histories (stage -> entries)."""

    sheets: Sequence[Sheet] = ()
    mistakes: Sequence[Mistake] = ()
    image_size: int = 0
    histories: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    right_to_wrong: Sequence[Turned] = ()
    wrong_to_right: Sequence[Turned] = ()
    relabel: Sequence[Noted] = ()
    outliers: Sequence[Noted] = ()
    passed: Sequence[Passed] = ()


def render_html(report: Report, material: Material) -> str:
    """One page that asks for nothing else: styles, drawings and pictures are inside."""
    template = environment(autoescape=True).get_template("report.html.j2")
    return template.render(_context(report, material))


def render_markdown(report: Report) -> str:
    """The tables and sentences for a terminal, a commit or an issue."""
    template = environment(autoescape=False).get_template("report.md.j2")
    return without_markup(template.render(_context(report, Material())))


def without_markup(markdown: str) -> str:
    """Markdown without the HTML, links and pictures that a user's text may hold.

    The template has none of its own; the command in its fence stays as it is.
    """
    text, fence, command = markdown.partition("\n```\n")
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = re.sub(r"\](?=[(\[])", r"]\\", text)
    return text + fence + command


def _context(report: Report, material: Material) -> dict[str, object]:
    """The names that the templates use: the report, the sections as modules, and pictures."""
    class_names, threads = report.dataset.class_names, [row.threads for row in report.latency]
    has_tests = bool(report.accuracy)
    contents: dict[str, tuple[str, object]] = {  # anchor -> name, is it shown
        "results": ("Results", True),
        "embed": ("In your app", True),
        "budget": ("Budget", report.budgets or report.candidates),
        "devices": ("Devices", report.devices),
        "latency": ("Speed", True),
        "int8": ("int8", True),
        "domains": ("Domains", report.domains),
        "classes": ("Classes", has_tests),
        "calibration": ("Confidence", has_tests),
        "field": ("In the field", report.confidence.rejection or report.confidence.stress),
        "data": ("Data", report.images),
        "images": ("Images", material.sheets),
        "probing": ("Probing", report.synthetic.probing),
        "mistakes": ("Mistakes", has_tests),
        "training": ("Training", True),
        "open": ("Not proven", True),
        "origin": ("Repeat", True),
    }
    return {
        **{module.__name__.rpartition(".")[2]: module for module in SECTIONS},
        "report": report,
        "style": style(),
        "shipped": wording.variant(report.shipped),
        "shots": headline.shots(report.dataset),
        "threads": wording.plural(min(threads, default=1), "thread"),
        "comparisons": [
            (words, report.paired[name]) for name, words in PAIRS.items() if name in report.paired
        ],
        "numbered": not named(class_names),
        "long_names": max(map(len, class_names)) > LONG_NAME,
        "exact": material.image_size <= EXACT_EDGE,
        "material": material,
        "turned_images": [
            ("Right in fp32, wrong in int8", material.right_to_wrong),
            ("Wrong in fp32, right in int8", material.wrong_to_right),
        ],
        "contents": [(anchor, name) for anchor, (name, shown) in contents.items() if shown],
    }


def _shown(value: object) -> object:
    """A value of a template without characters that act; markup of ours stays."""
    return harmless(value) if type(value) is str else value


def style() -> str:
    """The style sheet of our pages."""
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


def environment(autoescape: bool, *templates: Path) -> jinja2.Environment:
    """What renders our templates, and those of further folders."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*templates, TEMPLATES]),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    env.filters |= {name: getattr(wording, name) for name in FILTERS}
    env.filters |= {"variant_of": variant_of, "gate_value": int8.gate_value}
    return env
