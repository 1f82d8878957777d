"""The bundle: what ships. Nothing of it is used before its manifest, its sizes and its hashes are
verified.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import SHOWN, BundleError
from runtime.files.manifest import (
    GOLDEN,
    LABELS,
    MANIFEST,
    MAX_FILE_BYTES,
    PREPROCESS,
    SCHEMA,
    SUBFOLDER,
    read_manifest,
)
from runtime.files.regular import COPY_AGAIN, open_regular
from runtime.files.strict_json import parse_json, read_json
from runtime.preprocess import PreprocessSpec

__all__ = [
    "GOLDEN",
    "INPUT",
    "LABELS",
    "MANIFEST",
    "PREPROCESS",
    "SCHEMA",
    "TWINS",
    "TWIN_INPUT",
    "Bundle",
    "Label",
    "check_file",
    "labels_from_json",
    "open_bundle",
    "parse_json",
    "read_json",
    "sha256_of",
]

INPUT, TWIN_INPUT = (
    "images",
    "pixel_values",
)  # of our own files; of their copies for Hugging Face's loaders

# Model key -> its copy under the name that optimum and transformers.js look for.
TWINS = {
    "fp32": f"{SUBFOLDER}model.onnx",
    "fp16": f"{SUBFOLDER}model_fp16.onnx",
    "int8": f"{SUBFOLDER}model_quantized.onnx",
}


@dataclass(frozen=True)
class Label:
    """One class: the name shown, the prompt that the teacher saw, other names."""

    name: str
    prompt: str | None = None
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have been checked against its manifest."""

    path: Path
    manifest: Mapping[str, Any]
    labels: tuple[Label, ...]
    preprocess: PreprocessSpec

    @property
    def default(self) -> str:
        """The precision that the build found best on its target."""
        return str(self.manifest["default"])

    @property
    def models(self) -> dict[str, Path]:
        """Precision -> model file."""
        return {name: self.path / file for name, file in self.manifest["models"].items()}

    @property
    def targets(self) -> dict[str, Mapping[str, Any]]:
        """Export target -> its row: "file", "state" ("verified" or "unverified"), "why",
        "parity".
        """
        return dict(self.manifest.get("targets", {}))

    @property
    def twins(self) -> dict[str, Path]:
        """Precision -> the copy of its model that Hugging Face's loaders read (input
        "pixel_values").
        """
        return {
            name: self.path / file for name, file in TWINS.items() if file in self.manifest["files"]
        }

    def model(self, precision: str) -> Path:
        """The model file of ``precision``, which may be an export target; "auto" is the bundle's
        default.

        Raises:
            BundleError: no such model in the bundle.
        """
        name = self.default if precision == "auto" else precision
        files = {
            **{key: self.path / row["file"] for key, row in self.targets.items()},
            **self.models,
        }
        if name not in files:
            raise BundleError(
                f"no {name} model in {self.path}", got=name, expected=", ".join(["auto", *files])
            )
        return files[name]


def open_bundle(path: str | Path, verify: bool = True) -> Bundle:
    """The bundle in folder ``path``, after every file's size and (``verify``) SHA-256 were compared
    with the manifest.

    Raises:
        BundleError: missing, damaged, unsafe or of a future schema; the message names the file.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    for name, want in manifest["files"].items():
        check_file(folder, name, want, verify)
    return Bundle(
        path=folder,
        manifest=manifest,
        labels=labels_from_json(read_json(folder / LABELS), folder / LABELS),
        preprocess=PreprocessSpec.from_json(read_json(folder / PREPROCESS)),
    )


def check_file(folder: Path, name: str, want: Mapping[str, Any], verify: bool = True) -> None:
    """Compares one file with its manifest entry.

    Raises:
        BundleError: absent, a link to outside the bundle, or another size or SHA-256.
    """
    file = folder / name
    if not file.is_file():
        raise BundleError(
            f"{file} is missing", expected=f"a file of {want['bytes']:,} bytes", remedy=COPY_AGAIN
        )
    _require_inside(folder, file)
    size = file.stat().st_size
    if size != want["bytes"]:
        raise BundleError(
            f"{file} has changed",
            got=f"{size:,} bytes",
            expected=f"{want['bytes']:,} bytes",
            remedy=COPY_AGAIN,
        )
    if verify:
        digest = sha256_of(file)
        if digest != want["sha256"]:
            raise BundleError(
                f"{file} has changed",
                got=f"sha256 {digest}",
                expected=want["sha256"],
                remedy=COPY_AGAIN,
            )


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file.

    Raises:
        BundleError: not a regular file, or larger than any file of a bundle.
    """
    digest = hashlib.sha256()
    with open_regular(file, MAX_FILE_BYTES) as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _require_inside(folder: Path, file: Path) -> None:
    try:
        outside = not file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        outside = True
    if outside:
        raise BundleError(
            f"{file} is a link that leaves the bundle",
            expected="a file inside it",
            remedy="copy the bundle with its links followed (cp -rL), or download it with "
            "local_dir=",
        )


def labels_from_json(rows: object, name: object = LABELS) -> tuple[Label, ...]:
    """Labels in index order from a list of names or of ``{"name", "prompt", "synonyms"}``; further
    keys are ignored.

    Raises:
        BundleError: not such a list, an empty name or a repeated one.
    """
    if not isinstance(rows, list) or not rows:
        raise BundleError(
            f"{name} holds no labels", got=type(rows).__name__, expected="a list, one row per class"
        )
    labels = tuple(_label(index, row, name) for index, row in enumerate(rows))
    names = [label.name for label in labels]
    repeated = sorted(text for text, count in Counter(names).items() if count > 1)
    if repeated:
        raise BundleError(
            f"{name} repeats a label", got=repr(repeated[:5])[:SHOWN], expected="distinct names"
        )
    return labels


def _label(index: int, row: object, name: object) -> Label:
    fields: Any = {"name": row} if isinstance(row, str) else row
    if (
        not isinstance(fields, dict)
        or not isinstance(fields.get("name"), str)
        or not fields["name"]
    ):
        raise BundleError(
            f"{name} row {index}",
            got=repr(row)[:SHOWN],
            expected='a name, or an object with "name"',
        )
    prompt, synonyms = fields.get("prompt"), fields.get("synonyms") or ()
    is_list = isinstance(synonyms, (list, tuple)) and all(
        isinstance(text, str) for text in synonyms
    )
    if not isinstance(prompt, (str, type(None))) or not is_list:
        raise BundleError(
            f"{name} row {index}",
            got=repr(row)[:SHOWN],
            expected='text in "prompt", a list of text in "synonyms"',
        )
    if fields.get("index", index) != index:
        raise BundleError(
            f"{name} row {index} is out of order", got=repr(fields["index"])[:SHOWN], expected=index
        )
    if any(
        unicodedata.category(char) == "Cc" for char in fields["name"]
    ):  # labels.txt has a line per name
        shown = repr(fields["name"])[:SHOWN]
        raise BundleError(
            f"{name} row {index}",
            got=shown,
            expected="a name without control characters or line breaks",
        )
    return Label(fields["name"], prompt, tuple(synonyms))
