"""Heads on a frozen ImageNet trunk from few photos: what its pooled features should look like.

    python -m benchmarks.photo_heads --data FLOWERS12 --data CIFAR10 --data ANTBEE    # 2 minutes

The head that a build starts from, ``compress.teacher.discriminant``, of the center and four views
of each shot, on features as they are pooled, at length one, as logarithms, and as signed roots
(``distill.power_norm``). A photo of the training folders that is no shot counts as a test photo; no
test folder is read. Every draw of shots is another one, the same for all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
VIEWS = 4
PER_CLASS = 60  # photos, at most
NORMALIZED = ((0.5,) * 3, (0.5,) * 3)
Features = NDArray[np.float32]
FORMS: dict[str, Callable[[Features], Features]] = {
    "as pooled": lambda rows: rows,
    "length one": unit,
    "log(1 + 8x)": lambda rows: np.log1p(np.float32(8) * np.maximum(rows, 0)),
    "signed root": lambda rows: SignedRoot()(torch.from_numpy(rows)).numpy(),
}


def features(data: Path) -> tuple[Features, NDArray[np.int64]]:
    """Pooled features ``(N, 1 + VIEWS, F)`` of training photos, the center first, and classes."""
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
    rows, labels = [], []
    for label, folder in enumerate(folders):
        for number, file in enumerate(images_below(folder)[:PER_CLASS]):
            image = runtime.decode(file)
            shot = np.asarray(runtime.geometry(image, shot_geometry(settings.image)))
            center = runtime.geometry(image, eval_geometry(settings.image))
            seeds = [derive(0, "photo heads", label, number, view) for view in range(VIEWS)]
            views = [render_view(shot, recipe, seed) for seed in seeds]
            rows.append(network(runtime.normalize(np.stack([center, *views]), spec)))
            labels.append(label)
    return np.stack(rows), np.array(labels)


def accuracy(rows: Features, labels: NDArray[np.int64], shots: NDArray[np.int64]) -> float:
    """Of the head of some photos on the centers of all others; ``rows (N, 1 + VIEWS, F)``."""
    seen = rows[shots].reshape(-1, rows.shape[2])
    center = seen.mean(axis=0)
    length = np.linalg.norm(seen - center, axis=1).mean()
    each = rows.shape[1]
    images = np.repeat(np.arange(len(shots)), each)
    views = Views((seen - center) / length, labels[shots][images], images, int(labels.max()) + 1)
    fit = best_fit(views)
    head = discriminant(views, ridge=fit.ridge if fit else RIDGE)
    others = np.setdiff1d(np.arange(len(labels)), shots)
    answers = ((rows[others, 0] - center) @ head.T).argmax(axis=1)
    return float((answers == labels[others]).mean())


def draws(labels: NDArray[np.int64], shots: int, count: int) -> Iterator[NDArray[np.int64]]:
    """Several draws of ``shots`` photos of each class."""
    for number in range(count):
        order = numpy_rng(0, "photo heads", shots, number).permutation(len(labels))
        yield np.concatenate(
            [order[labels[order] == label][:shots] for label in range(int(labels.max()) + 1)]
        )


def table(rows: Features, labels: NDArray[np.int64], count: int) -> str:
    """Accuracy in %, and the gain over features as they are pooled with its 95 % interval."""
    lines = []
    formed = {name: form(rows) for name, form in FORMS.items()}
    for shots in SHOTS:
        drawn = list(draws(labels, shots, count))
        found = {
            name: 100 * np.array([accuracy(each, labels, one) for one in drawn])
            for name, each in formed.items()
        }
        plain, *others = found.values()
        width = t95(count) / np.sqrt(count)
        gains = [
            f"{other.mean():.1f} ({(other - plain).mean():+.1f} ± "
            f"{width * (other - plain).std(ddof=1):.1f})"
            for other in others
        ]
        lines.append((shots, f"{plain.mean():.1f}", *gains))
    return page.table(f"shots | {' | '.join(FORMS)}", lines)


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
        f"{args.draws} draws of shots, in brackets the gain over features as\nthey are pooled with "
        "its 95 % interval over draws.\n",
    ]
    for data in args.data:
        rows, labels = features(data.resolve())
        counts = f"{len(labels)} photos of {int(labels.max()) + 1} classes"
        parts += [f"## {data.name}\n", f"{counts}.\n", table(rows, labels, args.draws) + "\n"]
    parts.append(f"Commit {page.commit()}; {page.cpu()}, {page.library_versions()}.\n")
    page.write(args.out, "\n".join(parts))


if __name__ == "__main__":
    main()
