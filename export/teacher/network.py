"""The teacher as one ONNX file, image tower and class heads, measured exactly as the student is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from onnx import ModelProto
from torch import Tensor, nn

from compress.teacher.artifact import Heads
from export.onnx.convert import to_onnx

OUTPUTS = ("logits", "zero_shot_logits")


class TeacherClassifier(nn.Module):
    """``images (B, 3, S, S) -> (logits, zero_shot_logits)``, ``logit_scale * cosine``, each (B, K).

    ``tower`` gives (B, D), not normalized; ``probe`` and ``zero_shot`` are unit rows (K, D).
    """

    probe: Tensor
    zero_shot: Tensor

    def __init__(
        self, tower: nn.Module, probe: Tensor, zero_shot: Tensor, logit_scale: float
    ) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("probe", logit_scale * probe.float())
        self.register_buffer("zero_shot", logit_scale * zero_shot.float())

    @classmethod
    def of(cls, tower: nn.Module, heads: Heads) -> TeacherClassifier:
        """The classifier of a run's heads."""
        rows = (torch.tensor(heads.probe), torch.tensor(heads.zero_shot))
        return cls(tower, *rows, heads.logit_scale)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = F.normalize(self.tower(images), dim=-1)
        return F.linear(features, self.probe), F.linear(features, self.zero_shot)


class ZeroShotClassifier(nn.Module):
    """``images (B, 3, S, S) -> logits (B, K)``: a teacher without a probe."""

    zero_shot: Tensor

    def __init__(self, tower: nn.Module, zero_shot: Tensor, logit_scale: float) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("zero_shot", logit_scale * zero_shot.float())

    def forward(self, images: Tensor) -> Tensor:
        return F.linear(F.normalize(self.tower(images), dim=-1), self.zero_shot)


def teacher_to_onnx(
    classifier: TeacherClassifier | ZeroShotClassifier, size: int, *, opset: int = 20
) -> ModelProto:
    """A teacher in float32 ONNX: output ``logits``, and of a probe's also ``zero_shot_logits``.

    torch's fused attention path is switched off while exporting: its operator has no ONNX form.

    Raises:
        ExportError: the tower does not export, or is above 2 GB.
    """
    outputs = OUTPUTS if isinstance(classifier, TeacherClassifier) else OUTPUTS[:1]
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return to_onnx(classifier.float().eval(), size, opset=opset, outputs=outputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
