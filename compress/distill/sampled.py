"""GenDD's own answers: the teacher's feature is sampled, and the teacher's classifier names it.

The device gets a linear probe on the same trunk, since sampling costs many times the student. This
read-out is the paper's, for comparison.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import runtime
from compress.distill.artifact import OBJECTIVE, DistillArtifact
from compress.distill.gendd import GenddTerm, draw_features, feature_logits
from compress.distill.objectives import Objective, terms_of
from compress.distill.pools import FeatureRows
from compress.distill.terms import ObjectiveInputs
from compress.engine.config import Settings
from compress.engine.errors import ConfigError
from compress.engine.seeds import torch_rng
from compress.teacher.artifact import Heads

BATCH = 64  # images at a time


class SampledStudent:
    """A student with the denoiser that it trained with: ``pixels -> logits (N, K)``.

    Raises: ConfigError: an objective without a denoiser.
    """

    def __init__(
        self, artifact: DistillArtifact, settings: Settings, heads: Heads, device: str = "cpu"
    ) -> None:
        from safetensors.torch import load_file

        if "gendd" not in terms_of(settings.distill):
            raise ConfigError(
                "only a denoiser can be sampled",
                got=f"distill.objective={settings.distill.objective}",
                expected="gendd or gendd_unlabeled",
            )
        self.device = device
        self.student = artifact.student().to(device)
        self.settings = settings
        objective = Objective(_shapes(settings, self.student.width, heads))
        objective.load_state_dict(load_file(artifact.folder / OBJECTIVE))
        inner: Any = objective.terms["gendd"]
        term = inner.inner
        assert isinstance(term, GenddTerm)
        self.term = term.to(device).eval()

    @torch.no_grad()
    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, K)`` of images ``(N, S, S, 3)`` of the student's size; samples are averaged.

        The same for the same seed and images.
        """
        preprocess = self.student.spec.preprocess(self.settings.image)
        generator = torch_rng(self.settings.seed, "samples", device=self.device)
        rows = []
        for start in range(0, len(images), BATCH):
            pixels = runtime.normalize(np.asarray(images[start : start + BATCH]), preprocess)
            pooled = self.student.trunk(torch.from_numpy(pixels).to(self.device))
            features = draw_features(self.term, pooled, generator=generator).mean(0)
            rows.append(
                feature_logits(features, self.term.head, self.term.logit_scale).cpu().numpy()
            )
        return np.concatenate(rows)


def _shapes(settings: Settings, width: int, heads: Heads) -> ObjectiveInputs:
    """Inputs of the right shapes for an objective whose values come from its file."""
    probe = torch.from_numpy(heads.probe)
    some = FeatureRows(probe, torch.arange(len(probe)), 1.0)
    scale = heads.logit_scale
    return ObjectiveInputs(settings.distill, width, probe, probe, scale, probe, (some,))
