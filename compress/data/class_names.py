"""Class names: one form of Unicode, nothing invisible, and only what a bundle takes.

A name typed on a Mac has its accents as characters of their own (NFD), elsewhere they are part of
the letter (NFC): to a reader, and here, they are one name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from compress.engine.errors import DataError
from runtime.bundle import label_fault
from runtime.files.paths import line

# Zero width, direction marks, soft hyphen, byte order mark, fillers that look like a space. Joiners
# stay: they change how Persian, Hindi and emojis look.
INVISIBLE = dict.fromkeys(
    map(
        ord,
        "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062"
        "\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\u2800\u3164"
        "\ufeff\uffa0",
    )
)
JOINERS = dict.fromkeys(map(ord, "\u034f\u200c\u200d\ufe0e\ufe0f"))


def one_form(text: str) -> str:
    """A text with its letters composed (NFC), in which equal names are equal."""
    return unicodedata.normalize("NFC", text)


def class_name(text: str) -> str:
    """A name as it is shown: composed letters (NFC), single spaces, no invisible character."""
    name = " ".join(one_form(text.translate(INVISIBLE)).split())
    return name if name.translate(JOINERS) else ""


def readable_name(folder: str) -> str:
    """A folder name as words: ``"water_lily"`` -> ``"water lily"``."""
    return class_name(printable(folder).replace("_", " "))


def look_alike(name: str) -> str:
    """Equal for names that differ only in case, joiners, spaces or the form of Unicode."""
    return one_form(class_name(name).translate(JOINERS).casefold())


def printable(text: str) -> str:
    """A file name with escapes for whatever is not valid UTF-8, so that JSON can hold it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def refuse_names(names: Mapping[str, str], of: object) -> None:
    """Raises DataError for names that a bundle refuses; ``names``: what was given -> the name."""
    for given, name in names.items():
        if expected := label_fault(name):
            what = f"{of} gives a class name that no bundle can hold"
            got = ascii(given) + ("" if name == given else f", read as {ascii(name)}")
            raise DataError(what, got=got, expected=expected, remedy="rename it")


def first_alike(names: Mapping[str, str]) -> tuple[str, str] | None:
    """The first two given texts whose names look alike; ``names`` as in ``refuse_names``."""
    seen: dict[str, str] = {}
    for given, name in names.items():
        other = seen.setdefault(look_alike(name), given)
        if other != given:
            return other, given
    return None


def shown(*names: str) -> str:
    """Names beside each other, with their characters spelled out if they look the same."""
    plain = line(", ".join(names))
    return plain if plain.isascii() else f"{plain} ({', '.join(map(ascii, names))})"
