"""The named datasets, one row each. To add one: a row, and class names in ``names.py``."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compress.data.class_names import readable_name
from compress.data.datasets import names
from compress.data.datasets.domains import IMAGECLEF, PACS, VISDA, VLCS, DomainFolders
from compress.data.datasets.imagenet import PARTS, ImageNet
from compress.data.datasets.long_tail import LongTail
from compress.data.datasets.readers import (
    ClassFolders,
    ImageArrays,
    ImageFiles,
    Listing,
    Petals,
    Reader,
)
from compress.data.split import ClassInfo, Source
from compress.engine.config import DataSettings
from compress.engine.errors import (
    Clip2EdgeError,
    ConfigError,
    DownloadError,
    MissingExtraError,
    nearest,
)
from compress.engine.text import user_path
from compress.petals.attributes import STYLES
from compress.petals.world import ONE_A_GENUS

DOWNLOAD_TIMEOUT_S = 20.0  # a server that is silent for longer counts as unreachable
RESEARCH = "not stated (research use)"
AS_IMAGENET = "as ImageNet (non-commercial research)"


@dataclass(frozen=True)
class NamedDataset:
    """One row.

    Attributes:
        classes: number of classes K.
        category: what kind of thing the classes are, for "a photo of a rose, a type of flower."
        license: of the images, as far as their authors state it.
        home: where its files can be downloaded by hand.
        files: the files below the datasets folder; "..." after one stands for a folder of them.
        prompt: stands for a class in a prompt; ``{}`` is its name.
        downloadable: whether torchvision can still fetch it.
        domains: of ``data.domain`` and ``data.test_domains``; the first is the default.
        styled: whether ``data.style`` names its domain too.
        complete: whether it is on disk, for layouts with variants; default: all ``files`` exist.
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
    styled: bool = False
    complete: Callable[[Path], bool] | None = None

    def on_disk(self, root: Path) -> bool:
        """Whether all its files are there; opens none."""
        if self.complete is not None:
            return self.complete(root)
        paths = ((root / file).parent if "..." in file else root / file for file in self.files)
        return all(path.exists() for path in paths)

    def by_hand(self, root: Path) -> str:
        """Where its files can be downloaded and where each goes."""
        return f"from {self.home}: {', '.join(str(root / file) for file in self.files)}"


def _below(folder: str, *files: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{file}" for file in files)


def _several_domains(reader: DomainFolders, home: str) -> NamedDataset:
    return NamedDataset(
        reader.title,
        len(reader.names),
        None,
        RESEARCH,
        home,
        reader.files,
        reader,
        downloadable=False,
        domains=tuple(reader.domains),
        complete=reader.on_disk,
    )


def _imagenet(part: int = 0) -> NamedDataset:
    return NamedDataset(
        f"ImageNet-1k, part {part} of {PARTS}" if part else "ImageNet-1k",
        1000 // PARTS if part else 1000,
        None,
        "non-commercial research, to be agreed to",
        "https://www.image-net.org/ (ILSVRC 2012)",
        _below("imagenet", "train/n01440764/*.JPEG ...", "val/n01440764/*.JPEG ..."),
        ImageNet(part),
        downloadable=False,
    )


def _cifar100(kind: str, reader: Callable[[ImageArrays], Reader]) -> NamedDataset:
    splits = ({"train": True}, {"train": False})
    return NamedDataset(
        f"CIFAR-100{kind}",
        100,
        None,
        RESEARCH,
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        _below("cifar-100-python", "train", "test", "meta"),
        reader(ImageArrays("CIFAR100", names.CIFAR100, splits, "targets")),
    )


CATALOG: dict[str, NamedDataset] = {
    "petals": NamedDataset(
        "petals, the miniature world drawn by this package",
        32,
        "flower",
        "Apache-2.0",
        "",
        (),
        Petals(),
        domains=STYLES,
        styled=True,
    ),
    "petals8": NamedDataset(
        "petals, one species of each genus",
        len(ONE_A_GENUS),
        "flower",
        "Apache-2.0",
        "",
        (),
        Petals(ONE_A_GENUS),
        domains=STYLES,
        styled=True,
    ),
    "petals-lt": NamedDataset(
        "petals with a long tail: fewer and fewer images of each species",
        32,
        "flower",
        "Apache-2.0",
        "",
        (),
        LongTail(Petals(), 16),
        domains=STYLES,
        styled=True,
    ),
    "flowers": NamedDataset(
        "Oxford Flowers-102",
        102,
        "flower",
        RESEARCH,
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        _below("flowers-102", "jpg/image_00001.jpg ...", "imagelabels.mat", "setid.mat"),
        ImageFiles("Flowers102", lambda name: names.FLOWERS.get(name, name), ("train", "val")),
    ),
    "cars": NamedDataset(
        "Stanford Cars",
        196,
        "car",
        "not stated (non-commercial research)",
        "a mirror, since the original https://ai.stanford.edu/~jkrause/cars/car_dataset.html "
        "is gone",
        _below(
            "stanford_cars",
            "cars_train/00001.jpg ...",
            "cars_test/00001.jpg ...",
            "devkit/cars_meta.mat",
            "devkit/cars_train_annos.mat",
            "cars_test_annos_withlabels.mat",
        ),
        ImageFiles("StanfordCars", str),
        downloadable=False,
    ),
    "food": NamedDataset(
        "Food-101",
        101,
        "food",
        RESEARCH,
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        _below("food-101", "images/apple_pie/134.jpg ...", "meta/train.json", "meta/test.json"),
        ImageFiles("Food101", readable_name),
    ),
    "stl10": NamedDataset(
        "STL-10",
        10,
        None,
        AS_IMAGENET,
        "https://cs.stanford.edu/~acoates/stl10/",
        tuple(
            f"stl10_binary/{part}.bin"
            for part in ("train_X", "train_y", "unlabeled_X", "test_X", "test_y")
        ),
        ImageArrays("STL10", names.STL10, ({"split": "train"}, {"split": "test"}), "labels"),
    ),
    "svhn": NamedDataset(
        "Street View House Numbers",
        10,
        None,
        "non-commercial use only",
        "http://ufldl.stanford.edu/housenumbers/",
        ("train_32x32.mat", "test_32x32.mat"),
        ImageArrays("SVHN", names.SVHN, ({"split": "train"}, {"split": "test"}), "labels"),
        prompt='number "{}"',
    ),
    "imagenette": NamedDataset(
        "Imagenette",
        10,
        None,
        AS_IMAGENET,
        "https://github.com/fastai/imagenette",
        ("imagenette2/train/n01440764/*.JPEG ...", "imagenette2/val/n01440764/*.JPEG ..."),
        ClassFolders("Imagenette", "imagenette2", names.IMAGENETTE, splits=("train", "val")),
    ),
    "eurosat": NamedDataset(
        "EuroSAT (RGB)",
        10,
        None,
        "MIT",
        "https://github.com/phelber/eurosat",
        ("eurosat/2750/AnnualCrop/AnnualCrop_1.jpg ...",),
        ClassFolders("EuroSAT", "eurosat/2750", names.EUROSAT),
        prompt="satellite view of {}",
    ),
    "caltech101": NamedDataset(
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
            None,
            ("BACKGROUND_Google",),
        ),
    ),
    "cifar10": NamedDataset(
        "CIFAR-10",
        10,
        None,
        RESEARCH,
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        (
            *(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
            *_below("cifar-10-batches-py", "test_batch", "batches.meta"),
        ),
        ImageArrays("CIFAR10", names.CIFAR10, ({"train": True}, {"train": False}), "targets"),
    ),
    "cifar100": _cifar100("", lambda reader: reader),
    "cifar100-lt": _cifar100(" with a long tail", LongTail),
    "imagenet": _imagenet(),
    **{f"imagenet-{part}": _imagenet(part) for part in range(1, PARTS + 1)},
    "pacs": _several_domains(PACS, "https://dali-dl.github.io/project_iccv2017.html"),
    "vlcs": _several_domains(
        VLCS, "https://github.com/facebookresearch/DomainBed (its download script)"
    ),
    "visda": _several_domains(VISDA, "https://github.com/VisionLearningGroup/taskcv-2017-public"),
    "imageclef": _several_domains(IMAGECLEF, "https://www.imageclef.org/2014/adaptation"),
}


def dataset(name: str) -> NamedDataset:
    """The row of a dataset; ConfigError, with the nearest name, without one."""
    if name not in CATALOG:
        remedy = f"{nearest(name, CATALOG)}; your own images: --data DIR"
        raise ConfigError("unknown dataset", got=repr(name), remedy=remedy)
    return CATALOG[name]


def root_of(settings: DataSettings) -> Path:
    """Where named datasets lie: ``data.root``, else ``datasets`` in the work folder."""
    work = user_path(os.environ.get("CLIP2EDGE_WORK") or "work")
    return settings.root or work / "datasets"


def missing_dataset(settings: DataSettings, reachable: bool) -> str | None:
    """What a person must place by hand before the dataset can be opened; opens nothing itself."""
    assert settings.dataset is not None
    row = dataset(settings.dataset)
    root = root_of(settings)
    if row.on_disk(root) or (reachable and row.downloadable and not settings.offline):
        return None
    return f"{row.title}: {row.by_hand(root)}"


def open_dataset(settings: DataSettings) -> Source:
    """The named dataset, downloaded if it is not on disk and ``settings.offline`` is false.

    Raises:
        ConfigError: no such dataset or domain, or an option that it does not have.
        DownloadError: it is not on disk and could not be downloaded.
        MissingExtraError: torchvision or scipy is not installed.
    """
    name = settings.dataset
    assert name is not None
    row = refuse_options(settings)
    try:
        listing = _read(row, settings)
    except ImportError as error:
        remedy = "pip install 'clip2edge[build]'"
        raise MissingExtraError(f"dataset {name!r} needs {error.name}", remedy=remedy) from error
    category = settings.category or row.category
    synonyms = listing.synonyms or ((),) * len(listing.names)
    classes = tuple(
        ClassInfo(text, row.prompt.format(text), category, words)
        for text, words in zip(listing.names, synonyms, strict=True)
    )
    return Source(
        name,
        classes,
        listing.train,
        listing.test,
        lambda: {name: listing.identity()},
        row.license,
        listing.notes,
        listing.domain,
        listing.others,
    )


def refuse_options(settings: DataSettings) -> NamedDataset:
    """The row of the named dataset; ConfigError for an unknown one or options it does not have."""
    row = dataset(str(settings.dataset))
    if not row.styled:
        refuse_style(settings)
    if not row.domains:
        refuse_domains(settings, row.title)
    return row


def refuse_style(settings: DataSettings) -> None:
    """Raises ConfigError where ``data.style`` is given for a source without styles."""
    if settings.style is not None:
        styled = ", ".join(name for name, row in CATALOG.items() if row.styled)
        raise ConfigError(f"styles exist only in {styled}", got=f"style={settings.style}")


def refuse_domains(settings: DataSettings, of: str) -> None:
    """Raises ConfigError where domains are given for a source with a single one."""
    given = [f"data.{name}" for name in ("domain", "test_domains") if getattr(settings, name)]
    if given:
        several = ", ".join(name for name, row in CATALOG.items() if row.domains)
        remedy = f"leave them out; datasets with several: {several}"
        raise ConfigError(f"{of} has a single domain", got=", ".join(given), remedy=remedy)


def _read(row: NamedDataset, settings: DataSettings) -> Listing:
    """Reads from disk, else downloads; any failure of files or servers is one DownloadError."""
    root = root_of(settings)
    attempts = [False, True] if row.downloadable and not settings.offline else [False]
    timeout = socket.getdefaulttimeout()
    for download in attempts:
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
        try:
            return row.read(settings, root, download)
        except (Clip2EdgeError, ImportError):
            raise
        except Exception as error:  # torchvision has no error of its own for damaged files
            lines = str(error).strip().splitlines() or ["no reason given"]
            reason = f"{type(error).__name__}: {lines[0]}"
        finally:
            socket.setdefaulttimeout(timeout)
    raise DownloadError(
        f"{row.title} can be neither read nor downloaded",
        got=reason,
        expected=f"by hand, {row.by_hand(root)}",
        remedy="without a network: compress build --dataset petals, or --data DIR",
    )
