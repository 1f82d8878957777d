"""GenDD: distillation as generation of the teacher's feature from the student's (arXiv 2507.14503,
methods.md D).

A small diffusion model, conditioned on the student's pooled feature ``z``, learns to generate the
teacher's feature; its loss trains the student. Two ideas make that work:

* split tokenization: a feature of D dimensions is generated as D / token_dim independent chunks of
    ``token_dim``;
* distribution contraction: the target moves toward its class, ``x' = (1 - s) f_T + s c_y``. Since

      |x - x'|^2 = (1 - s) |x - f_T|^2 + s |x - c_y|^2 - s (1 - s) |f_T - c_y|^2,

  and the last term does not depend on x, this is a multi-task loss in disguise.

CLIP's unit rows have a deviation of about D^-1/2 per dimension against the diffusion's unit noise,
so features and centers are standardized with one affine map and sampled features mapped back [I].

Nothing of this ships. The device gets the trunk and a linear probe on it; :func:`sampled_logits` is
the reference path, which costs D / token_dim x sampling_steps x 2 x samples calls of the denoiser
per image. :class:`ContractionTerm` is the control that has the contracted target without the
diffusion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.distill.diffusion import Denoiser, NoiseSchedule, ancestral_sample, hybrid_loss
from compress.engine.config import DistillSettings
from compress.engine.errors import ConfigError, nearest

MIN_STD_SHARE = (
    0.01  # of the mean deviation: a dimension that hardly varies must not blow up the centers [I]
)


class Targets(Protocol):
    """What of a batch is read here: ``teacher_features (B, D)`` unit rows, and ``labels (B,)``
    int64 or ``(B, K)`` soft.
    """

    @property
    def teacher_features(self) -> Tensor | None: ...

    @property
    def labels(self) -> Tensor: ...


class Teaching(Protocol):
    """What of a run is read here; tables of unit rows ``(K, D)``, statistics ``(D,)`` of the cached
    features.
    """

    @property
    def settings(self) -> DistillSettings: ...

    @property
    def zero_shot(self) -> Tensor: ...

    @property
    def probe(self) -> Tensor: ...

    @property
    def class_means(self) -> Tensor: ...

    @property
    def feature_mean(self) -> Tensor: ...

    @property
    def feature_std(self) -> Tensor: ...

    @property
    def logit_scale(self) -> Any: ...  # float or Tensor ()


CENTERS: dict[str, Callable[[Teaching], Tensor]] = {
    "text": lambda lesson: lesson.zero_shot,
    "image_mean": lambda lesson: lesson.class_means,
    "probe_row": lambda lesson: lesson.probe,
}


def centers(lesson: Teaching) -> Tensor:
    """Where contraction leads, ``(K, D)``: class texts, mean image features or the rows of the
    teacher's probe.

    Raises:
        ConfigError: unknown name, with the nearest one.
    """
    name = lesson.settings.center
    if name not in CENTERS:
        raise ConfigError("unknown center", got=repr(name), remedy=nearest(name, CENTERS))
    return CENTERS[name](lesson)


def contract(features: Tensor, targets: Tensor, smooth: float) -> Tensor:
    """``(1 - s) features + s targets``, ``(B, D)``; the variance within a class falls by ``(1 -
    s)^2``.

    Args:
        features: ``(B, D)``.
        targets: ``(B, D)``, the center of every row, see :func:`class_centers`.
        smooth: s in [0, 1].
    """
    return (1 - smooth) * features + smooth * targets


def class_centers(table: Tensor, labels: Tensor) -> Tensor:
    """The center ``(B, D)`` of every row: ``table[y]`` for labels ``(B,)`` int, ``y @ table`` for
    soft ones ``(B, K)``.
    """
    return labels.to(table.dtype) @ table if labels.ndim == 2 else table[labels]


def split(features: Tensor, token_dim: int) -> Tensor:
    """Chunks ``(B, D / token_dim, token_dim)`` of ``(B, D)``: neighboring dimensions stay
    together.
    """
    return features.reshape(len(features), -1, token_dim)


def merge(chunks: Tensor) -> Tensor:
    """The inverse of :func:`split`: ``(B, C, d)`` to ``(B, C * d)``."""
    return chunks.flatten(1)


def chunk_count(dim: int, token_dim: int) -> int:
    """How many chunks a feature of ``dim`` has.

    Raises:
        ConfigError: ``token_dim`` does not divide it; names the widths that do.
    """
    if dim % token_dim:
        divisors = [width for width in range(1, dim + 1) if dim % width == 0]
        raise ConfigError(
            "the teacher's feature cannot be split into chunks",
            got=f"token_dim={token_dim} for D={dim}",
            expected=f"a divisor of {dim}",
            remedy="--set "
            f"distill.gendd.token_dim={min(divisors, key=lambda width: abs(width - token_dim))}",
        )
    return dim // token_dim


class Standardizer(nn.Module):
    """The per-dimension affine map of ``(B, D)`` features to zero mean and unit deviation, and
    back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone().float())
        self.register_buffer(
            "std", std.detach().clone().float().clamp(min=float(std.mean()) * MIN_STD_SHARE)
        )

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std

    def invert(self, standard: Tensor) -> Tensor:
        """Back to the teacher's space."""
        return standard * self.std + self.mean


class ContractedTarget(nn.Module):
    """``batch -> x' (B, D)``, contracted and standardized. The map is affine, so which comes first
    does not matter.
    """

    centers: Tensor

    def __init__(self, lesson: Teaching) -> None:
        super().__init__()
        self.smooth = lesson.settings.smooth
        self.standardize = Standardizer(lesson.feature_mean, lesson.feature_std)
        self.register_buffer("centers", centers(lesson).detach().clone().float())

    def forward(self, batch: Targets) -> Tensor:
        assert batch.teacher_features is not None  # the objective has asked for them
        features = batch.teacher_features.float()
        if self.smooth:  # at s = 0 no label is looked at: there may be none
            features = contract(features, class_centers(self.centers, batch.labels), self.smooth)
        standard: Tensor = self.standardize(features)
        return standard


class ContractionTerm(nn.Module):
    """Target smoothing without diffusion: ``mean (P(pooled) - x')^2`` with a bias-free ``P: F ->
    D``. The control of GenDD.

    Call: ``(pooled (B, F), batch) -> loss ()``.
    """

    def __init__(self, width: int, lesson: Teaching) -> None:
        super().__init__()
        self.target = ContractedTarget(lesson)
        self.proj = nn.Linear(width, len(lesson.feature_mean), bias=False)

    def forward(self, pooled: Tensor, batch: Targets) -> Tensor:
        return F.mse_loss(self.proj(pooled).float(), self.target(batch))

    @torch.no_grad()
    def features(self, pooled: Tensor) -> Tensor:
        """The predicted teacher features ``(B, D)``, in the teacher's space."""
        return self.target.standardize.invert(self.proj(pooled).float())


class GenddTerm(nn.Module):
    """The diffusion loss of the contracted teacher feature, given the student's pooled one.

    Call: ``(pooled (B, F), batch) -> loss ()``, MSE + VLB averaged over images, chunks and repeats.
        Random numbers come from
    torch's global generator, which the training loop seeds before every step.

    Args:
        width: F of the student's pooled feature.

    Raises:
        ConfigError: ``gendd.token_dim`` does not divide D; unknown ``center``; more sampling steps
            than diffusion steps.
    """

    head: Tensor

    def __init__(self, width: int, lesson: Teaching) -> None:
        super().__init__()
        options, dim = lesson.settings.gendd, len(lesson.feature_mean)
        self.options, self.chunks = options, chunk_count(dim, options.token_dim)
        self.target = ContractedTarget(lesson)
        self.norm = nn.LayerNorm(width)
        self.denoiser = Denoiser(
            options.token_dim, self.chunks, width, options.width, options.depth
        )
        self.schedule = NoiseSchedule.cosine(options.diffusion_steps)
        self.schedule.respaced(
            options.sampling_steps
        )  # a wrong number is told now, not after the training
        self.logit_scale = float(lesson.logit_scale)
        self.register_buffer("head", lesson.probe.detach().clone().float())

    def forward(self, pooled: Tensor, batch: Targets) -> Tensor:
        mse, vlb = self.terms(pooled, batch)
        return (mse + vlb).mean()

    def terms(self, pooled: Tensor, batch: Targets) -> tuple[Tensor, Tensor]:
        """MSE and VLB of every row, ``(repeats * B * C,)`` each, repeats outermost."""
        condition, target = self.norm(pooled.float()), self.target(batch)
        if self.options.mixup_beta:
            condition, target = mixup(condition, target, self.options.mixup_beta)
        rows, chunk = repeat_condition(condition, self.chunks, self.options.repeats)
        rows = drop_condition(rows, self.options.condition_drop)
        x0 = split(target, self.options.token_dim).flatten(0, 1).repeat(self.options.repeats, 1)
        t = torch.randint(len(self.schedule), (len(x0),), device=x0.device)
        return hybrid_loss(self.denoiser, self.schedule, x0, t, torch.randn_like(x0), rows, chunk)


def repeat_condition(condition: Tensor, chunks: int, times: int) -> tuple[Tensor, Tensor]:
    """Every row for each of its chunks, and all of that ``times`` times: ``(times * B * C, F)``,
    and chunk indices.

    Repeats are outermost, so ``.view(times, B, C, -1)`` separates them and ``mean(0)`` averages
    over one image.
    """
    rows = condition[:, None].expand(-1, chunks, -1).flatten(0, 1).repeat(times, 1)
    return rows, torch.arange(chunks, device=condition.device).repeat(len(condition) * times)


def drop_condition(rows: Tensor, share: float) -> Tensor:
    """Rows ``(N, F)`` of which each is zero with probability ``share``: what guidance later calls
    "no condition".
    """
    return rows * (torch.rand(len(rows), 1, device=rows.device) >= share)


def mixup(condition: Tensor, target: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Both mixed with the same shuffled partner and one share ``m ~ Beta(beta, beta)`` for the
    batch.
    """
    share = torch.distributions.Beta(beta, beta).sample().to(condition)
    partner = torch.randperm(len(condition), device=condition.device)
    return torch.lerp(condition[partner], condition, share), torch.lerp(
        target[partner], target, share
    )


@torch.no_grad()
def draw_features(
    term: GenddTerm,
    pooled: Tensor,
    *,
    samples: int | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Teacher features ``(samples, B, D)`` generated from ``pooled (B, F)``, in the teacher's
    space.

    Every step's guess is limited to ``sample_clip`` deviations, see :func:`ancestral_sample`. The
    centers lie within: the texts of the embedded world are up to 7 deviations from the images'
        mean.

    Args:
        samples, steps, guidance_scale: None = as in the settings of the term.
        temperature: of the noise of the ancestral steps.
        generator: None = torch's global one.
    """
    options = term.options
    samples = options.samples if samples is None else samples
    schedule = term.schedule.respaced(options.sampling_steps if steps is None else steps)
    rows, chunk = repeat_condition(term.norm(pooled.float()), term.chunks, samples)
    drawn = ancestral_sample(
        term.denoiser,
        schedule,
        rows,
        chunk,
        guidance_scale=options.guidance_scale if guidance_scale is None else guidance_scale,
        temperature=temperature,
        clip=options.sample_clip,
        generator=generator,
    )
    features: Tensor = term.target.standardize.invert(
        merge(drawn.view(samples * len(pooled), term.chunks, -1))
    )
    return features.view(samples, len(pooled), -1)


def sample_features(term: GenddTerm, pooled: Tensor, **options: Any) -> Tensor:
    """The mean ``(B, D)`` over the samples of :func:`draw_features`, whose options it takes."""
    return draw_features(term, pooled, **options).mean(0)


def sampled_logits(term: GenddTerm, pooled: Tensor, **options: Any) -> Tensor:
    """Logits ``(B, K)`` of the frozen teacher head on sampled features: the reference path, too
    dear for a device.
    """
    return feature_logits(sample_features(term, pooled, **options), term.head, term.logit_scale)


def feature_logits(features: Tensor, head: Tensor, logit_scale: float) -> Tensor:
    """``logit_scale * cos``, ``(B, K)``, of features ``(B, D)`` of any length and a head ``(K,
    D)``.
    """
    return logit_scale * F.normalize(features, dim=-1) @ F.normalize(head, dim=-1).T
