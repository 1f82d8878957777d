"""Readers of the named datasets: torchvision's, class folders, and petals.

Datasets of several domains are read by ``domains.py``. A reader takes (settings, root, download)
and returns a ``Listing``. It opens lists, never images, and raises what torchvision raises if
something is not on disk; ``catalog.open_dataset`` turns that into one message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.class_names import readable_name
from compress.data.folders.source import class_files, split_files
from compress.data.shots import hold_out
from compress.data.split import Split
from compress.engine.config import DataSettings
from compress.engine.errors import ConfigError, require_known


@dataclass(frozen=True)
class Listing:
    """Class names by class number, both splits and their digest; the rest as in ``Source``."""

    names: tuple[str, ...]
    train: Split
    test: Split
    identity: Callable[[], str]
    notes: tuple[str, ...] = ()
    domain: str | None = None
    others: Mapping[str, Split] = field(default_factory=dict)
    synonyms: tuple[tuple[str, ...], ...] = ()  # other words for each class; (): none


Reader = Callable[[DataSettings, Path, bool], Listing]


@dataclass(frozen=True)
class ImageFiles:
    """A torchvision dataset whose items are files, with an official split.

    Attributes:
        kind: the class in ``torchvision.datasets``; it must take ``split`` and ``loader``.
        name: torchvision's name of a class -> ours.
        train: the official splits that k shots are drawn from.
    """

    kind: str
    name: Callable[[str], str]
    train: tuple[str, ...] = ("train",)

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        from torchvision import datasets

        kind = getattr(datasets, self.kind)  # loader=Path: nothing is decoded
        *opened, test_data = (
            kind(root, split=name, download=download, loader=Path) for name in (*self.train, "test")
        )
        train = _listed(root, opened, settings.max_pixels)
        test = _listed(root, [test_data], settings.max_pixels)
        names = tuple(self.name(name) for name in test_data.classes)
        return Listing(names, train, test, lambda: digest_files(train, test))


@dataclass(frozen=True)
class ImageArrays:
    """A torchvision dataset that holds its images in one array, with an official split.

    Attributes:
        kind: the class in ``torchvision.datasets``.
        names: class names by class number.
        splits: the arguments that select train and test.
        labels: the attribute that holds the class numbers.
    """

    kind: str
    names: tuple[str, ...]
    splits: tuple[Mapping[str, Any], Mapping[str, Any]]
    labels: str

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        from torchvision import datasets

        kind = getattr(datasets, self.kind)
        opened = [kind(root, download=download, **which) for which in self.splits]

        def split(name: str, data: Any) -> Split:
            labels = np.asarray(getattr(data, self.labels)).astype(np.int64)
            keys = tuple(f"{name}/{index:06d}" for index in range(len(labels)))
            return Split(labels, keys, lambda index: data[index][0], settings.max_pixels)

        train = split("train", opened[0])
        test = split("test", opened[1])
        arrays = [data.data for data in opened]
        return Listing(self.names, train, test, lambda: digest([train, test], *arrays))


@dataclass(frozen=True)
class ClassFolders:
    """A dataset that torchvision unpacks into class folders.

    Attributes:
        kind: the class in ``torchvision.datasets`` that downloads it.
        base: the folder below the root that holds the class folders (or the folders of ``splits``).
        names: folder -> class name, where it is not the folder with spaces for underscores.
        splits: the train and test folders below ``base``; None: 20 % of every class is held out.
        left_out: folders that are not classes.
    """

    kind: str
    base: str
    names: Mapping[str, str]
    splits: tuple[str, str] | None = None
    left_out: tuple[str, ...] = ()

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        base = root / self.base
        if download and not base.is_dir():
            from torchvision import datasets

            getattr(datasets, self.kind)(root, download=True)
        notes: tuple[str, ...] = ()
        if self.splits:
            train_files, test_files = (class_files(base / name) for name in self.splits)
            folders = sorted(train_files)
            train = split_files(root, train_files, folders, settings.max_pixels)
            test = split_files(root, test_files, folders, settings.max_pixels)
        else:
            files = class_files(base)
            folders = sorted(set(files) - set(self.left_out))
            whole = split_files(root, files, folders, settings.max_pixels)
            train, test = (whole.subset(rows) for rows in hold_out(whole, folders, 0.2))
            notes = ("no official split: 20 % of every class is held out for testing (seed 0)",)
        names = tuple(self.names.get(folder, readable_name(folder)) for folder in folders)
        return Listing(names, train, test, lambda: digest_files(train, test), notes)


@dataclass(frozen=True)
class Petals:
    """The embedded world: every image is drawn when it is read. Its domains are the styles.

    Attributes:
        species: the classes, by their numbers in the world; (): all.
    """

    species: tuple[int, ...] = ()

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        from compress.petals.attributes import STYLES
        from compress.petals.world import SPECIES, SPLITS, render_species

        if settings.style and settings.domain and settings.style != settings.domain:
            raise ConfigError(
                "the style of petals is its domain, and they differ",
                got=f"{settings.style}, {settings.domain}",
                remedy="give data.domain alone",
            )
        style = settings.style or settings.domain or STYLES[0]
        require_known(style, STYLES, "unknown style of petals")
        species = self.species or tuple(range(len(SPECIES)))
        names = tuple(SPECIES[number].name for number in species)

        def split(name: str, style: str) -> Split:
            each = SPLITS[name]
            labels = np.repeat(np.arange(len(names)), each)
            rows = [divmod(i, each) for i in range(len(labels))]
            keys = tuple(f"{name}/{style}/{species[k]:02d}/{j:03d}" for k, j in rows)

            def draw(i: int) -> np.ndarray:
                k, j = rows[i]
                return render_species([species[k]], name, [j], style)[0]

            return Split(labels, keys, draw, settings.max_pixels)

        # a style's official test split, not all of it: the teacher's own quality gates use the same
        further = further_domains(settings, style, STYLES, "petals")
        others = {other: split("test", other) for other in further}

        def identity() -> str:
            """Digest of a picture of each species, so of what is drawn, not of the drawing code."""
            total = hashlib.sha256("\n".join(names).encode() + str(SPLITS).encode())
            for drawn in (style, *others):
                total.update(render_species(species, "test", [0] * len(names), drawn).tobytes())
            return total.hexdigest()

        train, test = split("train", style), split("test", style)
        return Listing(names, train, test, identity, domain=style, others=others)


def own_domain(settings: DataSettings, known: Sequence[str], of: str) -> str:
    """The domain of the shots and the test split: ``data.domain``, or the first."""
    own = known[0] if settings.domain is None else settings.domain
    require_known(own, known, f"unknown domain of {of}")
    return own


def further_domains(
    settings: DataSettings, own: str, known: Sequence[str], of: str
) -> tuple[str, ...]:
    """The domains of ``data.test_domains`` other than the own one."""
    given = settings.test_domains
    for name in given:
        require_known(name, [*known, "all"], f"unknown domain of {of}")
    return tuple(name for name in known if name != own and ("all" in given or name in given))


def digest(splits: Sequence[Split], *arrays: np.ndarray) -> str:
    """SHA-256 over the splits' keys and labels and the given arrays."""
    total = hashlib.sha256()
    for split in splits:
        total.update("\n".join(split.keys).encode())
        total.update(np.ascontiguousarray(split.labels, np.int64).tobytes())
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def digest_files(*splits: Split) -> str:
    """SHA-256 over the keys, labels and file sizes of splits whose images are files."""
    paths = [split.load(i) for split in splits for i in range(len(split))]
    sizes = [path.stat().st_size if path.exists() else -1 for path in paths]
    return digest(splits, np.asarray(sizes, np.int64))


def _listed(root: Path, opened: Sequence[Any], max_pixels: int) -> Split:
    items = [data[index] for data in opened for index in range(len(data))]
    paths = [Path(path) for path, _ in items]
    keys = tuple(path.relative_to(root).as_posix() for path in paths)
    labels = np.array([label for _, label in items], np.int64)
    return Split(labels, keys, paths.__getitem__, max_pixels)
