"""What a user names on the command line or in a call, resolved into the settings of a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from compress.engine import config
from compress.engine.config import Settings
from compress.engine.errors import ConfigError
from compress.engine.hub import hub_answers

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
    limits: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    config_file: str | Path | None = None,
) -> Settings:
    """Resolves what a user names into the settings of a whole run.

    Args:
        dataset: a name of ``compress list datasets``; default ``petals``, the embedded world.
        data: a folder of images instead.
        classes: class names instead; no images are needed, ``shots`` must be 0.
        shots: labeled images per class, or "all".
        teacher: an open_clip ``model/tag``, a local folder, or ``petals``.
        generator: ``kandinsky-2.2``, a local folder, or ``petals``.
        student: a timm model name, or ``petal_cnn``.
        preset: a name of ``compress list presets``; default ``edge``, the recipe to recommend.
        limits: of a budget, one a text, e.g. ``"p50<=5ms@orin-nano"``
            (``compress.budgets.grammar``).
        overrides: nested settings that win over everything, e.g. ``{"distill": {"steps": 20}}``.
        config_file: a ``config.yaml`` of an earlier run to start from, instead of a world and a
            preset.

    Raises:
        ConfigError: an unknown name or a wrong value, with the nearest valid one.
    """
    source: dict[str, Any] = {
        "dataset": dataset,
        "path": Path(data).resolve() if data is not None else None,
    }
    source["classes"] = tuple(classes) if classes is not None else None
    given: dict[str, Any] = {key: value for key, value in source.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(
            "more than one source of images",
            got=", ".join(given),
            expected="one of dataset, data, classes",
        )
    flags: dict[str, Any] = {"data": {"dataset": None, **given} if given else {}}
    if shots is not None:
        flags["data"]["shots"] = shots
    elif classes is not None:
        flags["data"]["shots"] = 0
    if offline:
        flags["data"]["offline"] = True
    for section, field, value in (
        ("teacher", "name", teacher),
        ("generate", "generator", generator),
        ("distill", "student", student),
    ):
        if value is not None:
            flags[section] = {field: value}
    if seed is not None:
        flags["seed"] = seed
    if limits:
        flags["budget"] = {"limits": tuple(limits), "search": True}
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

    The embedded world is taken for ``petals``, where it is asked for by name, and, said aloud and
    recorded, for a folder of images where nothing else is named and no hub can be reached.
    """
    data, teacher = flags["data"], flags.get("teacher", {}).get("name")
    if teacher is not None:
        return ("embedded" if teacher == "petals" else "hub"), []
    if (
        data.get("dataset", "petals") == "petals"
        and not data.get("path")
        and not data.get("classes")
    ):
        return "embedded", []
    if data.get("path") and (offline or not hub_answers()):
        why = "--offline was given" if offline else "the model hub cannot be reached"
        return "embedded", [
            f"CLIP ViT-L/14 and Kandinsky 2.2 were not used because {why}: the embedded "
            "miniature teacher, generator and "
            "student (32 px, trained on drawn flowers) stand in for them. The pipeline is "
            "real, the accuracy is not what a "
            "real teacher gives. Name one with --teacher PATH --generator PATH."
        ]
    return "hub", []


def run_name(settings: Settings) -> str:
    """The default name of a run, e.g. ``petals-4shot-s0``."""
    data = settings.data
    what = data.dataset or (data.path.name if data.path else f"{len(data.classes or ())}-classes")
    return f"{what}-{data.shots}shot-s{settings.seed}"


def with_root(settings: Settings, work: Path) -> Settings:
    """Named datasets lie in the work folder unless another place is named."""
    if settings.data.root is not None or settings.data.dataset is None:
        return settings
    return settings.model_copy(
        update={"data": settings.data.model_copy(update={"root": work / "datasets"})}
    )
