"""Heads on a frozen ImageNet trunk from few photos: which form of its features, how many views.

    python -m benchmarks.photo_heads --data FLOWERS12 --data CIFAR10 --data ANTBEE    # 20 minutes

The head that a build starts from, ``compress.teacher.discriminant``, of views of each shot: on
features as they are pooled, at length one, as logarithms, and as signed roots
(``distill.power_norm``); then of fewer and of more views (``label.least_views``). A photo of the
training folders that is no shot counts as a test photo; no test folder is read. Every draw of shots
is another one, the same for all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

import runtime
from benchmarks import page
from compress.api import settings_for
from compress.data.augment import ViewRecipe, render_view
from compress.data.geometry import eval_geometry, shot_geometry
from compress.distill.students import SignedRoot
from compress.engine.frozen import FrozenNetwork
from compress.engine.packages import packaged_weights
from compress.engine.seeds import derive, numpy_rng
from compress.papers.statistics import t95
from compress.teacher.artifact import unit
from compress.teacher.discriminant import RIDGE, Views, best_fit, discriminant
from runtime.preprocess.image_files import images_below

ARCH = "tf_efficientnet_lite0"
SHOTS = (1, 2, 4, 8)
VIEWS = 12
COUNTS = (VIEWS, 4, 24, 48, 64)  # of views; gains are over the first
FEW = (1, 2)  # shots of which more views are tried
PER_CLASS = 60  # photos, at most
NORMALIZED = ((0.5,) * 3, (0.5,) * 3)
Features = NDArray[np.float32]
Form = Callable[[Features], Features]
FORMS: dict[str, Form] = {
    "as pooled": lambda rows: rows,
    "length one": unit,
    "log(1 + 8x)": lambda rows: np.log1p(np.float32(8) * np.maximum(rows, 0)),
    "signed root": lambda rows: SignedRoot()(torch.from_numpy(rows)).numpy(),
}


@dataclass(frozen=True)
class Photos:
    """Pooled features of training photos.

    Attributes:
        centers: ``(N, F)``, as a test photo is seen.
        labels: ``(N,)``.
        views: photo, count -> ``(count, F)``, the first views of a photo.
    """

    centers: Features
    labels: NDArray[np.int64]
    views: Callable[[int, int], Features]


def read(data: Path) -> Photos:
    """The photos of a folder's training part; views are computed when they are asked for."""
    settings = settings_for(data=data, shots=1, seed=0, offline=True)
    trunk: Any = timm.create_model(ARCH)
    trunk.load_state_dict(packaged_weights(ARCH), strict=False)
    trunk.reset_classifier(0)
    spec = runtime.PreprocessSpec(
        settings.image.size, settings.image.resize, settings.image.interpolation, *NORMALIZED
    )
    network = FrozenNetwork(trunk.eval(), spec.size)
    recipe = ViewRecipe.from_settings(settings.label, settings.image)
    root = data / "train" if (data / "train").is_dir() else data
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    files = [
        (label, number, file)
        for label, folder in enumerate(folders)
        for number, file in enumerate(images_below(folder)[:PER_CLASS])
    ]

    def seen(pictures: Sequence[NDArray[np.uint8]]) -> Features:
        return network(runtime.normalize(np.stack(pictures), spec))

    centers = [
        seen([np.asarray(runtime.geometry(runtime.decode(file), eval_geometry(settings.image)))])
        for _, _, file in files
    ]
    kept: dict[int, Features] = {}

    def views(photo: int, count: int) -> Features:
        there = kept.get(photo, np.empty((0, centers[0].shape[1]), np.float32))
        if len(there) < count:
            label, number, file = files[photo]
            shot = np.asarray(runtime.geometry(runtime.decode(file), shot_geometry(settings.image)))
            wanted = range(len(there), count)
            seeds = [derive(0, "photo heads", label, number, view) for view in wanted]
            new = seen([render_view(shot, recipe, seed) for seed in seeds])
            kept[photo] = np.concatenate([there, new])
        return kept[photo][:count]

    labels = np.array([label for label, _, _ in files])
    return Photos(np.concatenate(centers), labels, views)


def accuracy(photos: Photos, shots: NDArray[np.int64], views: int, form: Form) -> float:
    """Of the head of some photos' views on the centers of all others."""
    seen = form(np.concatenate([photos.views(int(shot), views) for shot in shots]))
    center = seen.mean(axis=0)
    length = np.linalg.norm(seen - center, axis=1).mean()
    images = np.repeat(np.arange(len(shots)), views)
    classes = int(photos.labels.max()) + 1
    inside = Views((seen - center) / length, photos.labels[shots][images], images, classes)
    fit = best_fit(inside)
    head = discriminant(inside, ridge=fit.ridge if fit else RIDGE)
    others = np.setdiff1d(np.arange(len(photos.labels)), shots)
    answers = ((form(photos.centers[others]) - center) @ head.T).argmax(axis=1)
    return float((answers == photos.labels[others]).mean())


def draws(labels: NDArray[np.int64], shots: int, count: int) -> Iterator[NDArray[np.int64]]:
    """Several draws of ``shots`` photos of each class."""
    for number in range(count):
        order = numpy_rng(0, "photo heads", shots, number).permutation(len(labels))
        yield np.concatenate(
            [order[labels[order] == label][:shots] for label in range(int(labels.max()) + 1)]
        )


def forms(photos: Photos, count: int) -> str:
    """The table of forms of features: accuracy in %, gains over those as they are pooled."""
    columns = {name: (VIEWS, form) for name, form in FORMS.items()}
    return table(photos, count, SHOTS, columns)


def numbers_of_views(photos: Photos, count: int) -> str:
    """The table of numbers of views, of signed roots."""
    columns = {f"{views} views": (views, FORMS["signed root"]) for views in COUNTS}
    return table(photos, count, FEW, columns)


def table(
    photos: Photos, count: int, shots: Sequence[int], columns: Mapping[str, tuple[int, Form]]
) -> str:
    """Accuracy in %, and the gain over the first column with its 95 % interval."""
    lines = []
    for each in shots:
        drawn = list(draws(photos.labels, each, count))
        first, *others = (
            100 * np.array([accuracy(photos, one, *how) for one in drawn])
            for how in columns.values()
        )
        width = t95(count) / np.sqrt(count)
        gains = [
            f"{other.mean():.1f} ({(other - first).mean():+.1f} ± "
            f"{width * (other - first).std(ddof=1):.1f})"
            for other in others
        ]
        lines.append((each, f"{first.mean():.1f}", *gains))
    return page.table(f"shots | {' | '.join(columns)}", lines)


def main() -> None:
    """Measures and writes the page."""
    parser = page.options("photo_heads", __doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--draws", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(2)
    shown = " ".join(f"--data {data.name}" for data in args.data)
    parts = [
        "# Heads of few photos on a frozen trunk\n",
        f"    python -m benchmarks.photo_heads {shown} --draws {args.draws}\n",
        f"Top-1 in % of the head that a build starts from, on training photos that are no shots, "
        f"at most {PER_CLASS} of a class;\n{ARCH} with its ImageNet weights. Means of "
        f"{args.draws} draws of shots, in brackets the gain over the\nfirst column with its 95 % "
        f"interval over draws. The first table of a set has {VIEWS} views of each shot, the\n"
        "second signed roots.\n",
    ]
    for data in args.data:
        photos = read(data.resolve())
        counts = f"{len(photos.labels)} photos of {int(photos.labels.max()) + 1} classes"
        parts += [f"## {data.name}\n", f"{counts}.\n", forms(photos, args.draws) + "\n"]
        parts += [numbers_of_views(photos, args.draws) + "\n"]
    parts.append(f"Commit {page.commit()}; {page.cpu()}, {page.library_versions()}.\n")
    page.write(args.out, "\n".join(parts))


if __name__ == "__main__":
    main()
