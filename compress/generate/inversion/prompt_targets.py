"""Prompt kinds by name: the unit vector in the teacher's space that an image is optimized toward.

A target belongs to a class and an image. The kinds come from Xuan et al. (Prompt Diversification,
arXiv 2407.15155) and Wei et al. (CVLM, OpenReview 1aF2D2CPHi):

    fixed          the prompt of the class, the same for all its images
    mix            a random mixture of the class in several styles (Mix-Prompt)
    random         the class in the style of a random word vector per image (Random-Prompt)
    contrastive    the class in one of M learned styles (Contrastive-Prompt)
    words          the class in one of N real styles
    learned        the class in one of N styles that start as real ones and learn to differ (CVLM's
                   style dictionary)
    prototypes     the mean feature of the class's shots (CVLM, image-based customization)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.engine.config import PromptSettings
from compress.engine.errors import lookup
from compress.engine.plugins import Table
from compress.engine.stage import resolve
from compress.generate.sources import Sources

if TYPE_CHECKING:
    from compress.generate.inversion.word_targets import PromptTargets
    from compress.teacher.clip import ClipTeacher


@dataclass(frozen=True)
class PromptKind:
    """One kind of prompt.

    Attributes:
        targets: ``"module:Class"``, imported when images are generated.
        styles: the number of styles; None: targets have no style id.
    """

    targets: str
    styles: Callable[[PromptSettings], int] | None = None

    @property
    def styled(self) -> bool:
        """Whether every target has a style id."""
        return self.styles is not None


def _words(settings: PromptSettings) -> int:
    return len(settings.words)


_WORDS = "compress.generate.inversion.word_targets"
_VECTORS = "compress.generate.inversion.pseudo_word_targets"
# generate.prompts.kind -> targets. To add one: a class and a row.
PROMPT_TARGETS: Table[PromptKind] = Table(
    "prompts",
    {
        "fixed": PromptKind(f"{_WORDS}:FixedPrompt"),
        "mix": PromptKind(f"{_VECTORS}:MixPrompt", _words),
        "random": PromptKind(f"{_VECTORS}:RandomPrompt"),
        "contrastive": PromptKind(f"{_VECTORS}:ContrastivePrompt", lambda settings: settings.count),
        "words": PromptKind(f"{_WORDS}:WordPrompt", _words),
        "learned": PromptKind(f"{_VECTORS}:LearnedPrompt", _words),
        "prototypes": PromptKind("compress.generate.inversion.prototypes:Prototypes"),
    },
)


def prompt_kind(name: str) -> PromptKind:
    """The row of a kind of prompt. Raises ConfigError: no such kind, with the nearest name."""
    return lookup(PROMPT_TARGETS, name, "unknown prompt target")


def check_targets(settings: PromptSettings, sources: Sources) -> None:
    """Raises ConfigError for settings that no target can be made from; asks no teacher."""
    targets: PromptTargets = resolve(prompt_kind(settings.kind).targets)(settings, sources, None)
    targets.check()


def load_targets(settings: PromptSettings, sources: Sources, teacher: ClipTeacher) -> PromptTargets:
    """The targets that ``settings.kind`` names."""
    targets: PromptTargets = resolve(prompt_kind(settings.kind).targets)(settings, sources, teacher)
    return targets
