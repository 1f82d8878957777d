"""Stage 1 of GenDD: the trunk learns the classes before it conditions a denoiser.

A denoiser learns nothing about a condition that says nothing about its target. So the authors first
train the trunk with cross-entropy through the *teacher's* frozen classifier, after a linear layer
from the trunk's width F into the teacher's space (none where the widths are equal), with an AdamW
of its own whose second decay stays at 0.999 [C]. Then the linear layer is thrown away, and the
denoiser trains with the trunk as it is.

A CLIP teacher's classifier is ``scale * cos``, as everywhere here [I].
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from compress.distill.batches import Batch
from compress.distill.gendd import feature_logits
from compress.distill.terms import ObjectiveInputs


class Pretraining(nn.Module):
    """Cross-entropy of pooled features ``(B, F)`` through the teacher's classifier.

    Call: ``(pooled, batch) -> loss ()``; only the linear layer has parameters.
    """

    head: Tensor

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__()
        dim = inputs.probe.shape[1]
        same = inputs.width == dim
        self.into = nn.Identity() if same else nn.Linear(inputs.width, dim)
        self.logit_scale = float(inputs.logit_scale)
        self.register_buffer("head", inputs.probe.detach().clone().float(), persistent=False)

    def forward(self, pooled: Tensor, batch: Batch) -> Tensor:
        logits = feature_logits(self.into(pooled), self.head, self.logit_scale)
        return F.cross_entropy(logits, batch.labels)
