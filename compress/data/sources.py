"""Opens whatever the settings name: a dataset, a folder, or only class names."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

from compress.data.catalog import missing_dataset, open_dataset, refuse_domains
from compress.data.folders import open_folder
from compress.data.split import ClassInfo, Source, Split, nothing
from compress.engine.config import DataSettings, Settings
from compress.engine.errors import ConfigError, DataError

__all__ = ["ClassInfo", "Source", "Split", "missing", "open_names", "open_source"]


def open_names(settings: DataSettings) -> Source:
    """Class names without a single image: everything the student sees is synthetic, and nothing can
    be measured.

    Raises:
        DataError: an empty name, a name that is there twice (whatever its case), or fewer than two
            names.
    """
    names = tuple(" ".join(name.split()) for name in settings.classes or ())
    if not all(names):
        raise DataError(
            "a class name is empty", got=list(names), remedy="check the commas of --classes"
        )
    twice = sorted(
        name for name, count in Counter(name.casefold() for name in names).items() if count > 1
    )
    if twice:
        raise DataError(
            "a class name is there twice", got=", ".join(twice), expected="different names"
        )
    if len(names) < 2:
        raise DataError(
            "there is nothing to tell apart",
            got=f"{len(names)} class",
            expected="at least 2 class names",
        )

    def identity() -> dict[str, str]:
        return {"classes": hashlib.sha256("\n".join(names).encode()).hexdigest()}

    classes = tuple(ClassInfo(name, name, settings.category) for name in names)
    note = (
        "only class names were given: no real image is used, and accuracy on real images "
        "is not measured"
    )
    return Source("class names", classes, nothing(), nothing(), identity, notes=(note,))


#: which field of DataSettings names the source -> what opens it; exactly one field is set (see
#: DataSettings)
OPENERS: dict[str, Callable[[DataSettings], Source]] = {
    "dataset": open_dataset,
    "path": open_folder,
    "classes": open_names,
}


def open_source(settings: DataSettings) -> Source:
    """The source that the settings name; reads lists of images, but no image.

    Raises:
        ConfigError: an unknown dataset or domain (with the nearest name), or an option that the
            source does not have.
        DownloadError: a dataset that is not on disk and cannot be downloaded.
        DataError: a folder or list of names that cannot be used.
    """
    if settings.style is not None and settings.dataset != "petals":
        raise ConfigError(
            "styles exist only in petals",
            got=f"style={settings.style}",
            remedy="leave data.style out",
        )
    if settings.dataset is None:
        refuse_domains(
            settings, str(settings.path) if settings.path is not None else "a list of class names"
        )
    return next(
        opener for field, opener in OPENERS.items() if getattr(settings, field) is not None
    )(settings)


def missing(run: Settings, online: bool) -> str | None:
    """As :func:`missing_source`, of a whole run."""
    return missing_source(run.data, online)


def missing_source(settings: DataSettings, reachable: bool) -> str | None:
    """What has to be placed by hand before the source can be opened; None if nothing has to be.

    Args:
        reachable: whether there is a network.

    Raises:
        ConfigError: an unknown dataset.
    """
    return missing_dataset(settings, reachable) if settings.dataset is not None else None
