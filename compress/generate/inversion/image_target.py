"""What an image is optimized toward, and what every kind of prompt gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from compress.generate.jobs import Job

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ImageTarget:
    """What one image is optimized toward.

    Attributes:
        feature: ``(D,)``, unit.
        prompt: as recorded; ``{style 3}`` stands for learned style 3.
        style_id: its style, if the kind has styles; of a mixture the heaviest.
        source_ids: the shots it was made from.
    """

    feature: Tensor
    prompt: str | None
    style_id: int | None = None
    source_ids: tuple[str, ...] = ()


class PromptTargets(Protocol):
    """The targets of a run: built as ``kind(settings, sources, teacher)``."""

    def target(self, job: Job) -> ImageTarget:
        """The target of an image, from its class and its seed alone."""

    @property
    def class_head(self) -> Tensor:
        """Unit features ``(K, D)`` of all classes without a style, for the class term."""

    def facts(self) -> Mapping[str, object]:
        """What the report says about this kind alone."""
