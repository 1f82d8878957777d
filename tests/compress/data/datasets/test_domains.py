"""Datasets of several domains: where shots come from, what is tested, and that the two never
meet.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from image_folders import domain_folders, encoded, image_folder

from compress.data import stage
from compress.data.artifact import DataArtifact
from compress.data.datasets.catalog import CATALOG
from compress.data.datasets.domains import IMAGECLEF, PACS, VISDA, VLCS
from compress.data.datasets.names import PACS as PACS_CLASSES
from compress.data.geometry import eval_geometry
from compress.data.sources import missing, open_source
from compress.data.stage import refuse_leaks, run
from compress.engine.config import DataSettings, Settings, resolve
from compress.engine.errors import ConfigError, DataError, DownloadError
from compress.engine.stage import StageContext
from compress.petals.attributes import STYLES
from runtime.preprocess import decode, geometry

READERS = {"pacs": PACS, "vlcs": VLCS, "visda": VISDA, "imageclef": IMAGECLEF}


def named(name, root, **changes) -> DataSettings:
    return DataSettings(dataset=name, root=root, **{"offline": True, "shots": 1, **changes})


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    domain_folders(root / "PACS", ("photo", "art_painting", "cartoon", "sketch"), PACS_CLASSES)
    return root


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("variant", ["first", "last"])
def test_every_layout_and_its_variant_is_read(tmp_path, name, variant):
    """The usual folder names, and the last of the others that a layout is known by."""
    reader, at = READERS[name], 0 if variant == "first" else -1
    folders = tuple(aliases[at] for aliases in reader.domains.values())
    assert missing(Settings(data=named(name, tmp_path)), online=True), "nothing downloads it"
    domain_folders(tmp_path / reader.bases[at], folders, reader.names)
    assert missing(Settings(data=named(name, tmp_path)), online=False) is None
    source = open_source(named(name, tmp_path, test_domains=("all",)))
    first, *others = reader.domains
    assert (source.domain, list(source.others)) == (first, others) and CATALOG[
        name
    ].domains == tuple(reader.domains)
    assert source.names == tuple(reader.names[folder] for folder in sorted(reader.names))
    assert len(source.names) == CATALOG[name].classes == len(set(source.names))
    assert np.bincount(source.test.labels).tolist() == [1] * len(source.names), "20 % of five"
    assert all(
        np.bincount(split.labels).tolist() == [5] * len(source.names)
        for split in source.others.values()
    )
    assert source.train.keys[0].startswith(f"{reader.bases[at]}/{folders[0]}/")


def test_no_shot_is_in_any_test_set(pacs):
    for own in PACS.domains:
        source = open_source(named("pacs", pacs, domain=own, test_domains=("all",)))
        sets = [source.train, source.test, *source.others.values()]
        keys = [key for split in sets for key in split.keys]
        assert len(keys) == len(set(keys)) == 4 * 7 * 5, "all four domains, every image once"
        assert all(f"/{own}/" in key for key in (*source.train.keys, *source.test.keys))
        assert not any(f"/{own}/" in key for split in source.others.values() for key in split.keys)
        assert source.test.keys == open_source(named("pacs", pacs, domain=own)).test.keys, (
            "whatever else is tested"
        )


def test_asked_for_domains_and_no_other(pacs):
    asked = named("pacs", pacs, domain="sketch", test_domains=("photo", "sketch", "photo"))
    assert list(open_source(asked).others) == ["photo"], "the own one is the test split already"
    assert open_source(named("pacs", pacs)).others == {}
    assert (
        open_source(asked).identity()
        != open_source(named("pacs", pacs, domain="sketch")).identity()
    )


def test_the_identity_follows_a_tested_domain(tmp_path):
    domain_folders(
        tmp_path / "PACS", ("photo", "art_painting", "cartoon", "sketch"), PACS_CLASSES, count=2
    )
    with_sketch, plain = named("pacs", tmp_path, test_domains=("sketch",)), named("pacs", tmp_path)
    before = open_source(with_sketch).identity(), open_source(plain).identity()
    (tmp_path / "PACS" / "sketch" / "dog" / "000.jpg").write_bytes(encoded(1, size=(90, 90)))
    assert (
        open_source(with_sketch).identity() != before[0]
        and open_source(plain).identity() == before[1]
    )


@pytest.mark.parametrize("wrong", [{"domain": "skech"}, {"test_domains": ("photo", "skech")}])
@pytest.mark.parametrize("name", ["pacs", "petals"])
def test_an_unknown_domain_names_the_nearest(pacs, name, wrong):
    with pytest.raises(
        ConfigError,
        match="unknown (domain|style) of (PACS|petals).*got 'skech'.*did you mean 'sketch'",
    ):
        open_source(named(name, pacs, **wrong))


@pytest.mark.parametrize("option", [{"domain": "sketch"}, {"test_domains": ("all",)}])
def test_domains_where_there_is_one_are_refused(tmp_path, option):
    folder = image_folder(tmp_path / "images")
    sources = (
        DataSettings(dataset=None, path=folder, **option),
        DataSettings(dataset=None, classes=("rose", "tulip"), shots=0, **option),
        named("flowers", tmp_path, **option),
    )
    for settings in sources:
        with pytest.raises(
            ConfigError, match=f"single domain.*data.{next(iter(option))}.*pacs, vlcs"
        ):
            open_source(settings)


def test_other_classes_than_the_datasets_are_an_error(tmp_path):
    domain_folders(
        tmp_path / "PACS", ("photo", "art_painting", "cartoon", "sketch"), PACS_CLASSES, count=2
    )
    (tmp_path / "PACS" / "sketch" / "dog").rename(tmp_path / "PACS" / "sketch" / "dogs")
    assert open_source(named("pacs", tmp_path)).names, (
        "a domain that is not asked for is not looked at"
    )
    with pytest.raises(
        DataError, match="sketch does not hold the classes of PACS.*got dogs.*expected dog"
    ):
        open_source(named("pacs", tmp_path, test_domains=("sketch",)))


def test_a_domain_that_is_not_on_disk_says_where_it_goes(tmp_path):
    domain_folders(tmp_path / "PACS", ("photo",), PACS_CLASSES, count=2)
    with pytest.raises(DownloadError, match="PACS can be neither .*by hand.*PACS/sketch/dog"):
        open_source(named("pacs", tmp_path, test_domains=("sketch",)))


def test_the_styles_of_petals_are_its_domains():
    source = open_source(named("petals", None, test_domains=("all",)))
    assert (source.domain, tuple(source.others)) == (STYLES[0], STYLES[1:])
    assert {len(split) for split in source.others.values()} == {len(source.test)}
    night = open_source(named("petals", None, domain="night", test_domains=("photo",)))
    assert night.domain == "night" and np.array_equal(
        night.others["photo"].image(3), source.test.image(3)
    )
    assert night.test.keys == open_source(named("petals", None, style="night")).test.keys
    with pytest.raises(ConfigError, match=r"style of petals is its domain.*night, photo"):
        open_source(named("petals", None, style="night", domain="photo"))


def stage_of(pacs, folder, **data):
    folder.mkdir()
    chosen = resolve(
        {"image": {"size": 16}, "data": {"dataset": "pacs", "root": pacs, "shots": 2, **data}}
    )
    return run(StageContext(chosen, {}, folder)), chosen


def test_the_stage_writes_a_test_set_of_every_domain(pacs, tmp_path):
    facts, chosen = stage_of(
        pacs, tmp_path / "out", domain="cartoon", test_domains=["sketch", "photo"]
    )
    assert facts["domain"] == "cartoon" and facts["domains"] == {"photo": 35, "sketch": 35}
    assert facts["test_images"] == 7 and any(
        "20% of every class of cartoon" in note for note in facts["notes"]
    )
    data = DataArtifact(tmp_path / "out")
    sketch = data.images("test_sketch")
    assert sketch.pixels.shape == (35, 16, 16, 3) and set(sketch.labels) == set(range(7))
    expected = geometry(decode(pacs / sketch.keys[9]), eval_geometry(chosen.image))
    assert np.array_equal(sketch.pixels[9], expected)
    for name in ("test", "test_photo", "test_sketch"):
        assert not set(data.shots.keys) & set(data.images(name).keys)
    assert not (tmp_path / "out/test_art_painting.npy").exists()


def test_the_limit_holds_for_every_test_set(pacs, tmp_path):
    facts, _ = stage_of(pacs, tmp_path / "out", test_domains=["all"], test_limit=7)
    assert set(facts["domains"].values()) == {7} and facts["test_images"] == 7


def test_a_leak_is_an_error(pacs, tmp_path, monkeypatch):
    """A reader that lists a shot as a test image of another domain does not get through the
    stage.
    """
    refuse_leaks(["a", "b"], ["c"], "test")
    honest = stage.open_source

    def leaking(settings):
        source = honest(settings)
        return dataclasses.replace(source, others={"sketch": source.train})

    monkeypatch.setattr(stage, "open_source", leaking)
    with pytest.raises(
        DataError, match="14 images are shots and in test_sketch too.*got PACS/photo/"
    ):
        stage_of(pacs, tmp_path / "out", test_domains=["sketch"])


def test_all_shots_are_the_training_part_of_the_domain(pacs, tmp_path):
    facts, _ = stage_of(pacs, tmp_path / "out", shots="all", domain="sketch")
    assert (facts["shots"], facts["train_images"], facts["test_images"]) == ("all", 28, 7)
