"""The bundle: what ships. Nothing of it is used before its manifest, its sizes and its hashes are verified.

manifest.json::

    {"schema": 1, "default": "int8", "models": {"int8": "model.int8.onnx", ...},
     "files": {"model.int8.onnx": {"bytes": 2712345, "sha256": "..."}, ...}}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BundleError
from runtime.preprocess import PreprocessSpec

SCHEMA = 1
MANIFEST, LABELS, PREPROCESS, GOLDEN = "manifest.json", "labels.json", "preprocess.json", "golden.npz"
REQUIRED = (LABELS, PREPROCESS)
MAX_JSON_BYTES = 16 * 2**20  # labels.json of 22 000 classes is about 3 MB
MAX_FILES = 256
SUFFIXES = (".onnx", ".json", ".txt", ".npz", ".md", ".svg", ".png")  # data only: no pickle, library, engine or script
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # no folder, drive, hidden file or '..' can be written so
COPY_AGAIN = "copy the bundle again, or rebuild it"


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

    def model(self, precision: str) -> Path:
        """The model file of ``precision``; "auto" is the bundle's default.

        Raises:
            BundleError: no such model in the bundle.
        """
        name = self.default if precision == "auto" else precision
        if name not in self.models:
            raise BundleError(f"no {name} model in {self.path}", got=name, expected=", ".join(["auto", *self.models]))
        return self.models[name]


def open_bundle(path: str | Path, verify: bool = True) -> Bundle:
    """The bundle in folder ``path``, after every file's size and (``verify``) SHA-256 were compared with the manifest.

    Raises:
        BundleError: missing, damaged, unsafe or of a future schema; the message names the file.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
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
        BundleError: absent, or another size or SHA-256.
    """
    file = folder / name
    if not file.is_file():
        raise BundleError(f"{file} is missing", expected=f"a file of {want['bytes']:,} bytes", remedy=COPY_AGAIN)
    size = file.stat().st_size
    if size != want["bytes"]:
        raise BundleError(
            f"{file} has changed", got=f"{size:,} bytes", expected=f"{want['bytes']:,} bytes", remedy=COPY_AGAIN
        )
    if verify:
        digest = sha256_of(file)
        if digest != want["sha256"]:
            raise BundleError(f"{file} has changed", got=f"sha256 {digest}", expected=want["sha256"], remedy=COPY_AGAIN)


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read_json(file: Path) -> Any:
    """Strict JSON: limited in size, no repeated keys, no NaN.

    Raises:
        BundleError: absent, too large or not JSON.
    """
    try:
        size = file.stat().st_size
        if size > MAX_JSON_BYTES:
            raise BundleError(f"{file} is too large", got=f"{size:,} bytes", expected=f"at most {MAX_JSON_BYTES:,}")
        return parse_json(file.read_bytes(), file)
    except OSError as error:
        raise BundleError(f"cannot read {file}", got=error.strerror or error, remedy=COPY_AGAIN) from error


def parse_json(text: bytes | str, name: object) -> Any:
    """``read_json`` for text that is already in memory; ``name`` is for the message."""
    if len(text) > MAX_JSON_BYTES:
        raise BundleError(f"{name} is too large", got=f"{len(text):,} bytes", expected=f"at most {MAX_JSON_BYTES:,}")
    try:
        return json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constants)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} is not valid JSON", got=error, remedy=COPY_AGAIN) from error


def labels_from_json(rows: object, name: object = LABELS) -> tuple[Label, ...]:
    """Labels in index order from a list of names or of ``{"name", "prompt", "synonyms"}``; further keys are ignored.

    Raises:
        BundleError: not such a list, an empty name or a repeated one.
    """
    if not isinstance(rows, list) or not rows:
        raise BundleError(f"{name} holds no labels", got=type(rows).__name__, expected="a list, one row per class")
    labels = tuple(_label(index, row, name) for index, row in enumerate(rows))
    names = [label.name for label in labels]
    repeated = sorted({text for text in names if names.count(text) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise BundleError(f"{name} repeats a label", got=repeated[:5], expected="distinct names")
    return labels


def _label(index: int, row: object, name: object) -> Label:
    fields: Any = {"name": row} if isinstance(row, str) else row
    if not isinstance(fields, dict) or not isinstance(fields.get("name"), str) or not fields["name"]:
        raise BundleError(f"{name} row {index}", got=row, expected='a name, or an object with "name"')
    prompt, synonyms = fields.get("prompt"), fields.get("synonyms") or ()
    is_list = isinstance(synonyms, (list, tuple)) and all(isinstance(text, str) for text in synonyms)
    if not isinstance(prompt, (str, type(None))) or not is_list:
        raise BundleError(f"{name} row {index}", got=row, expected='text in "prompt", a list of text in "synonyms"')
    if fields.get("index", index) != index:
        raise BundleError(f"{name} row {index} is out of order", got=fields["index"], expected=index)
    return Label(fields["name"], prompt, tuple(synonyms))


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file():
        raise BundleError(f"{folder} is not a bundle", got=f"no {MANIFEST}", remedy="compress build makes one")
    manifest = read_json(file)
    if not isinstance(manifest, dict):
        raise BundleError(f"{file} is not a manifest", got=type(manifest).__name__, expected="an object")
    schema = manifest.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise BundleError(f"{file} has no schema version", got=repr(schema), expected=SCHEMA)
    if schema > SCHEMA:
        raise BundleError(
            f"{folder} was made by a newer clip2edge",
            got=f"schema {schema}",
            expected=f"at most {SCHEMA}",
            remedy="pip install --upgrade clip2edge",
        )
    for problem in _manifest_problems(manifest):
        raise BundleError(f"{file} is not usable", got=problem, remedy=COPY_AGAIN)
    return manifest


def _manifest_problems(manifest: dict[str, Any]) -> Iterator[str]:
    files, models = manifest.get("files"), manifest.get("models")
    if not isinstance(files, dict) or not isinstance(models, dict) or not models:
        yield "no table of files or of models"
        return
    if len(files) > MAX_FILES:
        yield f"{len(files)} files, at most {MAX_FILES} are accepted"
    for name, want in files.items():
        if not SAFE_NAME.fullmatch(name) or not name.endswith(SUFFIXES) or name == MANIFEST:
            yield f"file name {name!r}, expected a plain name that ends in {', '.join(SUFFIXES)}"
        elif not isinstance(want, dict) or not _is_size(want.get("bytes")) or not _is_sha256(want.get("sha256")):
            yield f"entry {name!r} without bytes and sha256"
    for name in REQUIRED:
        if name not in files:
            yield f"{name} is not listed"
    for precision, name in models.items():
        if not isinstance(name, str) or not name.endswith(".onnx") or name not in files:
            yield f"model {precision!r} is {name!r}, which is not a listed .onnx file"
    if manifest.get("default") not in models:
        yield f"default {manifest.get('default')!r} is not one of {', '.join(models)}"


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key is repeated")
    return result


def _no_constants(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
