"""What the command line does, as typed calls: resolve settings, plan, build."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from compress import config, pipeline, preflight
from compress.budgets.grammar import read_budget
from compress.config import HostSettings, Settings
from compress.errors import ConfigError
from compress.hub import hub_answers
from compress.pipeline import Run, Step
from compress.progress import SILENT, Progress

DEFAULT_PRESET = "edge"


def settings_for(
    dataset: str | None = None,
    *,
    data: str | Path | None = None,
    classes: Iterable[str] | None = None,
    shots: int | Literal["all"] | None = None,
    teacher: str | None = None,
    generator: str | None = None,
    student: str | None = None,
    preset: str | None = None,
    seed: int | None = None,
    offline: bool = False,
    budget: Iterable[str] = (),
    overrides: Mapping[str, Any] | None = None,
    config_file: str | Path | None = None,
) -> Settings:
    """Resolves what a user names into the settings of a whole run.

    Args:
        dataset: a name of ``compress list datasets``; default ``petals``, the embedded world.
        data: a folder of images instead.
        classes: class names instead; no images are needed, ``shots`` must be 0.
        shots: labelled images per class, or "all".
        teacher: an open_clip ``model/tag``, a local folder, or ``petals``.
        generator: ``kandinsky-2.2``, a local folder, or ``petals``.
        student: a timm model name, or ``petal_cnn``.
        preset: a name of ``compress list presets``; default ``edge``, the recipe to recommend.
        budget: limits to search and judge by, e.g. ``["p50<=5ms@orin-nano, size<=6MB"]``, or YAML files of them.
        overrides: nested settings that win over everything, e.g. ``{"distill": {"steps": 20}}``.
        config_file: a ``config.yaml`` of an earlier run to start from, instead of a world and a preset.

    Raises:
        ConfigError: an unknown name or a wrong value, with the nearest valid one.
    """
    source: dict[str, Any] = {"dataset": dataset, "path": Path(data).resolve() if data is not None else None}
    source["classes"] = tuple(classes) if classes is not None else None
    given: dict[str, Any] = {key: value for key, value in source.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(
            "more than one source of images", got=", ".join(given), expected="one of dataset, data, classes"
        )
    flags: dict[str, Any] = {"data": {"dataset": None, **given} if given else {}}
    if shots is not None:
        flags["data"]["shots"] = shots
    elif classes is not None:
        flags["data"]["shots"] = 0
    if offline:
        flags["data"]["offline"] = True
    for section, field, value in (
        ("teacher", "name", teacher), ("generate", "generator", generator), ("distill", "student", student),
    ):  # fmt: skip
        if value is not None:
            flags[section] = {field: value}
    if seed is not None:
        flags["seed"] = seed
    limits = read_budget([budget] if isinstance(budget, str) else budget)
    if limits:
        flags["budget"] = {"limits": limits, "search": True}
    if student is not None and not student.startswith("petal_cnn"):
        flags["distill"]["init"] = "timm"
    if config_file is not None:
        base = [config.read_layer(Path(config_file))]
    else:
        name, notes = _world(flags, offline)
        base = [config.world(name), {"notes": notes}, config.preset(preset or DEFAULT_PRESET)]
    generate = (overrides or {}).get("generate", {})
    if "strategy" in generate and "probing" not in generate:  # who names a strategy wants that one
        flags = config.merge(flags, {"generate": {"probing": {"candidates": ()}}})
    return config.resolve(*base, flags, overrides or {})


def _world(flags: Mapping[str, Any], offline: bool) -> tuple[str, list[str]]:
    """Which world teacher, generator and student come from, and what has to be said about it.

    The embedded world is taken for ``petals``, where it is asked for by name, and, said aloud and recorded, for a folder of
    images where nothing else is named and no hub can be reached.
    """
    data, teacher = flags["data"], flags.get("teacher", {}).get("name")
    if teacher is not None:
        return ("embedded" if teacher == "petals" else "hub"), []
    if data.get("dataset", "petals") == "petals" and not data.get("path") and not data.get("classes"):
        return "embedded", []
    if data.get("path") and (offline or not hub_answers()):
        why = "--offline was given" if offline else "the model hub cannot be reached"
        return "embedded", [
            f"CLIP ViT-L/14 and Kandinsky 2.2 were not used because {why}: the embedded miniature teacher, generator and "
            "student (32 px, trained on drawn flowers) stand in for them. The pipeline is real, the accuracy is not what a "
            "real teacher gives. Name one with --teacher PATH --generator PATH."
        ]
    return "hub", []


def work_folder(work_dir: str | Path | None = None) -> Path:
    """``work_dir``, else ``$CLIP2EDGE_WORK``, else ``./work``."""
    return Path(work_dir or os.environ.get("CLIP2EDGE_WORK") or "work").resolve()


def run_name(settings: Settings) -> str:
    """The default name of a run, e.g. ``petals-4shot-s0``."""
    data = settings.data
    what = data.dataset or (data.path.name if data.path else f"{len(data.classes or ())}-classes")
    return f"{what}-{data.shots}shot-s{settings.seed}"


def plan(settings: Settings, *, work_dir: str | Path | None = None, until: str | None = None) -> list[Step]:
    """What a build would do, stage by stage, without doing it."""
    work = work_folder(work_dir)
    return pipeline.plan(with_root(settings, work), work, until)


def explain(settings: Settings, stage: str, *, work_dir: str | Path | None = None) -> Step:
    """Why a stage would be kept or made again, field by field."""
    work = work_folder(work_dir)
    return pipeline.explain(with_root(settings, work), work, stage)


def with_root(settings: Settings, work: Path) -> Settings:
    """Named datasets lie in the work folder unless another place is named."""
    if settings.data.root is not None or settings.data.dataset is None:
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"root": work / "datasets"})})


def build(
    dataset: str | None = None,
    *,
    settings: Settings | None = None,
    work_dir: str | Path | None = None,
    name: str | None = None,
    until: str | None = None,
    host: HostSettings | None = None,
    progress: Progress = SILENT,
    command: str | None = None,
    benches: Iterable[str | Path] = (),
    **options: Any,
) -> Run:
    """Builds an edge classifier and returns the run: its folder, ``bundle``, ``report`` and stages.

    Takes either ``settings``, or the options of :func:`settings_for`. With a budget, the student that keeps it is searched
    first, and the report judges it: ``run.report["budgets"]``.

    Args:
        benches: ``bench.json`` files of this run's bundle from other devices: their limits are judged by measurement.

    Raises:
        BudgetUnmetError: nothing can keep the budget; said before anything is trained.
        Clip2EdgeError: see ``compress.errors``.
    """
    work = work_folder(work_dir)
    resolved = with_root(settings or settings_for(dataset, **options), work)
    preflight.check(resolved)
    for note in resolved.notes:
        progress.note(f"note: {note}")
    named, measured = name or run_name(resolved), [Path(bench) for bench in benches]
    if resolved.budget.limits:
        from compress.budgets.build import build_within

        if until is not None:
            raise ConfigError(
                "a budget is judged at the end", got=f"--until {until}", expected="a whole build, or no budget"
            )
        return build_within(resolved, work, named, host=host, progress=progress, command=command, benches=measured)
    if measured:
        raise ConfigError(
            "there is no budget to judge by these measurements", got=", ".join(map(str, measured)),
            remedy=f"compress report {named} --bench FILE adds them to the report",
        )  # fmt: skip
    return pipeline.run(resolved, work, named, until=until, host=host, progress=progress, command=command)
