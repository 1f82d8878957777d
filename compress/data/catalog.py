"""The named datasets, one row each. To add one: a row, and names in ``names.py`` if its files do
not tell them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compress.data import names
from compress.data.domains import IMAGECLEF, PACS, VISDA, VLCS, DomainFolders
from compress.data.folders import readable_name
from compress.data.readers import ClassFolders, ImageArrays, ImageFiles, Images, Reader, read_petals
from compress.data.split import ClassInfo, Source
from compress.engine.config import DataSettings
from compress.engine.errors import (
    Clip2EdgeError,
    ConfigError,
    DownloadError,
    MissingExtraError,
    nearest,
)
from compress.petals.attributes import STYLES

DOWNLOAD_TIMEOUT_S = 20.0  # a server that is silent for longer counts as unreachable


@dataclass(frozen=True)
class Dataset:
    """One row.

    Attributes:
        title: what it is called in full.
        classes: number of classes K.
        category: what kind of thing the classes are, for prompts such as "a photo of a rose, a type
            of flower."
        license: of the images, as far as their authors state it.
        home: where its files can be had by hand.
        files: what must lie below the datasets folder.
        read: lists its images.
        prompt: what stands for a class in a prompt; ``{}`` is its name.
        downloadable: whether torchvision can still fetch it.
        domains: what ``data.domain`` and ``data.test_domains`` may name; the first is the default.
        there: whether it is on disk, for layouts with variants; default: every file of ``files``
            is.
    """

    title: str
    classes: int
    category: str | None
    license: str
    home: str
    files: tuple[str, ...]
    read: Reader
    prompt: str = "{}"
    downloadable: bool = True
    domains: tuple[str, ...] = ()
    there: Callable[[Path], bool] | None = None

    def on_disk(self, root: Path) -> bool:
        """Whether every file of ``files`` is there ("..." stands for a folder of them); nothing is
        opened.
        """
        if self.there is not None:
            return self.there(root)
        paths = (
            (root / file).parent if file.endswith(" ...") else root / file for file in self.files
        )
        return all(path.exists() for path in paths)

    def by_hand(self, root: Path) -> str:
        """Where its files can be had and where each goes."""
        return f"from {self.home}: {', '.join(str(root / file) for file in self.files)}"


def _several_domains(reader: DomainFolders, license: str, home: str) -> Dataset:
    return Dataset(
        reader.title,
        len(reader.names),
        None,
        license,
        home,
        reader.files,
        reader,
        downloadable=False,
        domains=tuple(reader.domains),
        there=reader.on_disk,
    )


CATALOG: dict[str, Dataset] = {
    "petals": Dataset(
        "petals, the miniature world drawn by this package",
        32,
        "flower",
        "Apache-2.0",
        "",
        (),
        read_petals,
        domains=STYLES,
    ),
    "flowers": Dataset(
        "Oxford Flowers-102",
        102,
        "flower",
        "not stated (research use)",
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        (
            "flowers-102/jpg/image_00001.jpg ...",
            "flowers-102/imagelabels.mat",
            "flowers-102/setid.mat",
        ),
        ImageFiles(
            "Flowers102",
            lambda data: [names.FLOWERS.get(name, name) for name in data.classes],
            train=("train", "val"),
        ),
    ),
    "cars": Dataset(
        "Stanford Cars",
        196,
        "car",
        "not stated (non-commercial research)",
        "a mirror, since the original https://ai.stanford.edu/~jkrause/cars/car_dataset.html "
        "is gone",
        (
            "stanford_cars/cars_train/00001.jpg ...",
            "stanford_cars/cars_test/00001.jpg ...",
            "stanford_cars/devkit/cars_meta.mat",
            "stanford_cars/devkit/cars_train_annos.mat",
            "stanford_cars/cars_test_annos_withlabels.mat",
        ),
        ImageFiles("StanfordCars", lambda data: [str(name) for name in data.classes]),
        downloadable=False,
    ),
    "food": Dataset(
        "Food-101",
        101,
        "food",
        "not stated (research use)",
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        (
            "food-101/images/apple_pie/134.jpg ...",
            "food-101/meta/train.json",
            "food-101/meta/test.json",
        ),
        ImageFiles("Food101", lambda data: [readable_name(folder) for folder in data.classes]),
    ),
    "stl10": Dataset(
        "STL-10",
        10,
        None,
        "as ImageNet (non-commercial research)",
        "https://cs.stanford.edu/~acoates/stl10/",
        tuple(
            f"stl10_binary/{name}"
            for name in (
                "train_X.bin",
                "train_y.bin",
                "unlabeled_X.bin",
                "test_X.bin",
                "test_y.bin",
            )
        ),
        ImageArrays("STL10", names.STL10, ({"split": "train"}, {"split": "test"}), "labels"),
    ),
    "svhn": Dataset(
        "Street View House Numbers",
        10,
        None,
        "non-commercial use only",
        "http://ufldl.stanford.edu/housenumbers/",
        ("train_32x32.mat", "test_32x32.mat"),
        ImageArrays("SVHN", names.SVHN, ({"split": "train"}, {"split": "test"}), "labels"),
        prompt='number "{}"',
    ),
    "imagenette": Dataset(
        "Imagenette",
        10,
        None,
        "as ImageNet (non-commercial research)",
        "https://github.com/fastai/imagenette",
        ("imagenette2/train/n01440764/*.JPEG ...", "imagenette2/val/n01440764/*.JPEG ..."),
        ClassFolders("Imagenette", "imagenette2", names.IMAGENETTE, splits=("train", "val")),
    ),
    "eurosat": Dataset(
        "EuroSAT (RGB)",
        10,
        None,
        "MIT",
        "https://github.com/phelber/eurosat",
        ("eurosat/2750/AnnualCrop/AnnualCrop_1.jpg ...",),
        ClassFolders("EuroSAT", "eurosat/2750", names.EUROSAT),
        prompt="satellite view of {}",
    ),
    "caltech101": Dataset(
        "Caltech-101",
        101,
        None,
        "CC BY 4.0",
        "https://data.caltech.edu/records/mzrjq-6wc02",
        ("caltech101/101_ObjectCategories/accordion/image_0001.jpg ...",),
        ClassFolders(
            "Caltech101",
            "caltech101/101_ObjectCategories",
            names.CALTECH101,
            left_out=frozenset({"BACKGROUND_Google"}),
        ),
    ),
    "cifar10": Dataset(
        "CIFAR-10",
        10,
        None,
        "not stated (research use)",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        tuple(
            f"cifar-10-batches-py/{name}"
            for name in (
                "data_batch_1",
                "data_batch_2",
                "data_batch_3",
                "data_batch_4",
                "data_batch_5",
                "test_batch",
                "batches.meta",
            )
        ),
        ImageArrays("CIFAR10", names.CIFAR10, ({"train": True}, {"train": False}), "targets"),
    ),
    "pacs": _several_domains(
        PACS, "not stated (research use)", "https://dali-dl.github.io/project_iccv2017.html"
    ),
    "vlcs": _several_domains(
        VLCS,
        "not stated (research use)",
        "https://github.com/facebookresearch/DomainBed (its download script)",
    ),
    "visda": _several_domains(
        VISDA,
        "not stated (research use)",
        "https://github.com/VisionLearningGroup/taskcv-2017-public",
    ),
    "imageclef": _several_domains(
        IMAGECLEF, "not stated (research use)", "https://www.imageclef.org/2014/adaptation"
    ),
}


def dataset(name: str) -> Dataset:
    """The row of a dataset.

    Raises:
        ConfigError: no such dataset (names the nearest one).
    """
    if name not in CATALOG:
        remedy = f"{nearest(name, CATALOG)}; your own images: --data DIR"
        raise ConfigError("unknown dataset", got=repr(name), remedy=remedy)
    return CATALOG[name]


def default_root() -> Path:
    """Where named datasets lie if the settings do not say: ``datasets`` in the work folder."""
    return Path(os.environ.get("CLIP2EDGE_WORK") or "work") / "datasets"


def root_of(settings: DataSettings) -> Path:
    """The folder that the named dataset is looked for in."""
    return (settings.root or default_root()).expanduser()


def missing_dataset(settings: DataSettings, reachable: bool) -> str | None:
    """What a person must place by hand before the dataset can be opened; None if nothing. Cheap:
    looks, opens nothing.

    Raises:
        ConfigError: no such dataset.
    """
    assert settings.dataset is not None
    row, root = dataset(settings.dataset), root_of(settings)
    if row.on_disk(root) or (reachable and row.downloadable and not settings.offline):
        return None
    return f"{row.title}: {row.by_hand(root)}"


def open_dataset(settings: DataSettings) -> Source:
    """The named dataset, downloaded if it is not on disk and ``settings.offline`` is false.

    Raises:
        ConfigError: no such dataset or domain.
        DownloadError: it is not on disk and could not be downloaded.
        MissingExtraError: torchvision or scipy is not installed.
    """
    assert settings.dataset is not None
    row, root = dataset(settings.dataset), root_of(settings)
    if not row.domains:
        refuse_domains(settings, row.title)
    try:
        images = _read(row, settings, root)
    except ImportError as error:
        raise MissingExtraError(
            f"dataset {settings.dataset!r} needs {error.name}",
            remedy="pip install 'clip2edge[build]'",
        ) from error
    category = settings.category or row.category
    classes = tuple(ClassInfo(name, row.prompt.format(name), category) for name in images.names)

    def identity() -> dict[str, str]:
        return {str(settings.dataset): images.identity()}

    return Source(
        settings.dataset,
        classes,
        images.train,
        images.test,
        identity,
        row.license,
        images.notes,
        images.domain,
        images.others,
    )


def refuse_domains(settings: DataSettings, of: str) -> None:
    """Domains cannot be named where there is only one.

    Raises:
        ConfigError: ``data.domain`` or ``data.test_domains`` is given.
    """
    given = [f"data.{name}" for name in ("domain", "test_domains") if getattr(settings, name)]
    if given:
        several = ", ".join(name for name, row in CATALOG.items() if row.domains)
        raise ConfigError(
            f"{of} has a single domain",
            got=", ".join(given),
            expected=f"one of the datasets with several: {several}",
            remedy="leave them out",
        )


def _read(row: Dataset, settings: DataSettings, root: Path) -> Images:
    try:
        return row.read(settings, root, False)
    except (Clip2EdgeError, ImportError):
        raise
    except (
        Exception
    ) as error:  # torchvision has no error of its own for what is not there or damaged
        reason = _first_line(error)
    if row.downloadable and not settings.offline:
        try:
            with _timeout(DOWNLOAD_TIMEOUT_S):
                return row.read(settings, root, True)
        except (Clip2EdgeError, ImportError):
            raise
        except Exception as error:  # whatever a server, an archive or a disk can do to a download
            reason = _first_line(error)
    raise DownloadError(
        f"{row.title} could not be had",
        got=reason,
        expected=f"by hand, {row.by_hand(root)}",
        remedy="without a network: compress build --dataset petals, or your own images with "
        "--data DIR",
    )


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _first_line(error: Exception) -> str:
    return (
        f"{type(error).__name__}: "
        f"{str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
    )
