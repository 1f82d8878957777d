"""The report's dict and pictures -> HTML and Markdown. Sentences are made here; the templates only
place them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.engine.config import Settings
from compress.report import wording
from compress.report.charts import accuracy as plots
from compress.report.charts.pictures import EXACT_EDGE, Mistake, Sheet, Turned
from compress.report.sections import budget, devices, domains, recipe, sentences, speed
from compress.report.sections import changes as changed
from compress.report.sections import sensitivity as mixtures
from compress.report.sections.summary import summary_rows
from compress.report.wording import form, p50_of, seconds, significant

TEMPLATES = Path(__file__).with_name("templates")
PAIRS = {  # report.json "paired" -> words
    "int8_vs_fp32": "int8 against fp32",
    "fp32_vs_teacher": "fp32 student against teacher",
    "int8_vs_teacher": "int8 student against teacher",
    "int8_vs_ptq": "int8 against ONNX Runtime's static PTQ",
    "teacher_vs_zero_shot": "teacher's probe against its zero-shot head",
}
LONG_NAME = 18  # characters that fit beside a bar or a strip of pictures


@dataclass(frozen=True)
class Material:
    """What the page shows besides report.json: pictures and training histories (stage ->
    entries).
    """

    sheets: Sequence[Sheet] = ()
    mistakes: Sequence[Mistake] = ()
    image_size: int = 0
    histories: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    right_to_wrong: Sequence[Turned] = ()
    wrong_to_right: Sequence[Turned] = ()


def render_html(report: dict[str, Any], material: Material) -> str:
    """One page that asks for nothing else: styles, drawings and pictures are inside."""
    style = (TEMPLATES / "style.css").read_text()
    return (
        _environment(autoescape=True)
        .get_template("report.html.j2")
        .render(style=style, **view(report, material))
    )


def render_markdown(report: dict[str, Any]) -> str:
    """The tables and sentences for a terminal, a commit or an issue."""
    return (
        _environment(autoescape=False)
        .get_template("report.md.j2")
        .render(**view(report, Material(), drawn=False))
    )


def view(report: dict[str, Any], material: Material, drawn: bool = True) -> dict[str, Any]:
    """Everything the templates ask for; ``drawn=False`` leaves the pictures out."""
    shipped = report["student"]["shipped"]
    names = [
        name for name in wording.FORMS if name in report["size_bytes"] or name in report["accuracy"]
    ]
    pairs = report["paired"]
    return {
        "report": report,
        "shipped": form(shipped),
        "rows": summary_rows(report, tuple(names)),
        "tiles": sentences.tiles(report),
        "threads": _threads(report),
        "comparisons": [(words, pairs[name]) for name, words in PAIRS.items() if name in pairs],
        "classes": sentences.class_rows(report),
        "numbered": not plots.named(report["dataset"]["class_names"]),
        "long_names": max(len(name) for name in report["dataset"]["class_names"]) > LONG_NAME,
        "class_sentence": sentences.class_sentence(report),
        "confused": sentences.confused(report),
        "calibration_sentence": sentences.calibration_sentence(report),
        "shots": wording.shots(report["dataset"]),
        "domain_columns": domains.domain_columns(report),
        "domain_rows": domains.domain_rows(report),
        "domain_sentence": domains.domain_sentence(report),
        "images_sentence": sentences.images_sentence(report, len(material.sheets)),
        "looks_sentence": recipe.looks_sentence(report),
        "probing_rows": recipe.probing_rows(report),
        "recipe_rows": recipe.recipe_rows(report),
        "sheets": material.sheets,
        "mistakes": [
            {**vars(m), "exact": material.image_size <= EXACT_EDGE} for m in material.mistakes
        ],
        "turned_images": [
            (words, [{**vars(m), "exact": material.image_size <= EXACT_EDGE} for m in found])
            for words, found in (
                ("Right in fp32, wrong in int8", material.right_to_wrong),
                ("Wrong in fp32, right in int8", material.wrong_to_right),
            )
        ],
        **speed.view(report, drawn),
        **devices.view(report, drawn),
        **budget.view(report, drawn),
        **mixtures.view(report, drawn),
        **changed.view(report),
        "kernel_sentence": sentences.kernel_sentence(report),
        "kernel_rows": sorted(
            report["quantization"]["kernels"]["ran"].items(), key=lambda pair: (-pair[1], pair[0])
        ),
        "ptq_sentence": sentences.ptq_sentence(report),
        "parity_rows": sentences.parity_rows(report),
        "environment": sentences.environment_rows(report),
        "versions": sorted(report["environment"].get("versions", {}).items()),
        "provenance": sentences.provenance_rows(report),
        "hashes": list(_by_stage(report["provenance"].get("content", {})).items()),
        "total_time": seconds(sum(report["timings_s"].values())),
        "clip2edge_version": report["environment"].get("versions", {}).get("clip2edge", ""),
        "contents": _contents(report, material),
        "plots": _plots(report, material) if drawn else {},
    }


def _threads(report: Mapping[str, Any]) -> str:
    counts = sorted({row["threads"] for row in report["latency"]})
    return "1 thread" if not counts or counts[0] == 1 else f"{counts[0]} threads"


def _contents(report: Mapping[str, Any], material: Material) -> list[tuple[str, str]]:
    has = bool(report["accuracy"])
    listed = [
        ("results", "Results", True),
        ("budget", "Budget", bool(report["budgets"] or report.get("candidates"))),
        ("devices", "Devices", bool(report.get("devices"))),
        ("latency", "Speed", True),
        ("int8", "int8", True),
        ("domains", "Domains", bool(report.get("domains"))),
        ("classes", "Classes", has),
        ("calibration", "Confidence", has),
        ("images", "Images", bool(material.sheets)),
        ("probing", "Probing", bool(report["synthetic"].get("probing"))),
        ("mistakes", "Mistakes", has),
        ("training", "Training", True),
        ("open", "Not proven", True),
        ("origin", "Repeat", True),
    ]
    return [(anchor, name) for anchor, name, shown in listed if shown]


def _plots(report: Mapping[str, Any], material: Material) -> dict[str, Any]:
    accuracy, shipped = report["accuracy"], report["student"]["shipped"]
    from markupsafe import Markup

    drawn: dict[str, Any] = {"timings": Markup(plots.timings(_by_stage(report["timings_s"])))}
    found = [
        plots.Point(
            name,
            p50,
            accuracy[name]["top1"],
            tuple(accuracy[name]["ci95"]),
            report["size_bytes"][name],
        )
        for name in wording.FORMS
        if name in accuracy
        and name in report["size_bytes"]
        and (p50 := p50_of(report, name)) is not None
    ]
    if found:
        drawn["accuracy_latency"] = Markup(plots.accuracy_latency(found))
        drawn["accuracy_latency_narrow"] = Markup(plots.accuracy_latency(found, 380, 420))
    if shipped in accuracy:
        cells, names = report["confusion"][shipped], report["dataset"]["class_names"]
        drawn["confusion"] = Markup(plots.confusion(cells, names, shipped))
    order = [
        name
        for name in ("teacher", "student_fp32", "student_int8")
        if name in report["calibration"]
    ]
    drawn["reliability"] = [
        (name, Markup(plots.reliability(report["calibration"][name], name, ece)), ece)
        for name in order
        if (ece := accuracy[name]["ece"]) is not None
    ]
    titles = {"distill": "Distillation", "quantize": "Quantization-aware training"}
    drawn["curves"] = [
        (titles[stage], Markup(plots.curve(history, stage)), _curve_caption(history))
        for stage, history in material.histories.items()
        if history
    ]
    return drawn


def _by_stage(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by stage, in the order of the pipeline."""
    known = [name for name in Settings.model_fields if name in values]
    return {
        name: values[name] for name in [*known, *(name for name in values if name not in known)]
    }


def _curve_caption(history: Sequence[Mapping[str, float]]) -> str:
    first, last = history[0], history[-1]
    told = [f"{key} {significant(last[key])}" for key in last if key not in ("step", "lr", "loss")]
    end = f" At the end: {', '.join(told)}." if told else ""
    fell = (
        f"Loss from {significant(first['loss'])} to {significant(last['loss'])} in "
        f"{last['step']:,.0f} steps"
    )
    return f"{fell}; gray: the learning rate.{end}"


def _gate_value(value: float | None, unit: str) -> str:
    shown = {
        "points": lambda v: f"{v:.2f} points",
        "times": lambda v: f"{v:.2f}×",
        "yes": lambda v: "yes" if v else "no",
    }
    return wording.ABSENT if value is None else shown[unit](value)


def _environment(autoescape: bool) -> Any:
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    for name in ("percent", "points", "milliseconds", "p_value", "form", "signed_interval"):
        env.filters[name] = getattr(wording, name)
    env.filters["millijoules"] = devices.millijoules
    env.filters["cell"] = wording.cell
    env.filters["gate_value"] = _gate_value
    return env
