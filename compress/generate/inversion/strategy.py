"""Strategy ``inversion``: images that no generator drew, optimized until the teacher sees what was
asked for.

    min over z of  spherical(E_img(G(z)), t) + beta * CE(tau * u(E_img(G(z))) . class head, class)

averaged over cut-outs of G(z). G is a decoder, t a row of the table of prompt targets, tau the
teacher's own scale. With beta = 0 this is the synthesis of system C (VQGAN-CLIP), with beta = 1
that of system E, whose second term keeps classes apart that the first would let look alike
(methods.md C.2, E.3).

The losses of a batch are summed, each image has latents, target and random numbers of its own, and
Adam works entry by
entry: the size of the batch changes no image but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from compress.engine.config import GenerateSettings
from compress.engine.seeds import derive
from compress.generate.base import Decoder, Input, Job, Made, Sources, SynthRecord, wanted_per_class
from compress.generate.inversion.cutouts import cutouts
from compress.generate.inversion.prompt_targets import PromptTarget, Target, prompt_target
from compress.generate.inversion.spherical import spherical
from compress.petals.runs import bf16_pays
from compress.teacher.clip import Teacher


class Inversion:
    """The strategy; see the head of this file.

    Args:
        settings: ``per_class``, ``synth_ratio``, ``batch``, ``inversion`` and ``prompts``.
        sources: the class names, the run's teacher and, for prototypes, its shots.
    """

    tool: ClassVar[Literal["generator", "decoder"]] = "decoder"
    needs: ClassVar[frozenset[Input]] = frozenset()
    asks_teacher: ClassVar[bool] = True

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        self.settings, self.sources = settings, sources

    def per_class(self) -> int:
        """As set."""
        return wanted_per_class(self.settings, self.sources)

    @cached_property
    def teacher(self) -> Teacher:
        """The run's teacher."""
        return self.sources.teacher()

    @cached_property
    def prompts(self) -> PromptTarget:
        """Where targets come from; pseudo-words are learned once."""
        return prompt_target(self.settings.prompts, self.sources, self.teacher)

    def facts(self) -> dict[str, Any]:
        """What the prompt targets say; the losses are in the records."""
        return {"prompts": self.settings.prompts.kind, **self.prompts.facts()}

    def make(self, jobs: Sequence[Job], tool: Decoder) -> Made:
        """Optimizes one batch of images."""
        targets = [self.prompts.target(job) for job in jobs]
        wanted = torch.stack([target.feature for target in targets])
        labels = torch.tensor([job.class_id for job in jobs], device=wanted.device)
        images, losses = self.optimize(tool, [job.seed for job in jobs], wanted, labels)
        pixels = (
            (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        )
        records = [self._record(*row, tool) for row in zip(jobs, targets, losses, strict=True)]
        return Made(pixels, wanted.cpu().numpy(), records)

    def optimize(
        self, decoder: Decoder, seeds: Sequence[int], wanted: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[tuple[float, float]]]:
        """Images ``(B, 3, S, S)`` in [0, 1] for targets ``wanted`` ``(B, D)`` of classes ``labels``
        ``(B,)``, and each image's loss at the first and at the last step.
        """
        settings = self.settings.inversion
        latents = decoder.start([derive(seed, "latents") for seed in seeds]).requires_grad_()
        optimizer = torch.optim.Adam([latents], settings.lr)
        for step in range(settings.steps):
            losses = self.losses(decoder.render(latents), seeds, step, wanted, labels)
            (gradient,) = torch.autograd.grad(losses.sum(), latents)
            latents.grad = gradient
            optimizer.step()
            decoder.clip_(latents)
            if step == 0:
                first = losses.detach()
        with torch.no_grad():
            made = decoder.render(latents)
        return made, list(zip(first.tolist(), losses.tolist(), strict=True))

    def losses(
        self, images: Tensor, seeds: Sequence[int], step: int, wanted: Tensor, labels: Tensor
    ) -> Tensor:
        """The loss ``(B,)`` of each image: means over its cut-outs."""
        settings, teacher = self.settings.inversion, self.teacher
        cuts = cutouts(
            images,
            seeds,
            step,
            count=settings.cutouts,
            size=teacher.spec.size,
            augment=settings.augment,
        )
        mixed = bf16_pays(torch.device(teacher.device))
        features = teacher.embed_pixels(cuts.flatten(0, 1), mixed=mixed).view(*cuts.shape[:2], -1)
        losses = spherical(features, wanted[:, None]).mean(1)
        if settings.class_weight:
            logits = teacher.logit_scale * features @ self.prompts.class_head.T
            repeated = labels[:, None].expand(cuts.shape[:2])
            entropies = functional.cross_entropy(
                logits.flatten(0, 1), repeated.flatten(), reduction="none"
            )
            losses = losses + settings.class_weight * entropies.view(cuts.shape[:2]).mean(1)
        return losses

    def _record(
        self, job: Job, target: Target, loss: tuple[float, float], decoder: Decoder
    ) -> SynthRecord:
        shots = target.source_ids
        return SynthRecord(
            path=f"synthetic.npy#{job.index}",
            class_id=job.class_id,
            method="inversion",
            prompt=target.prompt,
            style_id=target.style_id,
            source_ids=shots,
            weights=tuple(1 / len(shots) for _ in shots),
            seed=job.seed,
            generator_id=decoder.name,
            noise_level=None,
            cond_embedding_ref=f"conditions.npy#{job.index}",
            loss=loss,
        )
