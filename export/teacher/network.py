"""The teacher as one ONNX file, image tower and class heads, measured exactly as the student is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from onnx import ModelProto
from torch import Tensor, nn

from compress.teacher.answers import Answer
from compress.teacher.artifact import Heads
from export.onnx.convert import to_onnx
from runtime.bundle import FEATURES

OUTPUTS = ("logits", "zero_shot_logits")


class TeacherClassifier(nn.Module):
    """The teachers of a run with their heads: images (B, 3, S, S) -> logits (B, K), several rows.

    ``tower`` gives (B, D), not normalized; of several teachers their unit features side by side.
    The outputs are in the order of ``names``: logits, zero_shot_logits if the heads have them, of
    several teachers logits_0, logits_1, ... of each, and features: unit rows (B, D), of several
    teachers the unit row of all side by side.
    """

    def __init__(self, tower: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.tower = tower
        self.widths = heads.widths
        for index, head in enumerate(heads.members):
            scale = head.logit_scale
            rows = {"probe": scale * torch.tensor(head.probe)}
            if head.zero_shot is not None:
                rows["zero_shot"] = scale * torch.tensor(head.zero_shot)
            if head.center is not None:
                rows["center"] = torch.tensor(head.center)
            for name, value in rows.items():
                self.register_buffer(f"{name}{index}", value.float())
        self.answers = nn.ModuleList(
            nn.ModuleList(AnswerNetwork(one) for one in head.answers) for head in heads.members
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs."""
        several = range(len(self.widths)) if len(self.widths) > 1 else ()
        zero_shot = OUTPUTS[1:] if self._has_zero_shot else ()
        each = (f"{OUTPUTS[0]}_{index}" for index in several)
        return (OUTPUTS[0], *zero_shot, *each, FEATURES)

    @property
    def _has_zero_shot(self) -> bool:
        return all(hasattr(self, f"zero_shot{index}") for index in range(len(self.widths)))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        parts = torch.split(self.tower(images), self.widths, dim=-1)
        units = [F.normalize(part, dim=-1) for part in parts]
        features = [self._centered(index, unit) for index, unit in enumerate(units)]
        probes = [self._answer(index, part) for index, part in enumerate(features)]
        out = [mean_probabilities(probes)]
        if self._has_zero_shot:
            named = [self._logits("zero_shot", index, part) for index, part in enumerate(features)]
            out.append(mean_probabilities(named))
        every = units[0] if len(units) == 1 else F.normalize(torch.cat(units, -1), dim=-1)
        return (*out, *(probes if len(probes) > 1 else ()), every)

    def _centered(self, index: int, unit: Tensor) -> Tensor:
        center = getattr(self, f"center{index}", None)
        return unit if center is None else F.normalize(unit - center, dim=-1)

    def _answer(self, index: int, features: Tensor) -> Tensor:
        own: Any = self.answers[index]  # a ModuleList
        answers = [answer(features) for answer in own]
        return mean_probabilities(answers or [self._logits("probe", index, features)])

    def _logits(self, name: str, index: int, features: Tensor) -> Tensor:
        return F.linear(features, getattr(self, f"{name}{index}"))


class AnswerNetwork(nn.Module):
    """An ``Answer`` in torch: unit features (B, D) -> logits (B, K)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.parts = tuple(answer.arrays())
        for name, value in answer.arrays().items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, features: Tensor) -> Tensor:
        part: dict[str, Tensor] = {name: getattr(self, name) for name in self.parts}
        seen = features
        if "matrix" in part:
            seen = F.normalize(F.linear(features, part["matrix"]), dim=-1)
        out = F.linear(seen, part["rows"])
        if "keys" in part:
            near = torch.exp(part["sharpness"] * (F.linear(features, part["keys"]) - 1))
            out = out + near @ part["values"]
        return out


def mean_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """The log of the mean of several teachers' probabilities (B, K); one teacher's logits stay."""
    if len(logits) == 1:
        return logits[0]
    each = torch.stack([row.log_softmax(-1) for row in logits])
    return torch.logsumexp(each, 0) - math.log(len(logits))


def teacher_to_onnx(classifier: TeacherClassifier, size: int, *, opset: int = 20) -> ModelProto:
    """Teachers in float32 ONNX, with the outputs ``classifier.names``.

    torch's fused attention path is switched off while exporting: its operator has no ONNX form.

    Raises:
        ExportError: the tower does not export, or is above 2 GB.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return to_onnx(classifier.float().eval(), size, opset=opset, outputs=classifier.names)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
