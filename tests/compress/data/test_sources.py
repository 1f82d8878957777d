from __future__ import annotations

import pytest

from compress.data.sources import missing, open_source
from compress.engine.config import DataSettings, Settings
from compress.engine.errors import ConfigError, DataError


def names(*classes: str, **changes) -> DataSettings:
    return DataSettings(dataset=None, classes=classes, shots=0, **changes)


def test_class_names_give_no_images():
    source = open_source(names(" water  lily", "tacos", category="thing"))
    assert source.names == ("water lily", "tacos") and source.classes[0].category == "thing"
    assert len(source.train) == len(source.test) == 0
    assert "no real image is used" in source.notes[0]
    assert source.identity() != open_source(names("tacos", "water lily")).identity()


@pytest.mark.parametrize(
    "classes, message",
    [
        (("rose",), "nothing to tell apart.*got 1 class"),
        ((), "nothing to tell apart.*got 0 class"),
        (("rose", "tulip", "Rose "), "is repeated.*got rose"),
        (("rose", " "), "a class name is empty"),
    ],
)
def test_unusable_class_names(classes, message):
    with pytest.raises(DataError, match=message):
        open_source(names(*classes))


def test_style_is_an_option_of_petals(tmp_path):
    with pytest.raises(ConfigError, match="styles exist only in petals"):
        open_source(names("rose", "tulip", style="sketch"))


def test_folders_and_names_are_never_missing_from_a_network(tmp_path):
    assert missing(Settings(data=names("rose", "tulip")), online=False) is None
    assert missing(Settings(data=DataSettings(dataset=None, path=tmp_path)), online=False) is None
