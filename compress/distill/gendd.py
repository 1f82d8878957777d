"""GenDD: distillation as generation of the teacher's feature (arXiv 2507.14503).

A small diffusion model, conditioned on the student's pooled feature ``z``, learns to generate the
teacher's feature; its loss trains the student. Two ideas make that work:

* split tokenization: a feature of D dimensions is generated as D / token_dim independent chunks;
* distribution contraction: the target moves toward its class, ``x' = (1 - s) f_T + s c_y``. Since

      |x - x'|^2 = (1 - s) |x - f_T|^2 + s |x - c_y|^2 - s (1 - s) |f_T - c_y|^2,

  and the last term does not depend on x, this is a multi-task loss.

CLIP's unit rows have a deviation of about D^-1/2 per dimension against the diffusion's unit noise,
so x' is standardized per dimension and sampled features are mapped back [I]. Mean and deviation are
those of x' itself over the cached training views (:func:`moments`), not those of f_T: contraction
shrinks the spread within a class, and centers lie elsewhere than images. They are buffers of the
target, written with the denoiser, so that sampling undoes the very map that training used.

Nothing of this ships: the device gets the trunk and a linear probe. :func:`draw_features` is the
paper's own path, at D / token_dim x sampling_steps x 2 x samples denoiser calls per image.
:class:`ContractionTerm` is the control with the contracted target but no diffusion.

[C] marks values of the authors' code, [I] our own where the paper is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.distill.diffusion import Denoiser, NoiseSchedule, ancestral_sample, hybrid_loss
from compress.distill.pools import FeatureRows
from compress.distill.terms import ObjectiveInputs
from compress.engine import ranks
from compress.engine.config import GenddSettings
from compress.engine.errors import ConfigError, lookup


class FeatureBatch(Protocol):
    """The targets in use: ``teacher_features (B, D)``; ``labels`` (B,) int64, or (B, K) soft."""

    @property
    def teacher_features(self) -> Tensor | None: ...

    @property
    def labels(self) -> Tensor: ...


# of the mean deviation: a dimension that hardly varies must not blow up the noise in it [I]
MIN_STD_SHARE = 0.01
MIN_STD = 1e-6  # of a target that does not vary at all
CHUNK = 4096  # rows whose statistics are summed at once

#: ``distill.center`` -> where contraction leads, ``(K, D)``
CENTERS: dict[str, Callable[[ObjectiveInputs], Tensor]] = {
    "text": lambda inputs: texts_of(inputs),
    "image_mean": lambda inputs: inputs.class_means,
    "probe_row": lambda inputs: inputs.probe,
}


def texts_of(inputs: ObjectiveInputs) -> Tensor:
    """The head of texts ``(K, D)``; a teacher without one is refused before any work."""
    assert inputs.zero_shot is not None
    return inputs.zero_shot


def contract(features: Tensor, targets: Tensor, smooth: float) -> Tensor:
    """``(1 - s) features + s targets`` of ``(B, D)`` each; scales class variance by (1 - s)^2."""
    return (1 - smooth) * features + smooth * targets


def class_centers(table: Tensor, labels: Tensor) -> Tensor:
    """The center ``(B, D)`` of every row: ``table[y]``, or ``y @ table`` for soft labels (B, K)."""
    return labels.to(table.dtype) @ table if labels.ndim == 2 else table[labels]


def split(features: Tensor, token_dim: int) -> Tensor:
    """Chunks ``(B, D / token_dim, token_dim)`` of ``(B, D)``, of neighboring dimensions each."""
    return features.reshape(len(features), -1, token_dim)


def merge(chunks: Tensor) -> Tensor:
    """The inverse of :func:`split`: ``(B, C, d)`` to ``(B, C * d)``."""
    return chunks.flatten(1)


class Standardizer(nn.Module):
    """The affine map of features ``(B, D)`` to zero mean and unit deviation per dimension."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        floor = max(float(std.mean()) * MIN_STD_SHARE, MIN_STD)
        self.register_buffer("mean", mean.detach().clone().float())
        self.register_buffer("std", std.detach().clone().float().clamp(min=floor))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std

    def invert(self, standard: Tensor) -> Tensor:
        """Back to the teacher's space."""
        return standard * self.std + self.mean


def require_chunks(options: GenddSettings, dim: int) -> None:
    """Raises ConfigError if features of width ``dim`` cannot be cut into tokens."""
    if dim % options.token_dim:
        divisors = [size for size in range(1, dim + 1) if dim % size == 0]
        closest = min(divisors, key=lambda size: abs(size - options.token_dim))
        raise ConfigError(
            "the teacher's feature cannot be split into chunks",
            got=f"token_dim={options.token_dim} for D={dim}",
            expected=f"a divisor of {dim}",
            remedy=f"--set distill.gendd.token_dim={closest}",
        )


def moments(
    rows: Sequence[FeatureRows], change: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ``(D,)`` of ``change(features (n, D), labels (n,))``.

    Over all cached views, in float64 and in their order, each pool weighted by its share of a
    batch: of the rows as training draws them.
    """

    def mean(of: Callable[[Tensor], Tensor]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for pool in rows:
            weight = pool.share / len(pool.labels) / sum(one.share for one in rows)
            parts = zip(pool.features.split(CHUNK), pool.labels.split(CHUNK), strict=True)
            for features, labels in parts:
                total = total + weight * of(change(features.double(), labels)).sum(0)
        return total

    center = mean(lambda values: values)
    return center, mean(lambda values: (values - center).square()).sqrt()


class ContractedTarget(nn.Module):
    """``batch -> x' (B, D)``, contracted, then standardized with the statistics of x'."""

    centers: Tensor

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__()
        self.smooth = inputs.settings.smooth
        center = lookup(CENTERS, inputs.settings.center, "unknown center")
        self.register_buffer("centers", center(inputs).detach().clone().float())
        # its name is part of the keys in objective.safetensors, and stays
        self.standardise = Standardizer(*moments(inputs.rows, self.contracted))

    def contracted(self, features: Tensor, labels: Tensor) -> Tensor:
        """x' ``(B, D)`` in the teacher's space, not yet standardized."""
        if not self.smooth:  # s = 0 needs no labels
            return features
        return contract(features, class_centers(self.centers, labels), self.smooth)

    def forward(self, batch: FeatureBatch) -> Tensor:
        assert batch.teacher_features is not None  # Objective has checked ``needs``
        moved = self.contracted(batch.teacher_features.float(), batch.labels)
        standard: Tensor = self.standardise(moved)
        return standard


class ContractionTerm(nn.Module):
    """GenDD's control, without diffusion: ``|P(pooled) - x'|^2 / D``, P linear without bias.

    Call: ``(pooled (B, F), batch) -> loss ()``, mean over the width D and over B. Like the MSE of
    the denoiser, which is a mean over the width of its chunks, it costs 1 to predict nothing,
    whatever D: x' has unit variance. So a weight means the same for the control and for GenDD.
    """

    def __init__(self, width: int, inputs: ObjectiveInputs) -> None:
        super().__init__()
        self.target = ContractedTarget(inputs)
        self.proj = nn.Linear(width, inputs.probe.shape[1], bias=False)

    def forward(self, pooled: Tensor, batch: FeatureBatch) -> Tensor:
        return F.mse_loss(self.proj(pooled).float(), self.target(batch))

    @torch.no_grad()
    def features(self, pooled: Tensor) -> Tensor:
        """The predicted teacher features ``(B, D)``, in the teacher's space."""
        return self.target.standardise.invert(self.proj(pooled).float())


class GenddTerm(nn.Module):
    """The diffusion loss of the contracted teacher feature, given the student's pooled one.

    Call: ``(pooled (B, F), batch) -> loss ()``, MSE + VLB averaged over images, chunks and repeats.
    Draws from torch's global generator, which the training loop seeds before every step.

    Raises: ConfigError: ``token_dim`` does not divide D, or more sampling than diffusion steps.
    """

    head: Tensor

    def __init__(self, width: int, inputs: ObjectiveInputs) -> None:
        super().__init__()
        options = inputs.settings.gendd
        dim = inputs.probe.shape[1]
        require_chunks(options, dim)
        self.options = options
        self.chunks = dim // options.token_dim
        self.target = ContractedTarget(inputs)
        self.norm = nn.LayerNorm(width)
        sizes = (options.token_dim, self.chunks, width, options.width, options.depth)
        self.denoiser = Denoiser(*sizes)
        self.schedule = NoiseSchedule.cosine(options.diffusion_steps)
        self.schedule.respaced(options.sampling_steps)  # refuses a bad number before training
        self.logit_scale = float(inputs.logit_scale)
        self.register_buffer("head", inputs.probe.detach().clone().float())

    def forward(self, pooled: Tensor, batch: FeatureBatch) -> Tensor:
        mse, vlb = self.terms(pooled, batch)
        return (mse + vlb).mean()

    def terms(self, pooled: Tensor, batch: FeatureBatch) -> tuple[Tensor, Tensor]:
        """MSE and VLB of every row, ``(repeats * B * C,)`` each, repeats outermost."""
        condition = self.norm(pooled.float())
        target = self.target(batch)
        if self.options.mixup_beta:
            condition, target = mixup(condition, target, self.options.mixup_beta)
        rows, chunk = repeat_condition(condition, self.chunks, self.options.repeats)
        x0 = split(target, self.options.token_dim).flatten(0, 1).repeat(self.options.repeats, 1)
        place: Any = {"device": x0.device}
        sizes = (self.options.repeats, len(target), self.chunks)
        with ranks.shared_randomness(x0):
            kept = ranks.rows_of(lambda n: torch.rand(n, 1, **place), *sizes)
            t = ranks.rows_of(lambda n: torch.randint(len(self.schedule), (n,), **place), *sizes)
            noise = ranks.rows_of(lambda n: torch.randn(n, x0.shape[1], **place), *sizes)
        rows = drop_condition(rows, self.options.condition_drop, kept)
        return hybrid_loss(self.denoiser, self.schedule, x0, t, noise, rows, chunk)


def repeat_condition(condition: Tensor, chunks: int, times: int) -> tuple[Tensor, Tensor]:
    """Every row per chunk, all ``times`` times: ``(times * B * C, F)``, and the chunk indices.

    Repeats are outermost, so ``.view(times, B, C, -1)`` separates them.
    """
    rows = condition[:, None].expand(-1, chunks, -1).flatten(0, 1).repeat(times, 1)
    return rows, torch.arange(chunks, device=condition.device).repeat(len(condition) * times)


def drop_condition(rows: Tensor, share: float, drawn: Tensor | None = None) -> Tensor:
    """Zeroes each row of ``(N, F)`` with probability ``share``: guidance's "no condition".

    ``drawn (N, 1)``: uniform in 0..1; None = drawn here.
    """
    drawn = torch.rand(len(rows), 1, device=rows.device) if drawn is None else drawn
    return rows * (drawn >= share)


def mixup(condition: Tensor, target: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Both mixed with the same shuffled partner, by one ``m ~ Beta(beta, beta)`` per batch."""
    share = torch.distributions.Beta(beta, beta).sample().to(condition)
    partner = torch.randperm(len(condition), device=condition.device)
    mixed = torch.lerp(condition[partner], condition, share)
    return mixed, torch.lerp(target[partner], target, share)


@torch.no_grad()
def draw_features(
    term: GenddTerm,
    pooled: Tensor,
    *,
    samples: int | None = None,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Teacher features ``(samples, B, D)`` generated from ``pooled (B, F)``.

    Every step's estimate is limited to ``sample_clip`` deviations, see :func:`ancestral_sample`;
    targets lie within (of the embedded world: up to 4 deviations from their mean).
    ``samples`` None = the settings'.
    """
    options = term.options
    samples = options.samples if samples is None else samples
    rows, chunk = repeat_condition(term.norm(pooled.float()), term.chunks, samples)
    drawn = ancestral_sample(
        term.denoiser,
        term.schedule.respaced(options.sampling_steps),
        rows,
        chunk,
        guidance_scale=options.guidance_scale,
        temperature=temperature,
        clip=options.sample_clip,
        generator=generator,
    )
    standard = merge(drawn.view(samples * len(pooled), term.chunks, -1))
    return term.target.standardise.invert(standard).view(samples, len(pooled), -1)


def feature_logits(features: Tensor, head: Tensor, logit_scale: float) -> Tensor:
    """``logit_scale * cos``, ``(B, K)``, of features ``(B, D)`` and a head ``(K, D)``."""
    return logit_scale * F.normalize(features, dim=-1) @ F.normalize(head, dim=-1).T
