"""The data stage: draws the shots, decodes every image once, and lists what could not be read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compress.data.artifact import DUPLICATES, SHOTS, TEST, DataArtifact
from compress.data.copies.duplicates import TRAIN, Duplicates
from compress.data.copies.survey import ALLOW, EXAMPLES, Survey, images_in_both, look_over, survey
from compress.data.geometry import eval_geometry, shot_geometry
from compress.data.held_out import readable_hold_out
from compress.data.images.reading import ImageReader
from compress.data.images.unreadable import CHECK, MOST_UNREADABLE, Unreadable
from compress.data.shots import WINDOW, draw_shots, stratified_part
from compress.data.sources import open_source
from compress.data.split import Source, Split
from compress.data.summary import (
    Copies,
    CopyOf,
    DataSummary,
    KeyedReason,
    class_summaries,
    count_by_class,
)
from compress.engine.config import Settings
from compress.engine.errors import DataError
from runtime.files.paths import line

if TYPE_CHECKING:
    from compress.engine.stage import StageContext


NONE_READABLE = "no readable image, so no accuracy, among the {} of"


def fingerprint(settings: Settings) -> dict[str, str]:
    """The identity of the source's content: part of the stage's, next to its settings."""
    return open_source(settings.data).identity()


def run(ctx: StageContext) -> dict[str, Any]:
    """Fills the stage folder.

    Raises:
        ConfigError: an unknown dataset, domain or style.
        DownloadError: a dataset that is neither on disk nor downloadable.
        DataError: unusable classes or images, too few of them, or a shot among the test images.
    """
    data = ctx.settings.data
    image = ctx.settings.image
    source = open_source(data)
    domains = {f"{TEST}_{domain}": split for domain, split in source.others.items()}
    tests = {TEST: source.test, **domains}
    lost: list[str] = []
    for name, split in tests.items():
        if data.test_limit is not None and data.test_limit < len(split):
            tests[name] = split.subset(stratified_part(split, source.names, data.test_limit))
            why = f"data.test_limit={data.test_limit} draws no image, so there is no accuracy"
            lost += _untested(source, split, tests[name], f"{why}, of")
    artifact = DataArtifact(ctx.folder)
    unreadable = Unreadable(artifact)
    repaired: dict[str, str] = {}
    duplicates = Duplicates()
    seen = eval_geometry(image)
    allow = data.duplicates == "allow"
    given = source.facts is not None and not source.facts.held_out  # a split of a person's own
    with ThreadPoolExecutor(ctx.host.workers) as threads:
        looks = look_over(source, tests, threads, ctx.progress)
        if source.facts is not None and source.facts.held_out:
            damaged = {*looks.skipped, *looks.repaired}
            drawn = tests[TEST]
            train, tests[TEST] = readable_hold_out(
                source.train, drawn, source.names, data.shots, damaged, looks.skipped
            )
            source = replace(source, train=train)
            lost += _untested(source, drawn, tests[TEST], NONE_READABLE.format("test images"))
        looked = survey(source, tests, looks, seen, allow, threads)
        train = _without_copies(source, looked, data.shots)
        shape = shot_geometry(image)
        read = ImageReader(train, shape, seen, threads, unreadable, mends=True, repaired=repaired)
        shots = _write_shots(ctx, source, read, duplicates)
        written = {}
        for name, split in tests.items():
            read = ImageReader(split, seen, seen, threads, unreadable)
            written[name], untested = _write_test(ctx, source, name, read, duplicates)
            lost += untested
            refuse_leaks(shots, written[name], name)
    _add_unused(duplicates, looked, source, tests, {*shots, *chain(*written.values())})
    if given and not allow and (pairs := duplicates.pairs_in_both):
        raise images_in_both(pairs)
    source.refuse_changes(ctx.external)
    repaired = {**repaired, **looks.repaired}
    known = {row["key"] for row in unreadable.rows}
    unused = [{"key": key, "reason": why} for key, why in looks.skipped.items() if key not in known]
    skipped = [*(source.facts.missing if source.facts else ()), *unreadable.rows, *unused]
    artifact.write_classes(source.classes)
    artifact.write_skipped(skipped)
    artifact.write_duplicates(duplicates.groups)
    kept = written[TEST]
    notes = _notes(source, len(skipped), repaired, duplicates, (*lost, *looked.notes))
    summary = _summary(artifact, source, tests, skipped, repaired, duplicates, looked, notes)
    artifact.write_summary(summary)
    for text in (*notes, *summary.lines):
        ctx.progress.note(line(text))
    return {
        "name": source.name,
        "classes": len(source.classes),
        "shots": data.shots,
        "train_images": len(shots),
        "test_images": len(kept),
        "domain": source.domain,
        "domains": {domain: len(written[f"{TEST}_{domain}"]) for domain in source.others},
        "skipped": len(skipped),
        "image_size": image.size,
        "cache_size": image.resize,
        "license": source.license,
        "notes": notes,
        **({"duplicates": duplicates.counts} if duplicates.groups else {}),
        **({"repaired": len(repaired)} if repaired else {}),
        **({"empty_classes": sorted(source.empty)} if source.empty else {}),
    }


def _without_copies(source: Source, looked: Survey, shots: int | Literal["all"]) -> Split:
    """The training images that are unlike all test images."""
    if not looked.left_out:
        return source.train
    kept = [row for row in range(len(source.train)) if row not in looked.left_out]
    train = source.train.subset(kept)
    least = 1 if shots == "all" else shots
    before, after = (
        np.bincount(split.labels, minlength=len(source.classes)) for split in (source.train, train)
    )
    for label, (there, rest) in enumerate(zip(before, after, strict=True)):
        if rest < least <= there:
            rows = [row for row in looked.left_out if source.train.labels[row] == label]
            named = sorted(source.train.keys[row] for row in rows)
            more = ", ..." if len(named) > EXAMPLES else ""
            raise DataError(
                f"class {source.names[label]!r} has too few images that are unlike the test images",
                got=line(
                    f"{rest} of {there}; nearly the same as a test image: "
                    f"{', '.join(named[:EXAMPLES])}{more}"
                ),
                expected=f"at least {least}",
                remedy=f"put other images in their place, lower --shots, or {ALLOW}",
            )
    return train


def _add_unused(
    duplicates: Duplicates,
    looked: Survey,
    source: Source,
    tests: Mapping[str, Split],
    used: Collection[str],
) -> None:
    """Images that are neither shots nor test images can have the wrong label, too."""
    for (name, index), digest in looked.digests.items():
        split = source.train if name == TRAIN else tests[name]
        if (key := split.keys[index]) not in used:
            duplicates.add(name, key, source.names[int(split.labels[index])], digest)


def _notes(
    source: Source,
    skipped: int,
    repaired: Mapping[str, str],
    duplicates: Duplicates,
    more: Sequence[str],
) -> list[str]:
    """What a person should know before training, in a line each."""
    notes = list(source.notes)
    if skipped:
        what = "1 image" if skipped == 1 else f"{skipped} images"
        were = "was" if skipped == 1 else "were"
        notes.append(f"{what} could not be read and {were} skipped; skipped.json says why")
    if repaired:
        first, why = next(iter(repaired.items()))
        notes.append(f"{len(repaired)} damaged images were mended, e.g. {first} ({why})")
    copies = (f"{text}; {DUPLICATES} names all" for text in duplicates.notes)
    return [line(text) for text in (*notes, *more, *copies)]


def _summary(
    artifact: DataArtifact,
    source: Source,
    tests: Mapping[str, Split],
    skipped: Sequence[Mapping[str, str]],
    repaired: Mapping[str, str],
    duplicates: Duplicates,
    looked: Survey,
    notes: Sequence[str],
) -> DataSummary:
    """What was found, with paths."""
    facts = source.facts
    sets = {name: artifact.images(name) for name in (SHOTS, *tests)}
    used = {
        name: count_by_class(source.classes, images.labels.tolist())
        for name, images in sets.items()
        if len(images)
    }
    shots = set(sets[SHOTS].keys)

    def copy_of(place: tuple[str, int]) -> CopyOf:
        split = source.train if place[0] == "train" else tests[place[0]]
        key = split.keys[place[1]]
        where = SHOTS if place[0] == "train" and key in shots else place[0]
        return CopyOf(where, key, source.names[int(split.labels[place[1]])])

    equal = [tuple(CopyOf(*row.values()) for row in group) for group in duplicates.groups]
    group_of = {image.key: number for number, group in enumerate(equal) for image in group}
    copies = [Copies("equal", group) for group in equal]
    for group in looked.groups:
        near = tuple(map(copy_of, group))
        numbers = {group_of.get(image.key) for image in near}
        if None in numbers or len(numbers) > 1:  # else they are equal, as told already
            copies.append(Copies("near", near))
    held_out = facts is not None and facts.held_out
    return DataSummary(
        source.name,
        class_summaries(source, used),
        ("held out" if held_out else "test") if len(sets[TEST]) else "nothing",
        tuple(KeyedReason(**row) for row in skipped),
        tuple(KeyedReason(key, why) for key, why in repaired.items()),
        tuple(facts.renamed) if facts else (),
        tuple(copies),
        tuple(source.train.keys[row] for row in sorted(looked.left_out)),
        dict(source.empty),
        dict(facts.unknown) if facts else {},
        tuple(facts.left_out) if facts else (),
        tuple(notes),
    )


def _write_shots(
    ctx: StageContext, source: Source, read: ImageReader, duplicates: Duplicates
) -> list[str]:
    """Writes the shots and returns their keys."""
    artifact = DataArtifact(ctx.folder)
    shots = ctx.settings.data.shots
    keys: list[str] = []
    labels: list[int] = []
    train = read.split
    total = len(train) if shots == "all" else shots * len(source.classes)
    with (
        artifact.pixel_writer(SHOTS, ctx.settings.image.resize) as file,
        ctx.progress.task("read shots", total=total, unit="image") as task,
    ):
        if shots:
            seed = ctx.settings.seed
            drawn = draw_shots(train, source.names, shots, seed, read, read.why, source.empty)
            for label, index, image in drawn:
                file.append(image.pixels)
                keys.append(train.keys[index])
                labels.append(label)
                duplicates.add(SHOTS, keys[-1], source.names[label], image.digest)
                task.advance()
    artifact.write_rows(SHOTS, keys, labels)
    return keys


def _write_test(
    ctx: StageContext, source: Source, name: str, read: ImageReader, duplicates: Duplicates
) -> tuple[list[str], list[str]]:
    """Writes a test set; returns the keys of its images, and a note on classes without any."""
    artifact = DataArtifact(ctx.folder)
    test = read.split
    what = f"{name.replace('_', ' ', 1)} images"
    kept: list[int] = []
    with (
        artifact.pixel_writer(name, ctx.settings.image.size) as file,
        ctx.progress.task(f"read {what}", total=len(test), unit="image") as task,
    ):
        for start in range(0, len(test), WINDOW):
            window = range(start, min(start + WINDOW, len(test)))
            for index, image in zip(window, read(window), strict=True):
                if image is not None:
                    file.append(image.pixels)
                    kept.append(index)
                    label = int(test.labels[index])
                    duplicates.add(name, test.keys[index], source.names[label], image.digest)
            task.advance(len(window))
    if len(kept) < (1 - MOST_UNREADABLE) * len(test):
        got = f"{len(kept)} readable of {len(test)}{read.why(range(len(test)))}"
        raise DataError(f"most of the {what} cannot be read", got=got, remedy=CHECK)
    labels = test.labels[kept].tolist()
    unread = sorted(set(range(len(test))) - set(kept))
    lost = _untested(source, test, test.subset(kept), NONE_READABLE.format(what))
    reason = read.unreadable.commonest(test.keys[index] for index in unread)
    keys = [test.keys[index] for index in kept]
    artifact.write_rows(name, keys, labels)
    return keys, [text + reason for text in lost]


def _untested(source: Source, given: Split, kept: Split, why: str) -> list[str]:
    """A note on the classes that have test images, but none among those that are kept."""
    lost = sorted(set(given.labels.tolist()) - set(kept.labels.tolist()))
    names = ", ".join(source.names[label] for label in lost[:8])
    return [f"{why}: {names}"] if lost else []


def refuse_leaks(shots: Iterable[str], tests: Iterable[str], name: str) -> None:
    """Raises DataError for images that are shots and test images: they falsify every accuracy."""
    both = sorted(set(shots) & set(tests))
    if both:
        what = f"{len(both)} images are shots and in {name} too"
        remedy = "this is a bug of the dataset's reader: please report it"
        raise DataError(what, got=", ".join(both[:4]), remedy=remedy)
