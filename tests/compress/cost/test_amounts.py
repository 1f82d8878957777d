"""Classes and images that are known before the data stage, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

from image_folders import image_folder

from compress.api import settings_for
from compress.cost.amounts import UNKNOWN_CLASSES, UNKNOWN_SHOTS, known_amounts
from compress.engine.config import Settings
from compress.engine.store import Store

SMOKE = settings_for("petals", shots=1, preset="smoke")


def test_a_folder_is_listed_and_a_dataset_that_is_not_here_is_in_the_catalog(
    tmp_path: Path,
) -> None:
    folder = image_folder(tmp_path / "photos")
    here = known_amounts(settings_for(data=folder, shots=1, preset="smoke"))
    assert here.classes and here.shots == here.classes and here.tests
    away = known_amounts(Settings.model_validate({"data": {"dataset": "flowers", "shots": 2}}))
    assert (away.classes, away.shots, away.tests, away.notes) == (102, 204, None, ())
    whole = known_amounts(Settings.model_validate({"data": {"dataset": "flowers", "shots": "all"}}))
    assert whole.notes == (UNKNOWN_SHOTS,) and whole.classes == 102
    names = {"dataset": None, "classes": ("rose", "tulip", "lily"), "shots": 0}
    assert known_amounts(Settings.model_validate({"data": names})).classes == 3


def test_a_folder_that_cannot_be_read_gives_figures_of_one_class(tmp_path: Path) -> None:
    lost = {"dataset": None, "path": str(tmp_path / "nowhere"), "shots": 4}
    found = known_amounts(Settings.model_validate({"data": lost}))
    assert found.per_class and (found.classes, found.shots) == (1, 4)
    assert found.notes == (UNKNOWN_CLASSES,)


def test_amounts_are_known_before_the_data_stage(smoke_work: Path) -> None:
    (finished,) = Store(smoke_work / "store").stages("data")
    assert known_amounts(SMOKE) == known_amounts(SMOKE, finished.facts)
