"""Datasets of several domains: the same classes as photographs, paintings, drawings; laid out by
hand.

    ROOT/<base>/<domain>/<class>/...       e.g. PACS/art_painting/dog/pic_001.jpg

Shots and the test split come from one domain (``data.domain``), every further domain
(``data.test_domains``) is a test set as a whole. None of them has an official split, so 20 % of
every class of the own domain is held out with seed 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compress.data import names
from compress.data.folders import ClassFiles, class_files, split_files
from compress.data.readers import Images, digest_files, further_domains, own_domain
from compress.data.shots import hold_out
from compress.engine.config import DataSettings
from compress.engine.errors import DataError

HELD_OUT = 0.2  # of every class of the own domain; the datasets state no split [I]


@dataclass(frozen=True)
class DomainFolders:
    """A reader of class folders inside domain folders.

    Attributes:
        title: what error messages call it.
        bases: folders below the root that may hold the domain folders, the usual one first.
        domains: domain -> the names its folder goes by, the usual one first; the first domain is
            the default.
        names: folder -> class name; every domain must have exactly these folders.
    """

    title: str
    bases: tuple[str, ...]
    domains: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Images:
        own = own_domain(settings, tuple(self.domains), self.title)
        others = further_domains(settings, own, tuple(self.domains), self.title)
        folders = sorted(self.names)
        whole = {
            domain: split_files(root, self._files(root, domain), folders, settings.max_pixels)
            for domain in (own, *others)
        }
        train_rows, test_rows = hold_out(whole[own], folders, HELD_OUT, seed=0)
        train, test = whole[own].subset(train_rows), whole[own].subset(test_rows)
        tested = {domain: whole[domain] for domain in others}
        note = (
            f"no official split: {HELD_OUT:.0%} of every class of {own} is held out for "
            "testing (seed 0)"
        )
        return Images(
            tuple(self.names[folder] for folder in folders),
            train,
            test,
            lambda: digest_files(train, test, *tested.values()),
            (note,),
            own,
            tested,
        )

    @property
    def files(self) -> tuple[str, ...]:
        """An image of every domain, where it usually lies."""
        example = min(self.names)
        return tuple(
            f"{self.bases[0]}/{folders[0]}/{example}/*.jpg ..." for folders in self.domains.values()
        )

    def on_disk(self, root: Path) -> bool:
        """Whether every domain's folder is there, by any of its names; nothing is opened."""
        return all(self._folder(root, domain).is_dir() for domain in self.domains)

    def _folder(self, root: Path, domain: str) -> Path:
        places = [root / base / folder for base in self.bases for folder in self.domains[domain]]
        return next((place for place in places if place.is_dir()), places[0])

    def _files(self, root: Path, domain: str) -> ClassFiles:
        folder = self._folder(root, domain)
        found = class_files(folder)
        if set(found) != set(self.names):
            raise DataError(
                f"{folder} does not hold the classes of {self.title}",
                got=", ".join(sorted(found)[:16]),
                expected=", ".join(sorted(self.names)),
                remedy="one folder a class, named so, directly below the domain",
            )
        return found


PACS = DomainFolders(
    "PACS",
    ("PACS", "PACS/kfold", "kfold"),  # the archive unpacks to kfold/
    {
        "photo": ("photo",),
        "art_painting": ("art_painting",),
        "cartoon": ("cartoon",),
        "sketch": ("sketch",),
    },
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
