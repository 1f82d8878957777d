"""Before any work: what the distill stage would refuse, told from settings and file heads alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from compress.distill.schedule import stays_frozen
from compress.engine.errors import ConfigError
from compress.engine.preflight import Before, Check
from compress.engine.ranks import started
from compress.generate.probing import candidates
from compress.generate.strategies.table import generates_images, strategy_row
from compress.teacher.checks import require_texts
from compress.teacher.loading import embed_dim

if TYPE_CHECKING:
    from compress.distill.pools import TargetName
    from compress.engine.config import DistillSettings, Settings


def checks(before: Before) -> Iterator[Check]:
    """A student that takes the images, weights that fit it, and an objective with its targets."""
    yield partial(_student, before.settings)
    yield partial(_targets, before.settings)
    yield partial(_options, before.settings)
    yield partial(require_divisible, before.settings, started())
    yield partial(_texts, before.settings)


def _student(settings: Settings) -> None:
    from compress.distill.first_weights import require_weights
    from compress.distill.students import require_takes

    trunk = require_takes(settings.distill, settings.image)
    require_weights(settings.distill, trunk, embed_dim(settings.teacher))


def _targets(settings: Settings) -> None:
    from compress.distill.objectives import (
        objective_spec,
        pretraining_steps,
        require_labels,
        require_targets,
        require_trusted_labels,
    )
    from compress.distill.stage import require_images

    objective_spec(settings.distill)  # an unknown one
    require_labels(settings.distill)
    pretraining_steps(settings.distill, 1)
    pools = expected_targets(settings)
    require_images(bool(pools))
    require_targets(settings.distill, frozenset.intersection(*pools.values()))
    require_trusted_labels(settings.distill, "real" in pools)


def expected_targets(settings: Settings) -> dict[str, frozenset[TargetName]]:
    """Pool in use -> its targets.

    Conditions are expected if any candidate of the probing makes them.
    """
    rows = [
        strategy_row(one.strategy)
        for one in candidates(settings.generate)
        if generates_images(one) and (one.synth_ratio is None or settings.data.shots)
    ]
    in_use = {
        "real": bool(settings.data.shots and (settings.distill.real_fraction or not rows)),
        "synthetic": bool(rows and (settings.distill.real_fraction < 1 or not settings.data.shots)),
    }
    conditions = {
        "real": any("image" in row.needs for row in rows),
        "synthetic": any(
            row.keeps_conditions and ("image" in row.needs or row.tool == "decoder") for row in rows
        ),
    }
    labeled = settings.label.pools
    targets: dict[str, frozenset[TargetName]] = {}
    for pool in (name for name, used in in_use.items() if used):
        answers: set[TargetName] = {"features", "logits"} if pool in labeled else set()
        targets[pool] = frozenset(answers | ({"conditions"} if conditions[pool] else set()))
    return targets


def _options(settings: Settings) -> None:
    from compress.distill.diffusion import NoiseSchedule
    from compress.distill.gendd import require_chunks
    from compress.distill.meta import require_inner_rate

    distill = settings.distill
    if "gendd" in _terms(distill):
        NoiseSchedule.cosine(distill.gendd.diffusion_steps).respaced(distill.gendd.sampling_steps)
        dim = embed_dim(settings.teacher)
        if dim is not None:
            require_chunks(distill.gendd, dim)
    if distill.mixup:
        require_mixes_pixels(distill)
    if distill.meta.mode == "reptile" and distill.meta.inner_lr is not None:
        require_inner_rate(distill.meta.inner_lr)


def require_mixes_pixels(distill: DistillSettings) -> None:
    """Raises ConfigError where mixup has no step to work in."""
    got = f"distill.mixup={distill.mixup:g}"
    none = "--set distill.mixup=0"
    if stays_frozen(distill):
        what = "mixup mixes pixels, and a frozen trunk's features are computed once"
        raise ConfigError(what, got=f"{got}, distill.train=head", remedy=none)
    if distill.meta.mode != "none":
        what = "a meta step parts images by style, and mixup would mix them"
        raise ConfigError(what, got=f"{got}, distill.meta.mode={distill.meta.mode}", remedy=none)


def _terms(distill: DistillSettings) -> set[str]:
    from compress.distill.objectives import terms_of

    return set(terms_of(distill))


def require_divisible(settings: Settings, ranks: int) -> None:
    """Raises ConfigError for what several ranks of torchrun cannot train as one would.

    Their losses are means over a batch's rows, so equal shares of the rows add up to the same, and
    DIST, which correlates over the whole batch, gathers it. A meta step's gradient is no such mean,
    mixup takes partners from the whole batch, and batch norms of one domain count its rows.
    """
    distill = settings.distill
    one = "build it without torchrun"
    if ranks == 1:
        return
    if distill.batch % ranks:
        nearest = max(ranks, round(distill.batch / ranks) * ranks)
        raise ConfigError(
            "the ranks of torchrun cannot share a batch evenly",
            got=f"distill.batch={distill.batch} for {ranks} ranks",
            expected=f"a multiple of {ranks}",
            remedy=f"--set distill.batch={nearest}",
        )
    if distill.meta.mode != "none":
        raise ConfigError(
            "meta steps are not shared by ranks of torchrun",
            got=f"distill.meta.mode={distill.meta.mode} for {ranks} ranks",
            remedy=f"{one}, or --set distill.meta.mode=none",
        )
    for setting, value, none in (
        ("mixup", distill.mixup, "0"),
        ("batch_norm", distill.batch_norm != "shared" and distill.batch_norm, "shared"),
    ):
        if value:
            raise ConfigError(
                f"distill.{setting} is not shared by ranks of torchrun",
                got=f"distill.{setting}={value} for {ranks} ranks",
                remedy=f"{one}, or --set distill.{setting}={none}",
            )
    if distill.gendd.mixup_beta and "gendd" in _terms(distill):
        raise ConfigError(
            f"the objective {distill.objective} with mixup is not shared by ranks of torchrun",
            got=f"distill.gendd.mixup_beta={distill.gendd.mixup_beta:g} for {ranks} ranks",
            remedy=f"{one}, or --set distill.gendd.mixup_beta=0",
        )


def _texts(settings: Settings) -> None:
    """Refuses what reads the class texts, with a teacher that has none."""
    distill = settings.distill
    if distill.objective == "ld":
        require_texts(settings.teacher, "distill.objective=ld", "--set distill.objective=kd")
    if distill.center == "text" and {"contraction", "gendd"} & _terms(distill):
        remedy = "--set distill.center=probe_row"
        require_texts(settings.teacher, "distill.center=text", remedy)
    if distill.init == "clip" and distill.head != "linear":
        remedy = "--set distill.init=timm, or --set distill.head=linear"
        require_texts(settings.teacher, "a student that starts as a small CLIP", remedy)
