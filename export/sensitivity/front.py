"""Which blocks to quantize: candidates with their accuracy, time and size -> Pareto front, choice,
sentence.

Nothing is measured here. Accuracy is counted in points of top-1 lost against fp32 on held-out
views; time in ms of one image, and whether two candidates differ in it at all is for the
measurement to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.evaluate.gates import MAX_DROP_POINTS

ROUNDING = 1e-9


@dataclass(frozen=True)
class Candidate:
    """One mixture.

    Attributes:
        float_blocks: names of the blocks that stay in float, in the order of the network; all of
            them: the fp32 file.
        top1: share of the held-out views with the right class.
        drop_points: fp32's top-1 minus this one's, in points.
        p50_ms: None where it was not measured.
        size_bytes: of the file.
    """

    float_blocks: tuple[str, ...]
    top1: float
    drop_points: float
    p50_ms: float | None
    size_bytes: int

    @property
    def passes(self) -> bool:
        """Whether its accuracy may ship."""
        return self.drop_points <= MAX_DROP_POINTS + ROUNDING


Slower = Callable[
    [int, int], bool
]  # (a, b): candidate a is slower than b by more than the noise of the measurement


def pareto(candidates: Sequence[Candidate]) -> list[int]:
    """Indices of the candidates that no other one beats in one of accuracy, time and size without
    losing in another, fastest first. Of equal ones the first stays.
    """

    def place(candidate: Candidate) -> tuple[float, float, float]:
        return (
            candidate.drop_points,
            float("inf") if candidate.p50_ms is None else candidate.p50_ms,
            candidate.size_bytes,
        )

    places = [place(candidate) for candidate in candidates]
    kept = [
        i
        for i, mine in enumerate(places)
        if not any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and (other != mine or j < i)
            for j, other in enumerate(places)
            if j != i
        )
    ]
    return sorted(kept, key=lambda i: (places[i][1], places[i][0]))


def choose(candidates: Sequence[Candidate], slower: Slower) -> int:
    """Index of the fastest candidate whose accuracy may ship. A mixture has to win: among those
    that are not slower beyond doubt, int8 comes first, then fp32, then the mixture with the fewest
    float blocks and the smallest file.

    Args:
        candidates: fp32 is the one with the most float blocks.

    Raises:
        ValueError: no candidate with a measured time passes (fp32 loses nothing, so it always
            does).
    """
    able = [
        i
        for i, candidate in enumerate(candidates)
        if candidate.passes and candidate.p50_ms is not None
    ]
    if not able:
        raise ValueError("no candidate was measured that keeps the accuracy of fp32")
    whole = max(len(candidate.float_blocks) for candidate in candidates)

    def place(i: int) -> tuple[bool, int, int, float]:
        mine = candidates[i]
        return (
            0 < len(mine.float_blocks) < whole,
            len(mine.float_blocks),
            mine.size_bytes,
            mine.p50_ms or 0.0,
        )

    fastest = min(able, key=lambda i: (candidates[i].p50_ms, len(candidates[i].float_blocks)))
    return min((i for i in able if not slower(i, fastest)), key=place)


def nested(order: Sequence[str]) -> list[tuple[str, ...]]:
    """The first one, two, ... of ``order``, without all of them: what greedy removal from int8
    visits.
    """
    return [tuple(order[:count]) for count in range(1, len(order))]


def verdict(blocks: Sequence[str], chosen: Candidate, int8: Candidate, fp32: Candidate) -> str:
    """The choice in one sentence, with what it rests on.

    Args:
        blocks: names of all blocks.
    """
    if chosen.float_blocks == fp32.float_blocks:
        if not int8.passes:
            why = (
                f"int8 costs {int8.drop_points:.2f} points here, and no mixture that may "
                "ship beats fp32"
            )
        else:
            why = (
                f"int8 takes {_ms(int8)}, fp32 {_ms(fp32)}, and no mixture of the two is "
                "faster beyond the noise"
            )
        return f"Do not quantize: {why}."
    against = f"{_ms(chosen)} against {_ms(fp32)} of fp32"
    if (chosen.p50_ms or 0.0) >= (
        fp32.p50_ms or float("inf")
    ):  # a tie, which int8 wins by its size
        against = (
            "as fast as fp32 within the noise, "
            f"{100 * chosen.size_bytes / fp32.size_bytes:.0f} % of its size"
        )
    if not chosen.float_blocks:
        return (
            f"Quantize everything: {against}, {_cost(chosen)}, and no block is worth "
            "keeping in float."
        )
    float_names, int8_names = (
        chosen.float_blocks,
        [name for name in blocks if name not in chosen.float_blocks],
    )
    what = (
        f"Quantize all but {_listed(float_names)}"
        if len(float_names) <= len(int8_names)
        else f"Quantize only {_listed(int8_names)}"
    )
    pure = f"all in int8 {_ms(int8)} and {_cost(int8)}"
    return f"{what}: {against}, {_cost(chosen)} ({pure})."


def _ms(candidate: Candidate) -> str:
    return "an unknown time" if candidate.p50_ms is None else f"{candidate.p50_ms:.3g} ms"


def _cost(candidate: Candidate) -> str:
    points = candidate.drop_points
    return (
        "no accuracy lost"
        if abs(points) < 0.005
        else f"{points:.2f} points lost"
        if points > 0
        else f"{-points:.2f} points won"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
