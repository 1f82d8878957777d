"""Stage "generate": synthetic images by a strategy, with a generator or a decoder.

A killed run continues, and a smaller run is a prefix of a larger one: see ``shards.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compress.engine.config import Settings
from compress.engine.executors.spans import environments, make_spans, notes
from compress.engine.plugins import sources
from compress.engine.stage import StageContext
from compress.engine.store import canonical, sha256_text
from compress.generate.artifact import GenerateArtifact, ToolFacts, tool_of
from compress.generate.inversion.prompt_targets import prompt_kind
from compress.generate.missing import check
from compress.generate.probing import candidates, probe
from compress.generate.shards import ShardWork
from compress.generate.sheets import contact_sheet
from compress.generate.sources import read_sources
from compress.generate.strategies.table import strategy_row
from compress.generate.tools import TOOLS, ToolCache


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the files of a `GenerateArtifact` and returns the facts."""
    work, probing = _prepared(ctx)
    settings, sources, tools, strategy = work.settings, work.sources, work.tools, work.strategy
    artifact = GenerateArtifact(ctx.folder)
    names = [entry.name for entry in sources.classes]
    files = make_spans(work)
    embed_dim = artifact.join_shards(files, sources.geometry.size)
    tool = tool_of(files[0]) if files else ToolFacts()
    needs = strategy_row(settings.strategy).needs
    embeds = None
    if tool.name and "image" in needs:
        embeds = sources.shot_embeds.cached(tool.name)
        if embeds is None:  # the file was damaged after the last image
            embeds = sources.shot_embeds.of(tools.get(settings), settings.batch)
    artifact.write_source_conditions(embeds)
    sheets = (
        contact_sheet(list(sources.shots[rows]), list(artifact.images[class_id :: len(names)]))
        for class_id, rows in enumerate(sources.members)
    )
    losses = [record.loss for record in artifact.records if record.loss]
    ends = zip(("first", "last"), np.mean(losses, axis=0).tolist(), strict=True) if losses else None
    return {
        "images": len(artifact.records),
        "per_class": strategy.per_class(),
        "strategy": settings.strategy,
        "generator": tool.name,
        "generator_license": tool.license,
        "generator_fingerprint": tool.fingerprint,
        "generator_image_size": tool.image_size,
        "embed_dim": embed_dim,
        "steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "noise_level": settings.noise_level,
        "scheduler": settings.scheduler,
        "encoder_images": sources.shot_embeds.encoder_images(),
        "loss": dict(ends) if ends else None,  # mean over the optimized images
        "style_agreement": strategy.style_agreement(artifact.images, artifact.records),
        "probing": probing,
        "environments": environments(files),
        "notes": [f"images {note}" for note in notes(files)],
        "sheets": artifact.write_sheets(names, sheets),
        **strategy.facts(),
    }


def span_work(ctx: StageContext) -> ShardWork:
    """The shards of a stage, after probing."""
    return _prepared(ctx)[0]


def _prepared(ctx: StageContext) -> tuple[ShardWork, Mapping[str, object] | None]:
    """What to generate, and what probing found; None if nothing was probed."""
    check(ctx.settings.generate)
    sources, tools = read_sources(ctx), ToolCache(ctx)
    probing = probe(ctx, sources, tools)
    return ShardWork(ctx, probing.settings, held=(sources, tools)), probing.facts


def fingerprint(settings: Settings) -> dict[str, str]:
    """Identifies the weights that decide about the images, before they are loaded.

    Local weights by content, published ones by name; the teacher's too, where it takes part.
    Strategies and prompts of other packages and scripts by their source.
    """
    values: dict[str, list[str]] = {}
    rows = [(each, strategy_row(each.strategy)) for each in candidates(settings.generate)]
    for candidate, row in rows:
        tool = TOOLS[row.tool].fingerprint(candidate) if row.tool else {}
        for name, value in tool.items():
            values.setdefault(name, []).append(value)
    identity = {name: " ".join(dict.fromkeys(each)) for name, each in values.items()}
    identity |= sources({f"strategy {each.strategy}": row for each, row in rows})
    kinds = {each.prompts.kind for each, row in rows if row.from_prompts}
    identity |= sources({f"prompts {kind}": prompt_kind(kind) for kind in sorted(kinds)})
    if not (settings.generate.probing.candidates or any(row.asks_teacher for _, row in rows)):
        return identity
    from compress.teacher.loading import fingerprint as of_teacher

    return {
        **identity,
        **of_teacher(settings),
        "teacher_templates": sha256_text(canonical(list(settings.teacher.templates))),
        "teacher_precision": settings.teacher.precision,
    }
