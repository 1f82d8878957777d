"""Equal images, used or not: each makes an accuracy mean less than it says, or a label is wrong.

Two images are equal if their pixels are, in the geometry of the test images: the student then sees
the same. So copies under another name, in another format or without their metadata are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from compress.data.artifact import SHOTS

TRAIN = "train"  # the set of training images that are no shots
EXAMPLES = 3  # named in a note; duplicates.json has them all

Group = Sequence[Mapping[str, str]]


@dataclass
class Duplicates:
    """Collects images by the digest of their pixels."""

    seen: dict[bytes, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, image_set: str, key: str, name: str, digest: bytes) -> None:
        """Adds an image of a class to a set: ``shots``, ``train``, ``test`` or ``test_<domain>``.

        ``train``: it is for training, and was not drawn.
        """
        self.seen.setdefault(digest, []).append({"set": image_set, "key": key, "class": name})

    @property
    def groups(self) -> list[list[dict[str, str]]]:
        """The images that are equal, in the order of their first ones."""
        return [group for group in self.seen.values() if len(group) > 1]

    @property
    def pairs_in_both(self) -> list[str]:
        """ "shot = test image" of every group with both, by their keys."""
        pairs = []
        for group in filter(_in_shots_and_tests, self.groups):
            shot = next(row["key"] for row in group if row["set"] == SHOTS)
            test = next(row["key"] for row in group if row["set"] not in (SHOTS, TRAIN))
            pairs.append(f"{shot} = {test}")
        return pairs

    @property
    def notes(self) -> list[str]:
        """A sentence for each kind that was found."""
        found = {kind: [group for group in self.groups if kind.holds(group)] for kind in KINDS}
        return [
            f"the same image {kind.says} ({len(groups)} found), e.g. {_examples(groups)}"
            for kind, groups in found.items()
            if groups
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many groups of each kind there are; a group may be of two kinds."""
        return {kind.name: sum(map(kind.holds, self.groups)) for kind in KINDS}


def _in_two_classes(group: Group) -> bool:
    return len({row["class"] for row in group}) > 1


def _in_shots_and_tests(group: Group) -> bool:
    sets = {row["set"] for row in group}
    return SHOTS in sets and bool(sets - {SHOTS, TRAIN})


@dataclass(frozen=True)
class Kind:
    """What equal images spoil, and which groups of them do."""

    name: str
    says: str
    holds: Callable[[Group], bool]


KINDS = (
    Kind(
        "shots_and_tests",
        "is a shot and a test image, so that accuracy is overstated",
        _in_shots_and_tests,
    ),
    Kind(
        "two_classes", "stands in two classes, so that one of its labels is wrong", _in_two_classes
    ),
    Kind(
        "repeated",
        "stands more than once",
        lambda group: not _in_two_classes(group) and not _in_shots_and_tests(group),
    ),
)


def _examples(groups: Sequence[Group]) -> str:
    return "; ".join(" = ".join(row["key"] for row in group[:3]) for group in groups[:EXAMPLES])
