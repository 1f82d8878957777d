"""Files of the generate stage; no other file spells their names.

    synthetic.npy            uint8 (N, C, C, 3); row j * K + c is image j of class c
    synthetic.jsonl          one `SyntheticRecord` per line, in the order of the images
    conditions.npy           float16 (N, E): embedding each image was decoded from; E = 0: none
    source_conditions.npy    float32 (n, E): the generator's raw embeddings of the shots, or (0, 0)
    sheet_<class>.png        contact sheets: shots above, synthetic images below

Until the stage is finished, under ``partial/``: ``shard_<row>.safetensors``, ``probing.json`` and
``shot_embeds_<hash of the generator's name>.npy``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.data.rows import RowWriter
from compress.engine.executors.work import metadata_of
from compress.engine.store import sha256_text
from runtime.files.strict_json import to_text

IMAGES = "synthetic.npy"
RECORDS = "synthetic.jsonl"
CONDITIONS = "conditions.npy"
SOURCE_CONDITIONS = "source_conditions.npy"
PROBING = "probing.json"
SLUG = 100  # characters of a class's name in a file name; file systems take 255 bytes in all


@dataclass(frozen=True)
class SyntheticRecord:
    """Provenance of one synthetic image.

    Attributes:
        path: ``synthetic.npy#<row>``.
        method: the strategy.
        generator_id: name of the generator or decoder.
        style_id: its style in the prompts' list of styles, if they have one.
        source_ids: keys of the shots it was made from.
        weights: of the text (if any) and of the shots in the mixed embedding.
        noise_level: noise on the embedding, 0..999.
        cond_embedding_ref: ``conditions.npy#<row>``, if it was decoded from an embedding.
        loss: of an optimized image, at the first and the last step.
    """

    path: str
    class_id: int
    method: str
    seed: int
    generator_id: str
    prompt: str | None = None
    style_id: int | None = None
    source_ids: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    noise_level: int | None = None
    cond_embedding_ref: str | None = None
    loss: tuple[float, float] | None = None

    def line(self) -> str:
        """As one line of JSON."""
        return to_text(asdict(self), sort_keys=True)

    @classmethod
    def from_line(cls, line: str) -> SyntheticRecord:
        """The record of one line of JSON."""
        row: dict[str, Any] = json.loads(line)
        lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
        return cls(**{**row, **lists})


@dataclass(frozen=True)
class ToolFacts:
    """What the report says about what made the images; all None if none was made."""

    name: str | None = None
    license: str | None = None
    fingerprint: str | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class Shard:
    """A run of consecutive rows."""

    images: NDArray[np.uint8]  # (n, C, C, 3)
    conditions: NDArray[np.float16]  # (n, E)
    records: Sequence[SyntheticRecord]
    tool: ToolFacts

    def content(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Arrays and metadata of its safetensors file."""
        lines = "\n".join(record.line() for record in self.records)
        arrays: dict[str, NDArray[Any]] = {"images": self.images, "conditions": self.conditions}
        return arrays, {"records": lines, "tool": to_text(asdict(self.tool))}


def shard_path(partial: Path, first_row: int) -> Path:
    """The shard that starts at a row."""
    return partial / f"shard_{first_row:07d}.safetensors"


def shot_embeds_path(partial: Path, generator: str) -> Path:
    """The embeddings of the shots by a generator's name."""
    return partial / f"shot_embeds_{sha256_text(generator)[:16]}.npy"


def shot_embeds_files(partial: Path) -> list[Path]:
    """The embeddings of the shots by every generator so far."""
    return sorted(partial.glob("shot_embeds_*.npy"))


def tool_of(shard: Path) -> ToolFacts:
    """What made the images of a shard."""
    return ToolFacts(**json.loads(metadata_of(shard)["tool"]))


@dataclass(frozen=True)
class GenerateArtifact:
    """Folder of a generate stage, finished or in progress."""

    folder: Path

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """uint8 (N, C, C, 3), memory-mapped."""
        loaded: NDArray[np.uint8] = np.load(self.folder / IMAGES, mmap_mode="r")
        return loaded

    @cached_property
    def records(self) -> tuple[SyntheticRecord, ...]:
        """Provenance of each image, in the order of ``images``."""
        lines = (self.folder / RECORDS).read_text(encoding="utf-8").splitlines()
        return tuple(SyntheticRecord.from_line(line) for line in lines)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class of each image, (N,)."""
        return np.asarray([record.class_id for record in self.records], np.int64)

    @property
    def conditions(self) -> NDArray[np.float16] | None:
        """float16 (N, E): embedding each image was decoded from; None without any."""
        return _filled(self.folder / CONDITIONS)

    @property
    def source_conditions(self) -> NDArray[np.float32] | None:
        """float32 (n, E): the generator's raw embeddings of the shots, or None."""
        return _filled(self.folder / SOURCE_CONDITIONS)

    def join_shards(self, shards: Sequence[Path], edge: int) -> int | None:
        """Joins shards, one in memory at a time; returns E of the conditions, None without any."""
        from safetensors import safe_open

        conditions: list[NDArray[np.float16]] = []
        with (
            RowWriter(self.folder / IMAGES, (edge, edge, 3)) as images,
            (self.folder / RECORDS).open("w", encoding="utf-8") as records,
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
        """Writes the generator's embeddings of the shots; None is stored as (0, 0)."""
        rows = np.empty((0, 0), np.float32) if embeds is None else embeds
        np.save(self.folder / SOURCE_CONDITIONS, rows, allow_pickle=False)

    def write_sheets(self, classes: Sequence[str], sheets: Iterable[Image.Image]) -> list[str]:
        """Writes the contact sheet of every class and returns the file names, in that order."""
        files = sheet_names(classes)
        for file, sheet in zip(files, sheets, strict=True):
            sheet.save(self.folder / file)
        return files


def sheet_names(classes: Sequence[str]) -> list[str]:
    """``sheet_<class>.png`` in letters and digits, each another name that any file system takes.

    Equal names get the class number too; where such a name is another class's, all are numbered.
    """
    words = (re.sub(r"[^0-9a-z]+", "_", name.lower())[:SLUG].strip("_") for name in classes)
    slugs = [slug or "class" for slug in words]
    counts = Counter(slugs)
    files = [
        f"sheet_{slug}.png" if counts[slug] == 1 else f"sheet_{slug}_{position}.png"
        for position, slug in enumerate(slugs)
    ]
    if len(set(files)) == len(files):
        return files
    return [f"sheet_{position:06d}_{slug}.png" for position, slug in enumerate(slugs)]


def _filled(path: Path) -> NDArray[Any] | None:
    if not path.exists():
        return None
    rows: NDArray[Any] = np.load(path, allow_pickle=False)
    return rows if rows.size else None
