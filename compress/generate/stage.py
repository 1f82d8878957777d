"""Stage "generate": synthetic images by a strategy and a generator (or a decoder).

How they are made, so that a killed run continues and a smaller run is a prefix of a larger one, is
in ``shards.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings, Settings
from compress.engine.errors import ConfigError, nearest
from compress.engine.hub import fingerprint_path
from compress.engine.stage import StageContext, resolve
from compress.engine.store import canonical, sha256_text
from compress.generate.base import Input, Job, Made, Sources, Strategy, wants_images
from compress.generate.generators.table import check_fits, locate
from compress.generate.probing import candidates, choose
from compress.generate.shards import assemble, batches, job_at, make_shards, to_edge
from compress.generate.sheets import contact_sheet, sheet_names
from compress.generate.tools import Tools

if TYPE_CHECKING:
    from compress.teacher.clip import Teacher


class NoSynthesis:
    """The strategy that makes nothing."""

    tool: ClassVar[Literal["generator", "decoder"]] = "generator"
    needs: ClassVar[frozenset[Input]] = frozenset()
    asks_teacher: ClassVar[bool] = False

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        pass

    def per_class(self) -> int:
        """None."""
        return 0

    def facts(self) -> dict[str, Any]:
        """Nothing to say."""
        return {}

    def make(self, jobs: Sequence[Job], tool: Any) -> Made:
        """Nothing, whatever is asked for."""
        return Made(np.empty((0, 1, 1, 3), np.uint8), np.empty((0, 0), np.float32), [])


# Names -> strategies, imported when used. To add one: a file with the class and a row here.
STRATEGIES = {
    "sidclip": "compress.generate.strategies.sidclip:Sidclip",
    "cls2img": "compress.generate.strategies.cls2img:ClassToImage",
    "img2img": "compress.generate.strategies.img2img:ImageToImage",
    "inversion": "compress.generate.inversion.strategy:Inversion",
    "none": "compress.generate.stage:NoSynthesis",
}


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the synthetic images and where they come from.

    synthetic.npy (N, C, C, 3), synthetic.jsonl, conditions.npy (N, E) fp16 (E = 0: none),
    source_conditions.npy (n, E) fp32, the generator's raw embeddings of the shots ((0, 0) where the
    strategy needs none), a contact sheet per class.
    """
    check(ctx.settings.generate)
    sources, tools = read_sources(ctx), Tools(ctx)
    choice = choose(
        ctx.settings.generate,
        sources,
        partial(_sample, ctx, sources, tools),
        ctx.partial / "probing.json",
    )
    settings, strategy = choice.settings, make_strategy(choice.settings, sources)
    classes, edge = len(sources.classes), sources.shots.shape[1]
    count = strategy.per_class() * classes
    shards = make_shards(
        ctx, strategy, lambda: tools.get(settings, strategy), count, classes, edge, settings.batch
    )
    embed_dim = assemble(ctx.folder, shards, edge)
    about = tools.about() if count else {}
    embeds = sources.shot_embeds.kept(about.get("name", "")) if "image" in strategy.needs else None
    np.save(
        ctx.folder / "source_conditions.npy",
        np.empty((0, 0), np.float32) if embeds is None else embeds,
        allow_pickle=False,
    )
    return {
        "images": count,
        "per_class": strategy.per_class(),
        "strategy": settings.strategy,
        "generator": about.get("name"),
        "generator_license": about.get("license"),
        "generator_fingerprint": about.get("fingerprint"),
        "generator_image_size": about.get("image_size"),
        "embed_dim": embed_dim,
        "steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "noise_level": settings.noise_level,
        "scheduler": settings.scheduler,
        "encoder_images": sources.shot_embeds.encoder_images(),
        "loss": _mean_loss(ctx.folder / "synthetic.jsonl"),
        "probing": choice.facts,
        "sheets": _write_sheets(ctx.folder, sources),
        **strategy.facts(),
    }


def _mean_loss(records: Path) -> dict[str, float] | None:
    """Mean loss of optimized images at their first and last step; None where nothing was
    optimized.
    """
    rows = [json.loads(line)["loss"] for line in records.read_text().splitlines()]
    losses = [row for row in rows if row is not None]
    return (
        dict(zip(("first", "last"), np.mean(losses, axis=0).tolist(), strict=True))
        if losses
        else None
    )


def strategy_class(name: str) -> type[Strategy]:
    """The strategy's class by name.

    Raises:
        ConfigError: no such strategy (with the nearest name).
    """
    if name not in STRATEGIES:
        raise ConfigError("unknown strategy", got=repr(name), remedy=nearest(name, STRATEGIES))
    found: Any = resolve(STRATEGIES[name])
    kind: type[Strategy] = found
    return kind


def make_strategy(settings: GenerateSettings, sources: Sources) -> Strategy:
    """The strategy by name.

    Raises:
        ConfigError: no such strategy (with the nearest name).
    """
    build: Any = strategy_class(settings.strategy)
    made: Strategy = build(settings, sources)
    return made


def check(settings: GenerateSettings) -> None:
    """Refuses settings whose generator cannot do what their strategy needs; of several candidates
    one must do.

    Raises:
        ConfigError: also for an unknown strategy, generator or override.
    """
    refused = []
    for wanted in candidates(settings):
        kind = strategy_class(wanted.strategy)
        try:
            if wants_images(wanted) and kind.tool == "generator":
                check_fits(wanted, kind.needs)
        except ConfigError as error:
            refused.append(error)
    if len(refused) == len(candidates(settings)):
        raise refused[0]


def fingerprint(settings: Settings) -> dict[str, str]:
    """What identifies the weights that make the images before they are loaded.

    Local ones' content, published ones' name; the teacher's too, where it decides about the images.
    """
    found: dict[str, list[str]] = {}
    for wanted in candidates(settings.generate):
        kind = strategy_class(wanted.strategy)
        for name, value in (
            FINGERPRINTS[kind.tool](wanted) if wanted.strategy != "none" else {}
        ).items():
            found.setdefault(name, []).append(value)
    out = {name: " ".join(dict.fromkeys(values)) for name, values in found.items()}
    asks = any(
        strategy_class(wanted.strategy).asks_teacher for wanted in candidates(settings.generate)
    )
    return (
        {**out, **_teacher_identity(settings)}
        if asks or settings.generate.probing.candidates
        else out
    )


def _generator_identity(settings: GenerateSettings) -> dict[str, str]:
    place = locate(settings.generator)
    if not place.parts:
        from compress.petals.weights import WEIGHTS

        return {"generator": fingerprint_path(WEIGHTS)}
    folders = [Path(part).expanduser() for part in place.parts]
    local = [fingerprint_path(folder) for folder in folders if folder.is_dir()]
    return {"generator": " ".join(local) or settings.generator}


def _decoder_identity(settings: GenerateSettings) -> dict[str, str]:
    from compress.generate.inversion.decoders import fingerprint as of_decoder

    return dict(of_decoder(settings))


def _teacher_identity(settings: Settings) -> dict[str, str]:
    from compress.teacher.clip import fingerprint as of_teacher

    chosen = settings.teacher
    return {
        **of_teacher(settings),
        "teacher_templates": sha256_text(canonical(list(chosen.templates))),
        "teacher_precision": chosen.precision,
    }


# What images are made with -> its identity.
FINGERPRINTS = {"generator": _generator_identity, "decoder": _decoder_identity}


def read_sources(ctx: StageContext) -> Sources:
    """The run's classes and shots. Nothing else of the data stage is opened: test images cannot
    leak.
    """
    data = ctx.inputs["data"].path
    rows = json.loads((data / "shots.json").read_text())

    @cache
    def teacher() -> Teacher:
        from compress.teacher.clip import load_teacher

        return load_teacher(
            ctx.settings.teacher, ctx.host.device, offline=ctx.settings.data.offline
        )

    return Sources(
        classes=json.loads((data / "classes.json").read_text()),
        shots=np.load(data / "shots.npy", mmap_mode="r"),
        labels=np.asarray([row["label"] for row in rows], np.int64),
        keys=[row["key"] for row in rows],
        seed=ctx.seed,
        teacher=teacher,
        templates=ctx.settings.teacher.templates,
        cache=ctx.partial,
    )


def _sample(
    ctx: StageContext, sources: Sources, tools: Tools, settings: GenerateSettings, per_class: int
) -> NDArray[np.uint8]:
    """Images to probe settings with, at the cache's edge; their seeds are not those of the bulk."""
    strategy, classes, edge = (
        make_strategy(settings, sources),
        len(sources.classes),
        sources.shots.shape[1],
    )
    rows = range(per_class * classes)
    made: list[NDArray[np.uint8]] = []
    jobs = partial(job_at, classes=classes, seed=ctx.seed, purpose="probing")
    with ctx.progress.task("probe", total=len(rows), unit="image") as task:
        for part in batches(
            strategy, lambda: tools.get(settings, strategy), jobs, rows, settings.batch
        ):
            task.advance(min(settings.batch, len(rows) - len(made)))
            made += [to_edge(image, edge) for image in part.images]
    return np.stack(made[: len(rows)])


def _write_sheets(folder: Path, sources: Sources) -> list[str]:
    images = np.load(folder / "synthetic.npy", mmap_mode="r")
    names = sheet_names([row["name"] for row in sources.classes])
    for class_id, name in enumerate(names):
        real = [np.asarray(sources.shots[row]) for row in sources.members[class_id]]
        contact_sheet(real, images[class_id :: len(names)]).save(folder / name)
    return names
