"""What candidates are compared on: fresh images of the run's own generator, and the teacher's
answers to them.

No student was trained on them, and test images take no part in any choice. Where nothing is
generated, fresh views of the shots have to do, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import HostSettings, ProbingSettings, Settings
from compress.engine.progress import Progress
from compress.engine.runner import make
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.engine.store import Artifact, Store
from compress.stages import STAGES

SEEDS = 2**31
BATCH = 64


@dataclass(frozen=True)
class HeldOut:
    """Views (N, S, S, 3) uint8 that no student has seen, and the teacher's logits (N, K) for
    them.
    """

    pixels: NDArray[np.uint8]
    teacher: NDArray[np.float32]
    what: str

    @property
    def answers(self) -> NDArray[np.int64]:
        """The teacher's classes (N,)."""
        out: NDArray[np.int64] = self.teacher.argmax(axis=1)
        return out


@dataclass(frozen=True)
class Score:
    """A student on the held-out images: share of the teacher's answers it gives, its standard
    error, and how many images.
    """

    agreement: float
    error: float
    n: int

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return {
            "agreement": round(self.agreement, 6),
            "standard_error": round(self.error, 6),
            "held_out_images": self.n,
        }


def held_out(
    settings: Settings,
    finished: Mapping[str, Artifact],
    store: Store,
    host: HostSettings,
    progress: Progress,
) -> HeldOut:
    """Makes (or finds) the held-out images of a resolution.

    Args:
        finished: the stages data, teacher and generate of the run at that resolution.
    """
    from compress.data.augment import ViewRecipe, render_view
    from compress.label.artifact import LabelArtifact
    from compress.label.pools import read_pools

    fresh = fresh_settings(settings, finished["generate"].facts)
    stages = {stage.name: stage for stage in STAGES}
    inputs = {name: finished[name] for name in ("data", "teacher")}
    inputs["generate"] = make(stages["generate"], fresh, inputs, store, host, progress)
    label = make(stages["label"], fresh, inputs, store, host, progress)
    ctx = StageContext(fresh, inputs, label.path, fresh.seed, host, progress)
    kind = fresh.label.pools[0]
    pool = next(pool for pool in read_pools(ctx) if pool.kind == kind)
    recipe = ViewRecipe.from_settings(fresh.label, fresh.image)
    pixels = [
        render_view(np.asarray(pool.images[i]), recipe, derive(fresh.seed, "view", kind, i, v))
        for i in range(len(pool.images))
        for v in range(pool.views)
    ]
    targets = LabelArtifact(label.path).targets(kind)
    assert targets is not None, "the label stage asks about the one pool of fresh_settings"
    logits = targets.logits
    what = (
        "fresh synthetic images"
        if kind == "synthetic"
        else "fresh views of the shots: nothing is generated"
    )
    return HeldOut(np.stack(pixels), logits.reshape(-1, logits.shape[-1]), what)


def fresh_settings(settings: Settings, made: Mapping[str, Any]) -> Settings:
    """The settings of the held-out images: another seed, few images, as the run's own were made in
    the end.

    Args:
        made: the facts of the run's generate stage: what probing chose is not chosen again.
    """
    chosen = {
        key: made[key]
        for key in ("strategy", "steps", "guidance_scale", "noise_level")
        if made.get(key) is not None
    }
    generates = bool(made.get("images"))
    count = settings.budget.held_out if generates else 0
    generate = settings.generate.model_copy(
        update={**chosen, "per_class": count, "synth_ratio": None, "probing": ProbingSettings()}
    )
    label = settings.label.model_copy(
        update={
            "views": 1,
            "real_views": settings.budget.held_out,
            "agreement_filter": False,
            "pools": ("synthetic",) if generates else ("real",),
        }
    )
    seed = derive(settings.seed, "held out") % SEEDS
    return settings.model_copy(update={"seed": seed, "generate": generate, "label": label})


def score(student: Artifact, settings: Settings, images: HeldOut) -> Score:
    """How often a trained student (a finished distill stage) gives the teacher's answer."""
    answers = predict(student, settings, images.pixels).argmax(axis=1)
    share = float((answers == images.answers).mean())
    count = len(answers)
    return Score(share, float(np.sqrt(max(share * (1 - share), 0.25 / count) / count)), count)


def predict(
    student: Artifact, settings: Settings, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Logits (N, K) of a finished distill stage for pixels (N, S, S, 3) of its geometry."""
    import torch

    import runtime
    from compress.distill.artifact import DistillArtifact

    net = DistillArtifact(student.path).student()
    spec = net.spec.preprocess(settings.image)
    with torch.no_grad():
        parts = [
            net(
                torch.from_numpy(runtime.normalize(np.asarray(pixels[at : at + BATCH]), spec))
            ).numpy()
            for at in range(0, len(pixels), BATCH)
        ]
    return np.concatenate(parts)
