"""Strategy ``inversion``: images optimized until the teacher sees what their prompt says.

    min over z of  spherical(E_img(G(z)), t) + beta * CE(tau * u(E_img(G(z))) . class head, class)

averaged over cut-outs of G(z). G is a decoder, t a prompt target, tau the teacher's own scale and
beta ``inversion.class_weight``. With beta = 0 this is VQGAN-CLIP, as in Xuan et al. (Prompt
Diversification, arXiv 2407.15155); with beta = 1 it is Wei et al. (CVLM, OpenReview 1aF2D2CPHi),
whose second term keeps classes apart that look alike under the first.

The losses of a batch are summed; each trajectory has latents, targets and random numbers of its
own; Adam works entry by entry: but for rounding, no image depends on the size of its batch.

With ``inversion.snapshots`` n a trajectory gives n images of its class: the first after
``inversion.steps``, each further one ``inversion.snapshot_steps`` later, toward the same target or,
as a warm start, toward its own. Noise and Adam's steps keep the latents moving, so that snapshots
differ while the teacher goes on seeing what it should.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from compress.engine.arithmetic import bf16_pays
from compress.engine.seeds import derive
from compress.generate.artifact import SyntheticRecord
from compress.generate.inversion.agreement import style_agreement
from compress.generate.inversion.cutouts import augmentation, cutouts
from compress.generate.inversion.decoder import Decoder
from compress.generate.inversion.prompt_targets import check_targets, load_targets, prompt_kind
from compress.generate.inversion.word_targets import PromptTargets
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.strategies.strategy import Strategy
from compress.teacher.clip import ClipTeacher

LARGEST = 1 - 1e-6  # of half the chord: the slope of arcsin diverges at 1, for antipodal vectors


class Inversion(Strategy):
    """The strategy; uses the class names, the run's teacher and, for prototypes, its shots."""

    @cached_property
    def teacher(self) -> ClipTeacher:
        return self.sources.teacher()

    @cached_property
    def prompts(self) -> PromptTargets:
        """The targets; styles are learned once."""
        return load_targets(self.settings.prompts, self.sources, self.teacher)

    def check(self) -> None:
        """The prompts can be filled."""
        check_targets(self.settings.prompts, self.sources)

    def facts(self) -> dict[str, object]:
        """The kind of prompts and its facts, and the cut-outs; losses are in the records."""
        options = self.settings.inversion
        return {
            "prompts": self.settings.prompts.kind,
            "augment": augmentation(options.augment, options.image_size),
            **self.prompts.facts(),
        }

    def style_agreement(
        self, images: NDArray[np.uint8], records: Sequence[SyntheticRecord]
    ) -> dict[str, object] | None:
        """As in ``agreement.py``; None for prompts without styles."""
        if not prompt_kind(self.settings.prompts.kind).styled or not len(images):
            return None
        return style_agreement(self.prompts, images, records)

    def generate(self, jobs: Sequence[Job], tool: Decoder) -> GeneratedBatch:
        """Optimizes one batch of images; those of a trajectory follow one another in ``jobs``."""
        options = self.settings.inversion
        each = options.snapshots
        firsts = jobs[::each]
        if options.snapshot_target == "own":
            targets = [self.prompts.target(job) for job in jobs]
        else:
            targets = [target for job in firsts for target in [self.prompts.target(job)] * each]
        features = torch.stack([target.feature for target in targets])
        labels = torch.tensor([job.class_id for job in firsts], device=features.device)
        seeds = [job.seed for job in firsts]
        images, losses = self.optimize(tool, seeds, features.view(len(firsts), each, -1), labels)
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        records = [
            job.record(
                "inversion",
                tool.name,
                prompt=target.prompt,
                style_id=target.style_id,
                source_ids=target.source_ids,
                weights=tuple(1 / len(target.source_ids) for _ in target.source_ids),
                cond_embedding_ref=job.condition_ref,
                loss=loss,
            )
            for job, target, loss in zip(jobs, targets, losses, strict=True)
        ]
        return GeneratedBatch(pixels.cpu().numpy(), features.cpu().numpy(), records)

    def optimize(
        self, decoder: Decoder, seeds: Sequence[int], targets: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[tuple[float, float]]]:
        """Images ``(B * n, 3, S, S)`` in [0, 1] of B trajectories, and the losses of each.

        The losses of an image are those at its first and its last step.

        Args:
            targets: ``(B, n, D)`` unit features, of the n images of each trajectory.
            labels: ``(B,)`` classes.
        """
        settings = self.settings.inversion
        latents = decoder.start([derive(seed, "latents") for seed in seeds]).requires_grad_()
        optimizer = torch.optim.Adam([latents], settings.lr, settings.betas)
        step = 0
        images, ends = [], []
        for number in range(targets.shape[1]):
            steps = settings.snapshot_steps if number else settings.steps
            for own in range(steps):
                shown = decoder.render(latents)
                losses = self.losses(shown, seeds, step, targets[:, number], labels)
                (latents.grad,) = torch.autograd.grad(losses.sum(), latents)
                optimizer.step()
                decoder.clip_(latents)
                step += 1
                if own == 0:
                    first = losses.detach()
            with torch.no_grad():
                images.append(decoder.render(latents))
            ends.append(torch.stack([first, losses.detach()], 1))
        rows = torch.stack(ends, 1).flatten(0, 1).tolist()
        return torch.stack(images, 1).flatten(0, 1), [(one, other) for one, other in rows]

    def losses(
        self, images: Tensor, seeds: Sequence[int], step: int, targets: Tensor, labels: Tensor
    ) -> Tensor:
        """The loss ``(B,)`` of each image: means over its cut-outs."""
        settings = self.settings.inversion
        teacher = self.teacher
        count = settings.cutouts
        size = teacher.spec.size
        augment = augmentation(settings.augment, images.shape[-1])
        cuts = cutouts(images, seeds, step, count=count, size=size, augment=augment)
        mixed = bf16_pays(torch.device(teacher.device))
        features = teacher.embed_pixels(cuts.flatten(0, 1), mixed=mixed).view(*cuts.shape[:2], -1)
        losses = spherical(features, targets[:, None]).mean(1)
        if settings.class_weight:
            logits = teacher.logit_scale * features @ self.prompts.class_head.T
            repeated = labels[:, None].expand(cuts.shape[:2])
            entropies = functional.cross_entropy(
                logits.flatten(0, 1), repeated.flatten(), reduction="none"
            )
            losses = losses + settings.class_weight * entropies.view(cuts.shape[:2]).mean(1)
        return losses


def spherical(a: Tensor, b: Tensor) -> Tensor:
    """``2 * arcsin(|u(a) - u(b)| / 2)^2`` over the last axis: half the squared angle, in rad^2.

    As in VQGAN-CLIP's code (class ``Prompt``). The poster of CVLM prints it without ``/ 2``, which
    is not a number wherever the cosine is below 0.5: for every pair of image and text.
    """
    chord = (functional.normalize(a, dim=-1) - functional.normalize(b, dim=-1)).norm(dim=-1)
    return 2 * torch.arcsin((chord / 2).clamp(max=LARGEST)).square()
