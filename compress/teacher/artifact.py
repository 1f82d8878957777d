"""What the teacher stage leaves, and the only place that knows its file names.

heads.safetensors   probe (K, D) and, if every class has texts or a name that the network knows,
                    zero_shot (K, D), unit rows; logit_scale (); center (D,) if there is one;
                    answer_0_rows (K, D), ... with other teacher.heads than a probe, see answers.py.
                    Of several teachers: the same names with the suffixes .0, .1, ...
shots.safetensors   features (N, D) of shots in the space of those rows, means of views; rows (N,)
                    of the shots. Absent if no head was fitted on shots.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from compress.teacher.answers import PARTS, Answer, mean_probabilities

HEADS = "heads.safetensors"
SEEN = "shots.safetensors"


@dataclass(frozen=True)
class Head:
    """Class heads in the feature space of one teacher.

    Attributes:
        zero_shot: float32 (K, D), unit rows from texts or names; None if a class has neither.
        probe: float32 (K, D), unit rows fine-tuned on the shots; without any, ``zero_shot``.
        logit_scale: multiplies cosines.
        center: float32 (D,), taken from unit features before they get unit length again; None for
            zero.
        answers: what its logits are, the mean of their probabilities; none: cosines with the probe.
    """

    zero_shot: NDArray[np.float32] | None
    probe: NDArray[np.float32]
    logit_scale: float
    center: NDArray[np.float32] | None = None
    answers: tuple[Answer, ...] = ()

    def centered(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit rows (..., D) in the space of the head's rows."""
        return features if self.center is None else unit(features - self.center)

    def logits(self, centered: NDArray[np.float32]) -> NDArray[np.float32]:
        """The head's logits (..., K)."""
        if self.answers:
            return mean_probabilities([answer.logits(centered) for answer in self.answers])
        out: NDArray[np.float32] = np.float32(self.logit_scale) * (centered @ self.probe.T)
        return out


@dataclass(frozen=True)
class Heads:
    """The heads of a run's teachers; features of several stand side by side, see ``Ensemble``.

    Attributes:
        members: of each teacher, in order.
    """

    members: tuple[Head, ...]

    @property
    def classes(self) -> int:
        """K."""
        return len(self.members[0].probe)

    @property
    def probe(self) -> NDArray[np.float32]:
        """(K, D) unit rows; of several teachers theirs side by side."""
        return self._joined([head.probe for head in self.members])

    @property
    def zero_shot(self) -> NDArray[np.float32] | None:
        """(K, D) unit rows, None if a teacher has none."""
        rows = [head.zero_shot for head in self.members if head.zero_shot is not None]
        return self._joined(rows) if len(rows) == len(self.members) else None

    @property
    def logit_scale(self) -> float:
        """The scale of cosines, of several teachers the mean."""
        return float(np.mean([head.logit_scale for head in self.members]))

    @property
    def widths(self) -> list[int]:
        """D of each teacher."""
        return [head.probe.shape[1] for head in self.members]

    def space(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit rows (N, D) of a teacher's unit features in the space of the rows."""
        if len(self.members) == 1:
            return self.members[0].centered(features)
        parts = self._parts(features)
        rows = [head.centered(unit(part)) for head, part in zip(self.members, parts, strict=True)]
        return unit(np.concatenate(rows, axis=-1))

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, K) of rows of ``space``; of several teachers the log of their mean probabilities."""
        if len(self.members) == 1:
            return self.members[0].logits(features)
        parts = zip(self.members, self._parts(features), strict=True)
        return mean_probabilities([head.logits(unit(part)) for head, part in parts])

    def _parts(self, features: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return np.split(features, np.cumsum(self.widths)[:-1], axis=-1)

    def _joined(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return rows[0] if len(rows) == 1 else unit(np.concatenate(rows, axis=-1))


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one; zero rows stay."""
    lengths = np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    out: NDArray[np.float32] = (rows / lengths).astype(np.float32)
    return out


@dataclass(frozen=True)
class Seen:
    """The shots that heads were fitted on.

    Attributes:
        rows: of all shots, int64 (N,).
        features: float32 (N, D), unit rows in the space of the heads.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]


@dataclass(frozen=True)
class TeacherArtifact:
    """The folder of a teacher stage, finished or being written."""

    folder: Path

    def heads(self) -> Heads:
        """The heads of a finished stage."""
        arrays = load_file(self.folder / HEADS)
        if "probe" in arrays:
            return Heads((_head(arrays, ""),))
        count = sum(name.startswith("probe.") for name in arrays)
        return Heads(tuple(_head(arrays, f".{index}") for index in range(count)))

    def has_heads(self) -> bool:
        """Whether the stage is finished here."""
        return (self.folder / HEADS).is_file()

    def write_heads(self, heads: Heads) -> None:
        """Writes the heads."""
        single = len(heads.members) == 1
        arrays: dict[str, NDArray[Any]] = {}
        for index, head in enumerate(heads.members):
            suffix = "" if single else f".{index}"
            optional = {"zero_shot": head.zero_shot, "center": head.center}
            rows = {"probe": head.probe, **{k: v for k, v in optional.items() if v is not None}}
            for name, values in rows.items():
                arrays[name + suffix] = np.ascontiguousarray(values, np.float32)
            arrays["logit_scale" + suffix] = np.asarray(head.logit_scale, np.float32)
            for place, answer in enumerate(head.answers):
                for name, values in answer.arrays().items():
                    arrays[f"answer_{place}_{name}{suffix}"] = values
        save_file(arrays, self.folder / HEADS)

    def write_seen(self, seen: Seen) -> None:
        """Writes the features of shots."""
        half = seen.features.astype(np.float16)
        save_file({"rows": seen.rows, "features": half}, self.folder / SEEN)

    def seen(self) -> Seen | None:
        """The features of shots; None without heads that were fitted on some."""
        if not (self.folder / SEEN).is_file():
            return None
        arrays = load_file(self.folder / SEEN)
        return Seen(arrays["rows"], arrays["features"].astype(np.float32))


def _head(arrays: Mapping[str, NDArray[Any]], suffix: str) -> Head:
    return Head(
        arrays.get(f"zero_shot{suffix}"),
        arrays[f"probe{suffix}"],
        float(arrays[f"logit_scale{suffix}"]),
        arrays.get(f"center{suffix}"),
        tuple(_answers(arrays, suffix)),
    )


def _answers(arrays: Mapping[str, NDArray[Any]], suffix: str) -> Iterator[Answer]:
    for place in itertools.count():
        names = {part: f"answer_{place}_{part}{suffix}" for part in PARTS}
        found = {part: arrays[name] for part, name in names.items() if name in arrays}
        if not found:
            return
        yield Answer.from_arrays(found)
