"""Datasets of several domains: the same classes as photographs, paintings, drawings.

    ROOT/<base>/<domain>/<class>/...       e.g. PACS/art_painting/dog/pic_001.jpg

Their files are placed by hand. Shots and the test split come from one domain (``data.domain``),
every further domain (``data.test_domains``) is a test set as a whole. None of them has an official
split, so 20 % of every class of the own domain is held out with seed 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compress.data.datasets import names
from compress.data.datasets.readers import Listing, digest_files, further_domains, own_domain
from compress.data.folders.source import ClassFiles, class_files, split_files
from compress.data.shots import hold_out
from compress.engine.config import DataSettings
from compress.engine.errors import DataError

HELD_OUT = 0.2  # of every class of the own domain; the datasets state no split, so our choice


@dataclass(frozen=True)
class DomainFolders:
    """A reader of class folders inside domain folders.

    Attributes:
        bases: folders below the root that may hold the domain folders, the usual one first.
        domains: domain -> possible names of its folder, the usual one first.
        names: folder -> class name; every domain must have exactly these folders.
    """

    title: str
    bases: tuple[str, ...]
    domains: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        own = own_domain(settings, tuple(self.domains), self.title)
        others = further_domains(settings, own, tuple(self.domains), self.title)
        folders = sorted(self.names)
        whole = {
            domain: split_files(root, self._files(root, domain), folders, settings.max_pixels)
            for domain in (own, *others)
        }
        train, test = (whole[own].subset(rows) for rows in hold_out(whole[own], folders, HELD_OUT))
        further = {domain: whole[domain] for domain in others}
        names = tuple(self.names[folder] for folder in folders)
        held_out = f"{HELD_OUT:.0%} of every class of {own} is held out"
        notes = (f"no official split: {held_out} for testing (seed 0)",)

        def identity() -> str:
            return digest_files(train, test, *further.values())

        return Listing(names, train, test, identity, notes, own, further)

    @property
    def files(self) -> tuple[str, ...]:
        """An image of every domain, where it usually lies."""
        usual = (folders[0] for folders in self.domains.values())
        return tuple(f"{self.bases[0]}/{name}/{min(self.names)}/*.jpg ..." for name in usual)

    def on_disk(self, root: Path) -> bool:
        """Whether every domain's folder is there, by any of its names; nothing is opened."""
        return all(self._folder(root, domain).is_dir() for domain in self.domains)

    def _folder(self, root: Path, domain: str) -> Path:
        folders = [root / base / name for base in self.bases for name in self.domains[domain]]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    def _files(self, root: Path, domain: str) -> ClassFiles:
        folder = self._folder(root, domain)
        files = class_files(folder)
        if set(files) != set(self.names):
            raise DataError(
                f"{folder} does not hold the classes of {self.title}",
                got=", ".join(sorted(files)[:16]),
                expected=", ".join(sorted(self.names)),
                remedy="one folder with that name per class, directly below the domain",
            )
        return files


PACS = DomainFolders(
    "PACS",
    ("PACS", "PACS/kfold", "kfold"),  # the archive unpacks to kfold/
    {domain: (domain,) for domain in ("photo", "art_painting", "cartoon", "sketch")},
    names.PACS,
)
VLCS = DomainFolders(
    "VLCS",
    ("VLCS",),
    {
        "caltech101": ("Caltech101", "CALTECH"),
        "labelme": ("LabelMe", "LABELME"),
        "sun09": ("SUN09", "SUN"),
        "voc2007": ("VOC2007", "PASCAL"),
    },
    names.VLCS,
)
VISDA = DomainFolders(
    "VisDA-2017",
    ("visda", "visda-2017", "VisDA-2017"),
    {"synthetic": ("train",), "real": ("validation",)},
    names.VISDA,
)
IMAGECLEF = DomainFolders(
    "ImageCLEF-DA",
    ("image_CLEF", "ImageCLEF"),
    {"caltech256": ("c", "C"), "imagenet": ("i", "I"), "pascal": ("p", "P")},
    names.IMAGECLEF,
)
