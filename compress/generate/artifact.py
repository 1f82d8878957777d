"""What the generate stage leaves, and the only place that knows its file names.

    synthetic.npy            uint8 (N, C, C, 3); row j * K + c is image j of class c
    synthetic.jsonl          one record a line: how the image of that row came to be
    conditions.npy           float16 (N, E): what each image was decoded from; E = 0 without any
    source_conditions.npy    float32 (n, E): the generator's raw embeddings of the shots, or (0, 0)
    sheet_<class>.png        contact sheets: shots above, synthetic images below

Unfinished, under ``partial/``: ``shard_<row>.safetensors``, ``probing.json``, ``generator.json``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.data.rows import RowWriter

IMAGES, RECORDS = "synthetic.npy", "synthetic.jsonl"
CONDITIONS, SOURCE_CONDITIONS = "conditions.npy", "source_conditions.npy"
PROBING, GENERATOR = "probing.json", "generator.json"


@dataclass(frozen=True)
class SyntheticRecord:
    """How one synthetic image came to be; ``loss`` of an optimized image: first and last step."""

    path: str
    class_id: int
    method: str
    prompt: str | None
    style_id: int | None
    source_ids: tuple[str, ...]
    weights: tuple[float, ...]
    seed: int
    generator_id: str
    noise_level: int | None
    cond_embedding_ref: str | None
    loss: tuple[float, float] | None = None

    def line(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_line(cls, line: str) -> SyntheticRecord:
        """The record of one line of JSON."""
        row: dict[str, Any] = json.loads(line)
        lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
        return cls(**{**row, **lists})


@dataclass(frozen=True)
class Shard:
    """A run of consecutive rows.

    Attributes:
        images: uint8 (n, C, C, 3).
        conditions: float16 (n, E).
        records: one line of JSON per image.
    """

    images: NDArray[np.uint8]
    conditions: NDArray[np.float16]
    records: tuple[str, ...]


def shard_path(partial: Path, first_row: int) -> Path:
    """Where the shard that starts at a row lies until the stage is finished."""
    return partial / f"shard_{first_row:07d}.safetensors"


def write_shard(path: Path, shard: Shard) -> None:
    """Writes a shard in one piece: a file that exists is whole."""
    from safetensors.numpy import save_file

    # safetensors writes the memory as it lies: a transposed array would come back as another image
    arrays: dict[str, NDArray[Any]] = {
        "images": np.ascontiguousarray(shard.images),
        "conditions": np.ascontiguousarray(shard.conditions),
    }
    temporary = path.with_suffix(".tmp")
    save_file(arrays, temporary, metadata={"records": "\n".join(shard.records)})
    os.replace(temporary, path)


@dataclass(frozen=True)
class GenerateArtifact:
    """The folder of a generate stage, finished or being written."""

    folder: Path

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """uint8 (N, C, C, 3), memory-mapped."""
        loaded: NDArray[np.uint8] = np.load(self.folder / IMAGES, mmap_mode="r")
        return loaded

    @cached_property
    def records(self) -> tuple[SyntheticRecord, ...]:
        """How each image came to be, in the order of ``images``."""
        lines = (self.folder / RECORDS).read_text().splitlines()
        return tuple(SyntheticRecord.from_line(line) for line in lines)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class that each image was made for, (N,)."""
        return np.asarray([record.class_id for record in self.records], np.int64)

    @property
    def conditions(self) -> NDArray[np.float16] | None:
        """float16 (N, E): what each image was decoded from; None without any."""
        return _filled(self.folder / CONDITIONS)

    @property
    def source_conditions(self) -> NDArray[np.float32] | None:
        """float32 (n, E): the generator's raw embeddings of the shots, or None."""
        return _filled(self.folder / SOURCE_CONDITIONS)

    def join_shards(self, shards: Sequence[Path], edge: int) -> int | None:
        """Joins shards, never all in memory; the width E of the conditions, None without any."""
        from safetensors import safe_open

        conditions: list[NDArray[np.float16]] = []
        with (
            RowWriter(self.folder / IMAGES, (edge, edge, 3)) as images,
            (self.folder / RECORDS).open("w") as records,
        ):
            for path in shards:
                with safe_open(path, "numpy") as shard:
                    for image in shard.get_tensor("images"):
                        images.append(image)
                    conditions.append(shard.get_tensor("conditions"))
                    records.write(shard.metadata()["records"] + "\n")
        stacked = np.concatenate(conditions) if conditions else np.empty((0, 0), np.float16)
        np.save(self.folder / CONDITIONS, stacked, allow_pickle=False)
        return stacked.shape[1] or None

    def write_source_conditions(self, embeds: NDArray[np.float32] | None) -> None:
        """Writes the generator's embeddings of the shots; None is kept as (0, 0)."""
        rows = np.empty((0, 0), np.float32) if embeds is None else embeds
        np.save(self.folder / SOURCE_CONDITIONS, rows, allow_pickle=False)

    def write_sheets(self, sheets: Mapping[int, Image.Image], names: Sequence[str]) -> list[str]:
        """Writes a contact sheet per class and returns the file names in the order of classes."""
        files = sheet_names(names)
        for class_id, sheet in sheets.items():
            sheet.save(self.folder / files[class_id])
        return files


def sheet_names(classes: Sequence[str]) -> list[str]:
    """``sheet_<class>.png`` in letters and digits; a number tells equal names apart."""
    slugs = [re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_") or "class" for name in classes]
    return [
        f"sheet_{slug}.png" if slugs.count(slug) == 1 else f"sheet_{slug}_{position}.png"
        for position, slug in enumerate(slugs)
    ]


def _filled(path: Path) -> NDArray[Any] | None:
    if not path.exists():
        return None
    rows: NDArray[Any] = np.load(path, allow_pickle=False)
    return rows if rows.size else None
