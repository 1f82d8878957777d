"""Strategies by name: all that is known of one before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compress.engine.config import GenerateSettings
from compress.engine.errors import lookup
from compress.engine.plugins import Table
from compress.engine.stage import resolve
from compress.generate.generators.generator import BOTH, IMAGE, TEXT, Input
from compress.generate.inversion.prompt_targets import prompt_kind
from compress.generate.sources import Sources
from compress.generate.strategies.strategy import Strategy


@dataclass(frozen=True)
class StrategyRow:
    """One strategy.

    Attributes:
        strategy: ``"module:Class"``, imported when images are generated: planning loads no torch.
        tool: what it generates images with; None: it generates none.
        needs: what its generator must take.
        asks_teacher: the teacher decides about the images, so it belongs to their identity.
        asks_names: not by its texts, but as a network that was trained on the classes' names.
        from_prompts: images follow ``generate.prompts``, and have a style if that kind has styles.
        keeps_conditions: the embedding that an image is decoded from is kept, if there is one.
        shows_classes: an image shows its class; otherwise its class is a number only.
        purpose: what images that show no class are for, as the report says it.
    """

    strategy: str
    tool: Literal["generator", "decoder", "drawing", "photos"] | None = "generator"
    needs: frozenset[Input] = frozenset()
    asks_teacher: bool = False
    asks_names: bool = False
    from_prompts: bool = False
    shows_classes: bool = True
    purpose: str = ""
    keeps_conditions: bool = True


# generate.strategy -> strategy. To add one: a file with the class and a row here.
STRATEGIES: Table[StrategyRow] = Table(
    "strategies",
    {
        "sidclip": StrategyRow("compress.generate.strategies.sidclip:Sidclip", needs=BOTH),
        "cls2img": StrategyRow("compress.generate.strategies.cls2img:ClassToImage", needs=TEXT),
        "img2img": StrategyRow("compress.generate.strategies.img2img:ImageToImage", needs=IMAGE),
        "inversion": StrategyRow(
            "compress.generate.inversion.strategy:Inversion",
            tool="decoder",
            asks_teacher=True,
            from_prompts=True,
        ),
        "deep-inversion": StrategyRow(
            "compress.generate.inversion.deep_inversion:DeepInversion",
            tool="decoder",
            asks_teacher=True,
            asks_names=True,
        ),
        "dead-leaves": StrategyRow(
            "compress.generate.strategies.dead_leaves:DeadLeavesStrategy",
            tool="drawing",
            shows_classes=False,
            purpose="They show no class: they are what the ranges of activations come from.",
        ),
        "unlabeled": StrategyRow(
            "compress.generate.strategies.unlabeled:Unlabeled",
            tool="photos",
            shows_classes=False,
            purpose="They are photos without labels: the student learns what its teacher answers.",
        ),
        "mix": StrategyRow(
            "compress.generate.strategies.mix:Mix", needs=BOTH, keeps_conditions=False
        ),
        "none": StrategyRow("compress.generate.strategies.none:NoSynthesis", tool=None),
    },
)


def strategy_row(name: str) -> StrategyRow:
    """The row of a strategy. Raises ConfigError: no such strategy, with the nearest name."""
    return lookup(STRATEGIES, name, "unknown strategy")


def load_strategy(settings: GenerateSettings, sources: Sources) -> Strategy:
    """The strategy that ``settings.strategy`` names.

    Raises:
        ConfigError: no such strategy, or settings or sources that it refuses.
    """
    strategy: Strategy = resolve(strategy_row(settings.strategy).strategy)(settings, sources)
    return strategy


def generates_images(settings: GenerateSettings) -> bool:
    """Whether these settings generate any image at all."""
    amount = settings.per_class if settings.synth_ratio is None else settings.synth_ratio
    return strategy_row(settings.strategy).tool is not None and amount > 0


def trajectory_images(settings: GenerateSettings) -> int:
    """Images of a class that are made one from the other; 1: each for itself."""
    row = strategy_row(settings.strategy)
    return settings.inversion.snapshots if row.tool == "decoder" and not row.asks_names else 1


def has_styles(settings: GenerateSettings) -> bool:
    """Whether every image of these settings has a style id."""
    row = strategy_row(settings.strategy)
    return row.from_prompts and prompt_kind(settings.prompts.kind).styled
