"""Strategy ``deep-inversion``: images that an image network takes for photos of its own classes.

    min over x  beta CE(logits(x), class)
                + gamma mean over batch norms of ((mean - mean') / std')^2 + (std / std' - 1)^2
                + delta mean of squared differences of neighboring pixels

mean and std are those of a batch of images at the input of a batch norm, mean' and std' what the
network kept of its training photos; beta, gamma and delta are ``inversion.class_weight``,
``statistics_weight`` and ``variation_weight``. So images are made without a photo, a text or a
generator (Yin et al., Dreaming to Distill, arXiv 1912.08795). Before each step all images of a
batch are shifted, and mirrored or not, together.

Images of a batch decide about one another, so a batch has always the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.engine.errors import ConfigError
from compress.engine.seeds import derive, numpy_rng
from compress.generate.inversion.decoder import Decoder
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.strategies.strategy import Strategy
from compress.teacher.clip import ClipTeacher
from compress.teacher.ensemble import Ensemble
from compress.teacher.named import known_names
from compress.teacher.priors import require_origin
from compress.teacher.prompts import prompts_for
from compress.teacher.timm_net import TimmTeacher, batch_norms

SHIFT = 8  # an image is shifted by at most this part of its edge


class DeepInversion(Strategy):
    """The strategy; uses the class names and the first teacher that was trained on names.

    Without such a one a CLIP with batch norms is asked, by the texts of the classes: a control, as
    in Wei et al. (CVLM, OpenReview 1aF2D2CPHi), who find that CLIP's statistics remember faces.
    """

    @cached_property
    def network(self) -> TimmTeacher | ClipTeacher:
        """The teacher whose batch norms are asked.

        Raises:
            ConfigError: no teacher has batch norms and names, or texts.
        """
        assert self.sources.networks is not None  # `read_sources` gives them
        loaded = self.sources.networks()
        members = loaded.members if isinstance(loaded, Ensemble) else (loaded,)
        with_norms = [one for one in members if batch_norms(one.image_tower)]
        for one in with_norms:
            if isinstance(one, TimmTeacher) and one.classifier is not None:
                return one
        for one in with_norms:
            if isinstance(one, ClipTeacher):
                return one
        raise ConfigError(
            "deep inversion needs a network that was trained on named classes, with batch norms",
            got=loaded.name,
            expected="an ImageNet network, e.g. --teacher timm:tf_efficientnet_lite0",
        )

    @cached_property
    def logits(self) -> Callable[[Tensor], Tensor]:
        """Normalized pixels ``(B, 3, S, S)`` -> logits of the network's classes or of the texts."""
        network = self.network
        if isinstance(network, ClipTeacher):
            prompts = prompts_for(self.sources.classes, self.sources.templates)
            texts = torch.from_numpy(network.class_head(prompts)).to(network.device)
            scale = network.logit_scale
            return lambda pixels: scale * network.unit_features(pixels) @ texts.T
        classifier = network.classifier
        assert classifier is not None  # `network` has one
        head = nn.Linear(*classifier.rows.shape[::-1])
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(classifier.rows))
            head.bias.copy_(torch.from_numpy(classifier.bias))
        head.requires_grad_(False).to(network.device)
        return lambda pixels: head(network.model(pixels))

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """For each class of the run its place in ``logits``; ConfigError for an unknown one."""
        network = self.network
        classes = self.sources.classes
        if isinstance(network, ClipTeacher):
            return tuple(range(len(classes)))
        classifier = network.classifier
        known = known_names(classifier.subset if classifier else None, classes)
        require_origin(network.name, classes, known, setting="deep inversion")
        return known.indices

    def facts(self) -> dict[str, object]:
        """The network that was inverted."""
        return {"inverted": self.network.name}

    def generate(self, jobs: Sequence[Job], tool: Decoder) -> GeneratedBatch:
        """Optimizes one batch of images together."""
        labels = torch.tensor([self.rows[job.class_id] for job in jobs], device=self.network.device)
        images, ends = self.optimize(tool, [job.seed for job in jobs], labels)
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        records = [
            job.record(self.settings.strategy, tool.name, loss=loss)
            for job, loss in zip(jobs, ends, strict=True)
        ]
        nothing = np.empty((len(jobs), 0), np.float32)
        return GeneratedBatch(pixels.cpu().numpy(), nothing, records)

    def optimize(
        self, decoder: Decoder, seeds: Sequence[int], labels: Tensor
    ) -> tuple[Tensor, list[tuple[float, float]]]:
        """Images ``(B, 3, S, S)`` in [0, 1] of a batch, and each one's first and last loss.

        Args:
            labels: ``(B,)`` rows of the network's classifier.
        """
        options = self.settings.inversion
        latents = decoder.start([derive(seed, "latents") for seed in seeds]).requires_grad_()
        optimizer = torch.optim.Adam([latents], options.lr, options.betas)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
        for step in range(options.steps):
            shown = moved(decoder.render(latents), seeds[0], step)
            own, shared = self.losses(shown, labels)
            (latents.grad,) = torch.autograd.grad(own.sum() + len(seeds) * shared, latents)
            optimizer.step()
            rates.step()
            decoder.clip_(latents)
            last = (own + shared).detach()
            if step == 0:
                first = last
        with torch.no_grad():
            images = decoder.render(latents)
        return images, list(zip(first.tolist(), last.tolist(), strict=True))

    def losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each image ``(B,)``, and the one that all share: of the statistics."""
        options, network = self.settings.inversion, self.network
        mean = images.new_tensor(network.spec.mean)[:, None, None]
        std = images.new_tensor(network.spec.std)[:, None, None]
        shown = images
        if isinstance(network, ClipTeacher) and images.shape[-1] != network.spec.size:
            edges = (network.spec.size, network.spec.size)  # the only size that its tower takes
            shown = functional.interpolate(images, edges, mode="bilinear", antialias=True)
        with inputs_of(batch_norms(network.image_tower)) as seen:
            pixels = ((shown - mean) / std).contiguous(memory_format=torch.channels_last)
            logits = self.logits(pixels)
        own = options.class_weight * functional.cross_entropy(logits, labels, reduction="none")
        own = own + options.variation_weight * variation(images)
        return own, options.statistics_weight * statistics_loss(seen)


@contextmanager
def inputs_of(norms: Sequence[nn.BatchNorm2d]) -> Iterator[list[tuple[nn.BatchNorm2d, Tensor]]]:
    """Collects what batch norms get ``(B, C, H, W)`` while the context is open, in their order."""
    seen: list[tuple[nn.BatchNorm2d, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        seen.append((module, inputs[0]))

    hooks = [norm.register_forward_pre_hook(keep) for norm in norms]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def statistics_loss(seen: Sequence[tuple[nn.BatchNorm2d, Tensor]]) -> Tensor:
    """How far means and deviations are from those that were kept, in kept deviations.

    The mean over batch norms of the mean over channels of squared differences. The paper sums norms
    of means and variances, which follow the scale of a layer: in EfficientNet-Lite0 two layers
    would decide alone.
    """
    parts = []
    for norm, inputs in seen:
        assert norm.running_mean is not None and norm.running_var is not None
        variance, mean = torch.var_mean(inputs.float(), dim=(0, 2, 3), correction=0)
        kept = (norm.running_var + norm.eps).sqrt()
        shift = (mean - norm.running_mean) / kept
        spread = (variance + norm.eps).sqrt() / kept - 1
        parts.append((shift.square() + spread.square()).mean())
    return torch.stack(parts).mean()


def variation(images: Tensor) -> Tensor:
    """Mean squared difference of neighbors of each image ``(B, 3, S, S)``, ``(B,)``."""
    down = images.diff(dim=2).square().flatten(1).mean(1)
    across = images.diff(dim=3).square().flatten(1).mean(1)
    return down + across


def moved(images: Tensor, seed: int, step: int) -> Tensor:
    """All images shifted around the edges alike, and mirrored in half of the steps."""
    rng = numpy_rng(seed, "moved", step)
    reach = images.shape[-1] // SHIFT
    down, across = rng.integers(-reach, reach + 1, 2).tolist()
    rolled = torch.roll(images, (down, across), dims=(2, 3))
    return rolled.flip(3) if rng.random() < 0.5 else rolled
