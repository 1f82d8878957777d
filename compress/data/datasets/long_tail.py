"""Imbalanced training sets: a dataset whose classes have fewer and fewer images.

Class k of K keeps ``factor ** (-k / (K - 1))`` of its images, at least one: the first all, the last
one ``factor``-th, as in the long-tailed CIFAR of Cui et al. (CVPR 2019, arXiv 1901.05555). Tests
stay as they are, balanced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.data.datasets.readers import Listing, Reader
from compress.data.shots import class_orders
from compress.engine.config import DataSettings


@dataclass(frozen=True)
class LongTail:
    """A reader of what another one reads, with a long tail.

    Attributes:
        factor: images of the first class to those of the last.
    """

    whole: Reader
    factor: float = 100.0

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        listing = self.whole(settings, root, download)
        orders = class_orders(listing.train, listing.names, 0, "long tail")
        last = max(1, len(orders) - 1)
        kept = [
            order[: max(1, round(len(order) * self.factor ** (-k / last)))]
            for k, order in enumerate(orders)
        ]
        train = listing.train.subset(np.sort(np.concatenate(kept)))
        note = f"the first class has {len(kept[0])} training images, the last {len(kept[-1])}"
        identity: Callable[[], str] = listing.identity
        return replace(
            listing,
            train=train,
            identity=lambda: f"{identity()} tail {self.factor:g} {len(train)}",
            notes=(*listing.notes, note),
        )
