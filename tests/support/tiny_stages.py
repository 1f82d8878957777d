"""A table of three tiny stages, and builds of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compress.engine import runner
from compress.engine.config import Settings, merge, resolve
from compress.engine.plan import up_to
from compress.engine.runs import RunFolder
from compress.engine.stage import Stage, StageContext
from compress.engine.store import Store


def small(ctx: StageContext) -> dict[str, Any]:
    """A stage that writes its inputs' contents and the seed."""
    inputs = {name: artifact.content for name, artifact in ctx.inputs.items()}
    text = json.dumps([ctx.seed, ctx.settings.data.shots, inputs], sort_keys=True)
    (ctx.folder / "out.json").write_text(text)
    return {"inputs": len(inputs)}


def constant(ctx: StageContext) -> dict[str, Any]:
    """A stage whose bytes do not depend on its settings."""
    (ctx.folder / "out").write_text("same")
    return {}


TABLE = (
    Stage("data", (), ("data.shots", "seed"), f"{__name__}:small"),
    Stage("teacher", ("data",), ("teacher",), f"{__name__}:constant"),
    Stage("distill", ("data", "teacher"), ("distill",), f"{__name__}:small"),
)


def build(settings: Settings, work: Path, name: str, until: str | None = None) -> runner.BaseRun:
    """A run of the table."""
    built = runner.BaseRun(name, RunFolder.of(work, name).path, settings)
    return runner.run(up_to(TABLE, until), built, Store.of(work), publish=lambda run: None)


def changed(**sections: object) -> Settings:
    """The default settings but for these."""
    return resolve(merge(Settings().plain(), sections))
