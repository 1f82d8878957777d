"""The images that candidates are compared on, with the teacher's answers.

They are fresh images of the run's own generator: no student is trained on them, and test images
take no part in any choice. Without a generator, fresh views of the shots are used instead, and the
record says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import ProbingSettings, Settings
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.search.candidates import RungScore
from compress.search.stages import StageMaker

SEEDS = 2**31
BATCH = 64


@dataclass(frozen=True)
class HeldOutImages:
    """Images (N, S, S, 3) that no student has seen, the teacher's logits (N, K), what they are."""

    pixels: NDArray[np.uint8]
    teacher_logits: NDArray[np.float32]
    what: str


def held_out(
    settings: Settings, finished: Mapping[str, Artifact], stages: StageMaker
) -> HeldOutImages:
    """The held-out images of a resolution, from its finished data, teacher and generate stages."""
    from compress.data.augment import ViewRecipe, render_view
    from compress.label.artifact import LabelArtifact
    from compress.label.pools import read_pools

    fresh = fresh_settings(settings, finished["generate"].facts)
    inputs = {name: finished[name] for name in ("data", "teacher")}
    inputs["generate"] = stages.make("generate", fresh, inputs)
    label = stages.make("label", fresh, inputs)
    ctx = StageContext(fresh, inputs, label.path, fresh.seed, stages.host, stages.progress)
    kind = fresh.label.pools[0]
    pool = next(pool for pool in read_pools(ctx) if pool.kind == kind)
    recipe = ViewRecipe.from_settings(fresh.label, fresh.image)
    pixels = [
        render_view(np.asarray(pool.images[i]), recipe, derive(fresh.seed, "view", kind, i, v))
        for i in range(len(pool.images))
        for v in range(pool.views)
    ]
    targets = LabelArtifact(label.path).targets(kind)
    assert targets is not None  # the only pool that the settings ask about
    logits = targets.logits.reshape(-1, targets.logits.shape[-1])
    shots = "fresh views of the shots: nothing is generated"
    what = "fresh synthetic images" if kind == "synthetic" else shots
    return HeldOutImages(np.stack(pixels), logits, what)


def fresh_settings(settings: Settings, facts: Mapping[str, Any]) -> Settings:
    """The settings of the held-out images: another seed and few images, generated as the run's own.

    Args:
        facts: of the run's generate stage; the outcome of its probing is used again.
    """
    count = settings.budget.held_out
    has_images = bool(facts.get("images"))
    probed = ("strategy", "steps", "guidance_scale", "noise_level")
    generate = {key: facts[key] for key in probed if facts.get(key) is not None}
    generate |= {"per_class": count if has_images else 0, "synth_ratio": None}
    generate["probing"] = ProbingSettings()
    pool = "synthetic" if has_images else "real"
    label = {
        "views": 1,
        "real_views": count,
        "least_views": 0,
        "agreement_filter": False,
        "weight": "none",
        "pools": (pool,),
    }
    update = {
        "seed": derive(settings.seed, "held out") % SEEDS,
        "generate": settings.generate.model_copy(update=generate),
        "label": settings.label.model_copy(update=label),
    }
    return settings.model_copy(update=update)


def score(distilled: Artifact, settings: Settings, images: HeldOutImages) -> RungScore:
    """How often the student of a distill stage gives the teacher's class."""
    classes = predict(distilled, settings, images.pixels).argmax(axis=1)
    share = float((classes == images.teacher_logits.argmax(axis=1)).mean())
    count = len(classes)
    error = float(np.sqrt(max(share * (1 - share), 0.25 / count) / count))
    steps = distilled.facts["steps"]
    return RungScore(steps, images.what, round(share, 6), round(error, 6), count)


def predict(
    distilled: Artifact, settings: Settings, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Logits (N, K) of a distill stage's student for pixels (N, S, S, 3) of its geometry."""
    import torch

    import runtime
    from compress.distill.artifact import DistillArtifact

    student = DistillArtifact(distilled.path).student()
    spec = student.spec.preprocess(settings.image)
    starts = range(0, len(pixels), BATCH)
    inputs = (runtime.normalize(np.asarray(pixels[at : at + BATCH]), spec) for at in starts)
    with torch.no_grad():
        return np.concatenate([student(torch.from_numpy(batch)).numpy() for batch in inputs])
