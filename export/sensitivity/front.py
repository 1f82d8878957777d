"""Chooses what to quantize: variants with accuracy, time and size -> Pareto front and choice.

Nothing is measured here. Accuracy is counted in points of top-1 lost against fp32 on held-out
views, time in ms of one image; the measurement decides whether two variants differ in time at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.evaluate.gates import MAX_DROP_POINTS

ROUNDING = 1e-9


@dataclass(frozen=True)
class Variant:
    """One model between int8 and fp32, measured; ``drop_points`` is fp32's top-1 minus its own.

    ``float_blocks`` names the blocks in float, in the order of the network; all of them: fp32.
    """

    float_blocks: tuple[str, ...]
    top1: float
    drop_points: float
    p50_ms: float | None
    size_bytes: int

    @property
    def passes(self) -> bool:
        return self.drop_points <= MAX_DROP_POINTS + ROUNDING

    @property
    def time_ms(self) -> float:
        """Its time for comparisons; infinite where it was not measured."""
        return float("inf") if self.p50_ms is None else self.p50_ms


Slower = Callable[[int, int], bool]  # (a, b): variant a is slower than b beyond the noise


def pareto(variants: Sequence[Variant]) -> list[int]:
    """Indices of the variants that no other one beats, fastest first; of equal ones the first.

    One beats another if it is better in accuracy, time or size, and worse in none.
    """
    places = [(variant.drop_points, variant.time_ms, variant.size_bytes) for variant in variants]

    def is_beaten(i: int) -> bool:
        return any(
            all(a <= b for a, b in zip(other, places[i], strict=True))
            and (other != places[i] or j < i)
            for j, other in enumerate(places)
        )

    unbeaten = [i for i in range(len(places)) if not is_beaten(i)]
    return sorted(unbeaten, key=lambda i: (places[i][1], places[i][0]))


def choose(variants: Sequence[Variant], slower: Slower) -> int:
    """Index of the fastest variant whose accuracy may ship; a mixed one has to win.

    Among those that are not slower beyond doubt, int8 comes first, then fp32 (the variant with the
    most float blocks), then the one with the fewest float blocks and the smallest file.

    Raises:
        ValueError: no variant with a measured time passes (fp32 loses nothing, so it always does).
    """
    able = [i for i, v in enumerate(variants) if v.passes and v.p50_ms is not None]
    if not able:
        raise ValueError("no measured variant keeps the accuracy of fp32")
    fp32_blocks = max(len(variant.float_blocks) for variant in variants)

    def place(i: int) -> tuple[bool, int, int, float]:
        blocks = len(variants[i].float_blocks)
        is_mixed = 0 < blocks < fp32_blocks
        return is_mixed, blocks, variants[i].size_bytes, variants[i].time_ms

    fastest = min(able, key=lambda i: (variants[i].time_ms, len(variants[i].float_blocks)))
    return min((i for i in able if not slower(i, fastest)), key=place)


def nested(order: Sequence[str]) -> list[tuple[str, ...]]:
    """The first one, two, ... of ``order``, without all: the path of greedy removal from int8."""
    return [tuple(order[:count]) for count in range(1, len(order))]


def sentence(blocks: Sequence[str], chosen: Variant, int8: Variant, fp32: Variant) -> str:
    """The choice in one sentence, with its reason; ``blocks`` names all blocks."""
    if chosen.float_blocks == fp32.float_blocks:
        lost = f"{int8.drop_points:.2f} points"
        why = f"int8 costs {lost} here, and no mix of the two that may ship beats fp32"
        if int8.passes:
            times = f"int8 takes {_ms(int8)}, fp32 {_ms(fp32)}"
            why = f"{times}, and no mix of the two is faster beyond the noise"
        return f"Do not quantize: {why}."
    against = f"{_ms(chosen)} against {_ms(fp32)} of fp32"
    if chosen.time_ms >= fp32.time_ms:  # a tie, which int8 wins by its size
        share = 100 * chosen.size_bytes / fp32.size_bytes
        against = f"as fast as fp32 within the noise, {share:.0f} % of its size"
    if not chosen.float_blocks:
        why = f"{against}, {_cost(chosen)}, and no block is worth keeping in float"
        return f"Quantize everything: {why}."
    in_int8 = [name for name in blocks if name not in chosen.float_blocks]
    what = f"Quantize only {_listed(in_int8)}"
    if len(chosen.float_blocks) <= len(in_int8):
        what = f"Quantize all but {_listed(chosen.float_blocks)}"
    pure = f"all in int8 {_ms(int8)} and {_cost(int8)}"
    return f"{what}: {against}, {_cost(chosen)} ({pure})."


def _ms(variant: Variant) -> str:
    return "an unknown time" if variant.p50_ms is None else f"{variant.p50_ms:.3g} ms"


def _cost(variant: Variant) -> str:
    points = variant.drop_points
    if abs(points) < 0.005:
        return "no accuracy lost"
    return f"{abs(points):.2f} points {'lost' if points > 0 else 'won'}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
