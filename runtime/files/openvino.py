"""Checks an OpenVINO IR (.xml, and the weights in a .bin beside it) before the engine may open it.

The format is OpenVINO's "Operation Sets in OpenVINO" (IR version 10 and 11): layers with a type and
an operation set, edges, and constants as ranges of the .bin file. A document type, which could
define entities without end, operators of an extension, and those that repeat or draw at random are
refused, and constants outside the .bin file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.parsers import expat

from runtime.errors import BundleError
from runtime.files.manifest import MAX_FILE_BYTES, companion
from runtime.files.regular import COPY_AGAIN, open_regular, read_regular

SUFFIX = ".xml"
MAX_XML_BYTES = 64 * 2**20  # a network of ours has less than one
MAX_ELEMENTS = 1_000_000
MAX_DEPTH = 64
VERSIONS = ("10", "11")
STANDARD = re.compile(r"opset\d{1,2}")
# End when they choose, keep what they saw, or answer otherwise each time.
_ENDLESS = "TensorIterator Loop If Assign ReadValue RandomUniform Multinomial"
UNBOUNDED = frozenset(_ENDLESS.split())
NUMBER = re.compile(r"\d{1,18}")


def weights(path: Path) -> Path:
    """The file of a model's weights."""
    return path.with_name(companion(path.name) or "")


def check(path: Path) -> None:
    """Raises a BundleError if a file is no IR, or asks for what a network of ours never needs."""
    text = read_regular(path, MAX_XML_BYTES)
    with open_regular(weights(path), MAX_FILE_BYTES) as stream:
        stream.seek(0, 2)
        walk = _Walk(path, stream.tell())
    parser = expat.ParserCreate()
    parser.StartElementHandler = walk.start
    parser.EndElementHandler = walk.end
    parser.StartDoctypeDeclHandler = walk.doctype
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # an encoding, too
        raise walk.wrong(error) from error
    if not walk.layers:
        raise walk.wrong("no layers")


class _Walk:
    """One pass over the elements of a document."""

    def __init__(self, path: Path, weights_bytes: int) -> None:
        self.path = path
        self.weights_bytes = weights_bytes
        self.depth = 0
        self.elements = 0
        self.layers = 0
        self.layer = ""  # the type of the layer that is read

    def wrong(self, got: object) -> BundleError:
        what = f"{self.path} is not an OpenVINO model"
        return BundleError(what, got=str(got)[:300], remedy=COPY_AGAIN)

    def unsafe(self, got: str) -> BundleError:
        what = f"{self.path} asks for code outside the engine, or for any time or memory"
        return BundleError(what, got=got[:300], expected="standard operators, and no loops")

    def doctype(self, *about: object) -> None:
        raise self.unsafe("a document type, which may define entities")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        if self.depth > MAX_DEPTH or self.elements > MAX_ELEMENTS:
            raise self.unsafe(f"{self.elements} elements, {self.depth} deep")
        if self.depth == 1 and (name != "net" or attributes.get("version") not in VERSIONS):
            raise self.wrong(f"<{name} version={attributes.get('version')!r}>")
        if name == "layer":
            self.layers += 1
            self.layer = attributes.get("type", "")
            standard = STANDARD.fullmatch(attributes.get("version", ""))
            if standard is None or self.layer in UNBOUNDED:
                raise self.unsafe(f"{self.layer} of {attributes.get('version', 'no version')}")
        elif name == "data" and self.layer == "Const":
            self._constant(attributes)

    def end(self, name: str) -> None:
        self.depth -= 1
        self.layer = "" if name == "layer" else self.layer

    def _constant(self, attributes: dict[str, Any]) -> None:
        given = [attributes.get(key, "") for key in ("offset", "size")]
        if not all(map(NUMBER.fullmatch, given)) or sum(map(int, given)) > self.weights_bytes:
            got = f"a constant at {given[0][:20]!r} of {given[1][:20]!r} bytes"
            raise self.wrong(f"{got}, and {self.weights_bytes:,} bytes of weights")
