from __future__ import annotations

import pytest

from compress.data.class_names import (
    class_name,
    first_alike,
    look_alike,
    readable_name,
    refuse_names,
)
from compress.engine.errors import DataError
from runtime.bundle import labels_from_json
from runtime.errors import BundleError


@pytest.mark.parametrize(
    "folder, name",
    [
        ("water_lily", "water lily"),
        ("Blu\u0308te", "Bl\u00fcte"),
        (" a\u00a0 b\u3000c\n", "a b c"),
        ("\ufeffrose\u200b", "rose"),
        ("\u202erose\u202c", "rose"),
        ("\u0645\u06cc\u200c\u062e\u06a9", "\u0645\u06cc\u200c\u062e\u06a9"),  # Persian: a joiner
        ("caf\udce9", "caf\\xe9"),
    ],
)
def test_a_folder_read_as_a_name(folder: str, name: str) -> None:
    assert readable_name(folder) == name == class_name(name)


@pytest.mark.parametrize("other", ["ROSE", "ro\u00adse", "rose\u200d", " rose", "ro\u2060se"])
def test_names_that_look_alike(other: str) -> None:
    assert look_alike(other) == look_alike("rose")
    pair = first_alike({"a": "oak", "b": "rose", "c": other})
    assert pair == ("b", "c") and first_alike({"a": "oak", "b": "rose"}) is None


@pytest.mark.parametrize("name", ["", "a\x07b", "a\0", "\x85", "\ud800", "rose", "a b", "\u200d"])
def test_what_is_refused_is_what_a_bundle_refuses(name: str) -> None:
    def refused(error: type[Exception], check, *given) -> bool:
        try:
            check(*given)
        except error:
            return True
        return False

    early = refused(DataError, refuse_names, {"folder": name}, "list")
    assert early == refused(BundleError, labels_from_json, [name, "other"])
