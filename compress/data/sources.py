"""Opens the source that the settings name: a dataset, a folder, or only class names."""

from __future__ import annotations

from collections import Counter

from compress.data.class_names import class_name, look_alike, refuse_names, shown
from compress.data.datasets.catalog import (
    missing_dataset,
    open_dataset,
    refuse_domains,
    refuse_style,
    root_of,
)
from compress.data.folders.source import open_folder
from compress.data.split import ClassInfo, Source, nothing
from compress.engine.config import DataSettings, Settings
from compress.engine.errors import DataError
from compress.engine.store import sha256_text

ONLY_NAMES = (
    "only class names were given: no real image is used, and accuracy on real images "
    "is not measured"
)


def open_source(settings: DataSettings) -> Source:
    """The source that the settings name; reads lists of images, but no image.

    Raises:
        ConfigError: an unknown dataset or domain (with the nearest name), or an option that the
            source does not have.
        DownloadError: a dataset that is not on disk and cannot be downloaded.
        DataError: an unusable folder or list of names.
    """
    if settings.dataset is not None:
        return open_dataset(settings)
    refuse_style(settings)
    refuse_domains(settings, str(settings.path or "a list of class names"))
    if settings.path is not None:
        return open_folder(settings, root_of(settings))
    return open_names(settings)


def open_names(settings: DataSettings) -> Source:
    """Class names without images: every training image is synthetic, and nothing can be tested.

    Raises:
        DataError: an empty name, a repeated one (whatever its case), or fewer than two names.
    """
    names = tuple(class_name(name) for name in settings.classes or ())
    if not all(names):
        remedy = "check the commas of --classes"
        raise DataError("a class name is empty", got=list(names), remedy=remedy)
    counts = Counter(map(look_alike, names))
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise DataError("a class name is repeated", got=shown(*repeated))
    refuse_names(dict(zip(settings.classes or (), names, strict=True)), "the list of classes")
    if len(names) < 2:
        got = f"{len(names)} class"
        raise DataError("there is nothing to tell apart", got=got, expected="at least 2 names")
    classes = tuple(ClassInfo(name, name, settings.category) for name in names)
    identity = {"classes": sha256_text("\n".join(names))}
    return Source(
        "class names", classes, nothing(), nothing(), lambda: identity, notes=(ONLY_NAMES,)
    )


def missing(settings: Settings, online: bool) -> str | None:
    """What a person must place by hand before the source can be opened; None if nothing."""
    return missing_dataset(settings.data, online) if settings.data.dataset is not None else None
