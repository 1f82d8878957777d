"""The section "Training": loss curves, time per stage, and the recipe in short rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compress.report.charts import training as plots
from compress.report.model.report import Report
from compress.report.sections.origin import by_stage
from compress.report.wording import plural, significant

History = Sequence[Mapping[str, float]]
TITLES = {"distill": "Distillation", "quantize": "Quantization-aware training"}

#: distill.meta.mode -> words
META = {
    "exact": "exact second-order meta steps",
    "first_order": "first-order meta steps",
    "reptile": "Reptile meta steps",
}


def recipe_rows(report: Report) -> list[tuple[str, str]]:
    """The choices of the run, without those that are off."""
    recipe = report.recipe
    if not recipe:
        return []
    preset = recipe.preset
    if preset and recipe.preset_changes:
        preset += f", {plural(recipe.preset_changes, 'setting')} changed"
    objective = recipe.objective
    if objective and recipe.terms:
        weights = ", ".join(f"{name} × {weight:g}" for name, weight in recipe.terms.items())
        objective += f" ({weights})"
    features, views = recipe.feature_steps, recipe.teacher_images
    rows = [
        ("preset", preset),
        ("strategy", recipe.strategy),
        ("objective", objective),
        ("features first", features and f"{features:,} steps of feature distillation alone"),
        ("meta", META.get(recipe.meta or "")),
        ("trained", recipe.train == "head" and "the head alone; the trunk stayed as it was"),
        ("steps", recipe.steps and f"{recipe.steps:,}"),
        ("teacher calls", "" if views is None else f"{views:,} image views"),
    ]
    return [(name, str(value)) for name, value in rows if value]


def curves(histories: Mapping[str, History]) -> list[tuple[str, str, str]]:
    """Title, drawing and caption of every stage that trained."""
    return [
        (TITLES[stage], plots.curve(history, stage), _caption(history))
        for stage, history in histories.items()
        if history
    ]


def timings_plot(report: Report) -> str:
    """Time per stage as bars."""
    return plots.timings(by_stage(report.timings_s))


def _caption(history: History) -> str:
    first, last = history[0], history[-1]
    parts = [f"{key} {significant(last[key])}" for key in last if key not in ("step", "lr", "loss")]
    end = f" At the end: {', '.join(parts)}." if parts else ""
    return (
        f"Loss from {significant(first['loss'])} to {significant(last['loss'])} in "
        f"{last['step']:,.0f} steps; gray: the learning rate.{end}"
    )
