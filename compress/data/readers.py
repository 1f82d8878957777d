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

from compress.data.folders import class_files, readable_name, split_files
from compress.data.shots import hold_out
from compress.data.split import Split
from compress.engine.config import DataSettings
from compress.engine.errors import ConfigError, nearest


@dataclass(frozen=True)
class Listing:
    """Class names by class number, both splits and the digest of their content.

    ``domain`` and ``others`` are those of ``split.Source``.
    """

    names: tuple[str, ...]
    train: Split
    test: Split
    identity: Callable[[], str]
    notes: tuple[str, ...] = ()
    domain: str | None = None
    others: Mapping[str, Split] = field(default_factory=dict)


Reader = Callable[[DataSettings, Path, bool], Listing]


@dataclass(frozen=True)
class ImageFiles:
    """A torchvision dataset whose items are files, with an official split.

    Attributes:
        kind: the class in ``torchvision.datasets``; it must take ``split`` and ``loader``.
        names: class names of the opened dataset.
        train: the official splits that k shots are drawn from.
    """

    kind: str
    names: Callable[[Any], Sequence[str]]
    train: tuple[str, ...] = ("train",)

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        opened = {name: self._open(root, name, download) for name in (*self.train, "test")}
        train = _listed(root, [opened[name] for name in self.train], settings.max_pixels)
        test = _listed(root, [opened["test"]], settings.max_pixels)
        return Listing(
            tuple(self.names(opened["test"])), train, test, lambda: digest_files(train, test)
        )

    def _open(self, root: Path, split: str, download: bool) -> Any:
        from torchvision import datasets

        return getattr(datasets, self.kind)(root, split=split, download=download, loader=Path)


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
        train_data, test_data = (kind(root, download=download, **which) for which in self.splits)
        train = self._split("train", train_data, settings)
        test = self._split("test", test_data, settings)
        return Listing(
            self.names, train, test, lambda: digest([train, test], train_data.data, test_data.data)
        )

    def _split(self, name: str, data: Any, settings: DataSettings) -> Split:
        labels = np.asarray(getattr(data, self.labels)).astype(np.int64)
        keys = tuple(f"{name}/{index:06d}" for index in range(len(labels)))
        return Split(labels, keys, lambda index: data[index][0], settings.max_pixels)


@dataclass(frozen=True)
class ClassFolders:
    """A dataset that torchvision unpacks into class folders.

    Attributes:
        kind: the class in ``torchvision.datasets`` that downloads it.
        base: the folder below the root that holds the class folders (or the folders of ``splits``).
        names: folder -> class name, where it is not the folder with spaces for underscores.
        splits: the train and test folders below ``base``; None if there is no official split (20 %
            of every class is held out with seed 0).
        left_out: folders that are not classes.
    """

    kind: str
    base: str
    names: Mapping[str, str]
    splits: tuple[str, str] | None = None
    left_out: frozenset[str] = frozenset()

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        base = root / self.base
        if download and not base.is_dir():
            from torchvision import datasets

            getattr(datasets, self.kind)(root, download=True)
        if self.splits:
            train_files, test_files = (class_files(base / name) for name in self.splits)
            folders = sorted(train_files)
            train = split_files(root, train_files, folders, settings.max_pixels)
            test = split_files(root, test_files, folders, settings.max_pixels)
        else:
            files = class_files(base)
            folders = sorted(set(files) - self.left_out)
            everything = split_files(root, files, folders, settings.max_pixels)
            train, test = (everything.subset(rows) for rows in hold_out(everything, folders, 0.2))
        names = tuple(self.names.get(folder, readable_name(folder)) for folder in folders)
        note = "no official split: 20 % of every class is held out for testing (seed 0)"
        notes = () if self.splits else (note,)
        return Listing(names, train, test, lambda: digest_files(train, test), notes)


def read_petals(settings: DataSettings, root: Path, download: bool) -> Listing:
    """The embedded world: every image is drawn when it is read. Its domains are the styles.

    Raises:
        ConfigError: an unknown style, or a domain that contradicts it.
    """
    from compress.petals.attributes import STYLES
    from compress.petals.world import SPECIES, SPLITS, render_species

    if settings.style and settings.domain and settings.style != settings.domain:
        raise ConfigError(
            "the style of petals is its domain, and they differ",
            got=f"{settings.style}, {settings.domain}",
            remedy="give data.domain alone",
        )
    style = settings.style or settings.domain or STYLES[0]
    if style not in STYLES:
        raise ConfigError("unknown style of petals", got=repr(style), remedy=nearest(style, STYLES))
    names = tuple(species.name for species in SPECIES)

    def split(name: str, style: str) -> Split:
        each = SPLITS[name]
        labels = np.repeat(np.arange(len(names)), each)
        keys = tuple(
            f"{name}/{style}/{label:02d}/{index:03d}"
            for label in range(len(names))
            for index in range(each)
        )

        def draw(index: int) -> np.ndarray:
            return render_species([index // each], name, [index % each], style)[0]

        return Split(labels, keys, draw, settings.max_pixels)

    # a style's official test split, not all of it: the teacher's own quality gates use the same
    further = further_domains(settings, style, STYLES, "petals")
    others = {other: split("test", other) for other in further}

    def identity() -> str:
        """Digest of one picture of every species, so of what is drawn, not of the drawing code."""
        total = hashlib.sha256("\n".join(names).encode() + str(SPLITS).encode())
        for drawn in (style, *others):
            pictures = render_species(range(len(names)), "test", [0] * len(names), drawn)
            total.update(pictures.tobytes())
        return total.hexdigest()

    return Listing(
        names, split("train", style), split("test", style), identity, domain=style, others=others
    )


def own_domain(settings: DataSettings, known: Sequence[str], of: str) -> str:
    """The domain of the shots and the test split: ``data.domain``, or the first.

    Raises:
        ConfigError: no such domain (names the nearest one).
    """
    if settings.domain is not None:
        _must_be_known([settings.domain], known, of)
    return settings.domain or known[0]


def further_domains(
    settings: DataSettings, own: str, known: Sequence[str], of: str
) -> tuple[str, ...]:
    """The domains of ``data.test_domains`` other than the own one.

    Raises:
        ConfigError: no such domain (names the nearest one).
    """
    given = settings.test_domains
    _must_be_known([name for name in given if name != "all"], known, of)
    return tuple(name for name in known if name != own and ("all" in given or name in given))


def _must_be_known(given: Sequence[str], known: Sequence[str], of: str) -> None:
    for name in given:
        if name not in known:
            remedy = nearest(name, known)
            raise ConfigError(f"unknown domain of {of}", got=repr(name), remedy=remedy)


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
    # loader=Path: nothing is decoded
    items = [data[index] for data in opened for index in range(len(data))]
    paths = [Path(path) for path, _ in items]
    keys = tuple(path.relative_to(root).as_posix() for path in paths)
    labels = np.array([label for _, label in items], np.int64)
    return Split(labels, keys, paths.__getitem__, max_pixels)
