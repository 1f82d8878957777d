"""What a data stage found, for people: a few lines before training, and all of it with paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from compress.data.split import ClassInfo, FolderFacts, Renamed, Source
from compress.evaluate.claims import too_few

FILE = "summary.json"
Measured = Literal["test", "held out", "nothing"]


@dataclass(frozen=True)
class ClassSummary:
    """One class: what a prompt says of it, and its images by split (of those used: by set)."""

    name: str
    prompt: str
    found: Mapping[str, int]  # split of the source -> images that lie there
    used: Mapping[str, int]  # "shots", "test", "test_<domain>" -> images


@dataclass(frozen=True)
class KeyedReason:
    """An image and what is the matter with it."""

    key: str
    reason: str


@dataclass(frozen=True)
class CopyOf:
    """An image of a group of copies: in "shots", "train" (not drawn) or a test set."""

    set: str
    key: str
    name: str  # of its class


@dataclass(frozen=True)
class Copies:
    """Images that are equal, or nearly so."""

    kind: Literal["equal", "near"]
    images: tuple[CopyOf, ...]

    @property
    def in_two_classes(self) -> bool:
        """Whether their labels differ: of equal images one is wrong."""
        return len({image.name for image in self.images}) > 1

    @property
    def in_train_and_test(self) -> bool:
        """Whether some are for training and some for testing."""
        return len({image.set in ("shots", "train") for image in self.images}) > 1


@dataclass(frozen=True)
class DataSummary:
    """All that is to be known of the images of a run.

    Attributes:
        measured: what accuracy is measured on.
        skipped: images that cannot be read, or that a table names and that are not there.
        repaired: images that were mended in memory.
        renamed: folders whose class has another name.
        copies: equal and nearly equal images.
        not_used: training images that are left out, since test images are nearly the same.
        empty: classes without a training image, and what lies there.
        unknown: test classes without a training folder -> their images, which are not used.
        left_out: files and folders that are no images of a class.
    """

    name: str
    classes: tuple[ClassSummary, ...]
    measured: Measured
    skipped: tuple[KeyedReason, ...] = ()
    repaired: tuple[KeyedReason, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    copies: tuple[Copies, ...] = ()
    not_used: tuple[str, ...] = ()
    empty: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values that ``from_json`` reads back to an equal summary."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataSummary:
        """Reads what ``to_json`` wrote."""
        rows: dict[str, Any] = dict(values)
        rows["classes"] = tuple(ClassSummary(**row) for row in rows["classes"])
        rows["skipped"] = tuple(KeyedReason(**row) for row in rows["skipped"])
        rows["repaired"] = tuple(KeyedReason(**row) for row in rows["repaired"])
        rows["renamed"] = tuple(Renamed(**row) for row in rows["renamed"])
        rows["copies"] = tuple(
            Copies(row["kind"], tuple(CopyOf(**one) for one in row["images"]))
            for row in rows["copies"]
        )
        for name in ("not_used", "left_out", "notes"):
            rows[name] = tuple(rows[name])
        return cls(**rows)

    @property
    def lines(self) -> list[str]:
        """The summary in a few lines, without paths."""
        used: dict[str, int] = {}
        found: dict[str, int] = {}
        for each in self.classes:
            for counts, total in ((each.used, used), (each.found, found)):
                for name, count in counts.items():
                    total[name] = total.get(name, 0) + count
        there = ", ".join(f"{count:,} in {name}" for name, count in found.items())
        if self.measured == "held out" and there:
            there += f", {used.get('test', 0):,} of them held out for testing"
        names = {name: name.replace("_", " ", 1) for name in used} | {"shots": "shots in all"}
        taken = ", ".join(f"{count:,} {names[name]}" for name, count in used.items())
        lines = [f"{self.name}: {len(self.classes)} classes, {taken or 'no images'} ({there})"]
        lines[0] = lines[0].replace(" ()", "")
        sizes = [each.found.get("train", 0) for each in self.classes]
        if found.get("train") and min(sizes) != max(sizes):
            small, large = (pick(self.classes, key=_of_train) for pick in (min, max))
            lines.append(
                f"images per class in train: {min(sizes):,} ({small.name}) to "
                f"{max(sizes):,} ({large.name})"
            )
        if few := too_few(used.get("test", 0)):
            more = "; --set data.test_fraction=0.5 holds half of the images out"
            lines.append(few + (more if self.measured == "held out" else ""))
        near = sum(group.kind == "near" for group in self.copies)
        counts = {
            "skipped": len(self.skipped),
            "repaired": len(self.repaired),
            "renamed": len(self.renamed),
            "groups of equal images": len(self.copies) - near,
            "groups of nearly equal images": near,
            "images in two classes": sum(group.in_two_classes for group in self.copies),
            "not used beside test images": len(self.not_used),
            "files left out": len(self.left_out),
        }
        told = [
            f"{count:,} {what.replace('groups', 'group') if count == 1 else what}"
            for what, count in counts.items()
            if count
        ]
        return [*lines, *([f"{', '.join(told)}; the run's data/{FILE} names them"] if told else [])]


def _of_train(row: ClassSummary) -> int:
    return row.found.get("train", 0)


def class_summaries(
    source: Source, used: Mapping[str, Mapping[str, int]]
) -> tuple[ClassSummary, ...]:
    """Images of each class: those of the source by split, and those used by set.

    Args:
        used: set -> class -> images.
    """
    facts = source.facts or FolderFacts(_counts(source))
    return tuple(
        ClassSummary(
            entry.name,
            entry.prompt,
            {split: counts.get(entry.name, 0) for split, counts in facts.counts.items()},
            {name: counts.get(entry.name, 0) for name, counts in used.items()},
        )
        for entry in source.classes
    )


def count_by_class(classes: Sequence[ClassInfo], labels: Sequence[int]) -> dict[str, int]:
    """Class -> images, of the class numbers of a set."""
    counts = [0] * len(classes)
    for label in labels:
        counts[label] += 1
    return {entry.name: count for entry, count in zip(classes, counts, strict=True)}


def _counts(source: Source) -> dict[str, dict[str, int]]:
    splits = {"train": source.train, "test": source.test, **source.others}
    return {
        name: count_by_class(source.classes, split.labels.tolist())
        for name, split in splits.items()
        if len(split)
    }
