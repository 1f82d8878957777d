"""Targets from images: the mean feature of the class's shots (CVLM, image-based customization)."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from compress.engine.errors import ConfigError
from compress.generate.inversion.word_targets import ImageTarget, PromptTargets
from compress.generate.jobs import Job


class Prototypes(PromptTargets):
    """One prototype per class, in place of a prompt."""

    def target(self, job: Job) -> ImageTarget:
        """The prototype of the class."""
        keys = tuple(self.sources.keys[row] for row in self.sources.members[job.class_id])
        return ImageTarget(self.class_head[job.class_id], None, None, keys)

    def check(self) -> None:
        """Every class has a shot."""
        without = self.sources.classes_without_shots()
        if without:
            raise ConfigError(
                "prototypes need images of every class",
                got=f"no shot of {', '.join(without[:5])}",
                remedy="give shots, or set generate.prompts.kind to one that works from names",
            )

    @cached_property
    def class_head(self) -> Tensor:
        """``(K, D)``: ``u(mean of u(E_img(x)))`` over the shots of each class."""
        self.check()
        features = torch.from_numpy(self.teacher.encode_images(self.sources.shots))
        members = map(torch.from_numpy, self.sources.members)
        means = torch.stack([features[rows].mean(0) for rows in members])
        return functional.normalize(means, dim=-1).to(self.teacher.device)
