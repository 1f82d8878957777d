"""The bundle: what ships. Its manifest, sizes and hashes are verified before anything is used."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.errors import SHOWN, BundleError
from runtime.files.manifest import (
    GOLDEN,
    LABELS,
    MANIFEST,
    MAX_FILE_BYTES,
    PREPROCESS,
    REQUIRED,
    SCHEMA,
    SUBFOLDER,
    companion,
    read_manifest,
)
from runtime.files.paths import bundle_path
from runtime.files.regular import COPY_AGAIN, open_regular
from runtime.files.strict_json import parse_json, read_json
from runtime.preprocess import PreprocessSpec

__all__ = ["FEATURES", "GOLDEN", "INPUT", "LABELS", "MANIFEST", "PREPROCESS", "SCHEMA", "TWINS"]
__all__ += ["TWIN_INPUT", "Bundle", "Label", "check_file", "label_fault", "labels_from_json"]
__all__ += ["open_bundle", "parse_json", "read_json", "sha256_of"]

INPUT = "images"  # of our models
FEATURES = "features"  # their output beside the logits: unit rows (B, D); files of before lack it
TWIN_INPUT = "pixel_values"  # of their copies for Hugging Face's loaders
TWINS = {  # model key -> its copy under the name that optimum and transformers.js expect
    "fp32": f"{SUBFOLDER}model.onnx",
    "fp16": f"{SUBFOLDER}model_fp16.onnx",
    "int8": f"{SUBFOLDER}model_quantized.onnx",
}


@dataclass(frozen=True)
class Label:
    """One class."""

    name: str
    prompt: str | None = None  # what the teacher read
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files agree with its manifest."""

    path: Path
    manifest: Mapping[str, Any]
    labels: tuple[Label, ...]
    preprocess: PreprocessSpec
    absent: frozenset[str] = frozenset()  # listed files that are not there, see open_bundle
    stamps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # file -> as verified

    def __repr__(self) -> str:
        models = ", ".join(self.models)
        return f"Bundle({str(self.path)!r}, {len(self.labels)} labels, {models}; {self.default})"

    @property
    def default(self) -> str:
        """The precision that the build chose for its target."""
        return str(self.manifest["default"])

    @property
    def models(self) -> dict[str, Path]:
        """Precision -> model file."""
        return {name: self.path / file for name, file in self.manifest["models"].items()}

    @property
    def targets(self) -> dict[str, Mapping[str, Any]]:
        """Export target -> "file", "state" ("verified" or "unverified"), "why", "parity"."""
        return dict(self.manifest.get("targets", {}))

    @property
    def target_files(self) -> dict[str, Path]:
        """Export target -> its file."""
        return {name: self.path / row["file"] for name, row in self.targets.items()}

    @property
    def twins(self) -> dict[str, Path]:
        """Precision -> the copy of its model for Hugging Face's loaders (input "pixel_values")."""
        listed = self.manifest["files"]
        return {name: self.path / file for name, file in TWINS.items() if file in listed}

    def model(self, precision: str) -> Path:
        """The file of a model or export target; "auto" is the bundle's default.

        Raises: BundleError: no such model in the bundle, or its file is absent.
        """
        name = self.default if precision == "auto" else precision
        files = {**self.target_files, **self.models}
        if name not in files:
            expected = ", ".join(["auto", *files])
            raise BundleError(f"no {name} model in {self.path}", got=name, expected=expected)
        if gone := [file for file in self.parts(files[name]) if self.is_absent(file)]:
            there = [key for key, file in files.items() if not self.is_absent(file)]
            remedy = f"copy it from where the bundle was built, or load {' or '.join(there)}"
            raise BundleError(f"{gone[0]} is missing", remedy=remedy if there else COPY_AGAIN)
        return files[name]

    def parts(self, model: Path) -> tuple[Path, ...]:
        """The files of a model: its own, and that of its weights if they lie in another."""
        second = companion(model.name)
        return (model, model.with_name(second)) if second else (model,)

    def digest(self, model: Path) -> str:
        """SHA-256 of a model by the manifest; of one in two files, of both digests."""
        names = [part.relative_to(self.path).as_posix() for part in self.parts(model)]
        digests = [str(self.manifest["files"][name]["sha256"]) for name in names]
        joined = "".join(digests).encode()
        return digests[0] if len(digests) == 1 else hashlib.sha256(joined).hexdigest()

    def is_absent(self, file: Path) -> bool:
        """Whether a listed file is not there."""
        return file.relative_to(self.path).as_posix() in self.absent

    def require_unchanged(self, *names: str) -> None:
        """Raises a BundleError if one of the files was replaced since it was verified."""
        for name in names:
            if _stamp(self.path / name) != self.stamps.get(name):
                what = f"{self.path / name} was replaced while it was loaded"
                raise BundleError(what, remedy="load the bundle again")


def open_bundle(path: str | Path, verify: bool = True, whole: bool = True) -> Bundle:
    """The bundle in folder ``path``; compares every file's size and (``verify``) SHA-256.

    Without ``whole``, files that this use may do without can be absent: ``Bundle.absent``.

    Raises: BundleError: missing, damaged, unsafe or of a future schema; it names the file.
    """
    folder = bundle_path(path)
    stamps = {MANIFEST: _stamp(folder / MANIFEST)}
    manifest = read_manifest(folder)
    absent = set()
    for name, want in manifest["files"].items():
        if not whole and name not in REQUIRED and not os.path.lexists(folder / name):
            absent.add(name)
            continue
        stamps[name] = _stamp(folder / name)
        check_file(folder, name, want, verify)
    labels = labels_from_json(read_json(folder / LABELS), folder / LABELS)
    spec = PreprocessSpec.from_json(read_json(folder / PREPROCESS))
    return Bundle(folder, manifest, labels, spec, frozenset(absent), stamps)


def _stamp(file: Path) -> tuple[int, ...]:
    """What changes when a file is replaced or written; empty if it is not there."""
    try:
        facts = file.stat()
    except (OSError, ValueError):
        return ()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def check_file(folder: Path, name: str, want: Mapping[str, Any], verify: bool = True) -> None:
    """Compares one file with its manifest entry.

    Raises: BundleError: absent, a link that leaves the bundle, or another size or SHA-256.
    """
    file = folder / name
    expected = f"{want['bytes']:,} bytes"
    if not file.is_file():
        expected = f"a file of {expected}"
        raise BundleError(f"{file} is missing", expected=expected, remedy=COPY_AGAIN)
    try:
        inside = file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        inside = False
    if not inside:
        what = f"{file} is a link that leaves the bundle"
        remedy = "copy the bundle with cp -rL (follows links), or download it with local_dir="
        raise BundleError(what, expected="a file inside it", remedy=remedy)
    what = f"{file} has changed"
    size = file.stat().st_size
    if size != want["bytes"]:
        raise BundleError(what, got=f"{size:,} bytes", expected=expected, remedy=COPY_AGAIN)
    if verify and (digest := sha256_of(file)) != want["sha256"]:
        got = f"sha256 {digest}"
        raise BundleError(what, got=got, expected=want["sha256"], remedy=COPY_AGAIN)


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file.

    Raises: BundleError: not a regular file, or larger than any file of a bundle.
    """
    digest = hashlib.sha256()
    with open_regular(file, MAX_FILE_BYTES) as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def labels_from_json(rows: object, name: object = LABELS) -> tuple[Label, ...]:
    """Labels in index order from a list of names or of ``{"name", "prompt", "synonyms"}``.

    Raises: BundleError: not such a list, an empty name or a repeated one.
    """
    if not isinstance(rows, list) or not rows:
        expected = "a list, one row per class"
        raise BundleError(f"{name} holds no labels", got=type(rows).__name__, expected=expected)
    labels = tuple(_label(index, row, name) for index, row in enumerate(rows))
    counts = Counter(label.name for label in labels)
    repeated = sorted(text for text, count in counts.items() if count > 1)
    if repeated:
        got = repr(repeated[:5])[:SHOWN]
        raise BundleError(f"{name} repeats a label", got=got, expected="distinct names")
    return labels


def label_fault(name: str) -> str | None:
    """What a class name would have to be, where it is not; the data stage asks before any work."""
    if not name:
        return "at least one visible character"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        return "a name without control characters or line breaks"  # labels.txt has a line per name
    return None


def _label(index: int, row: object, name: object) -> Label:
    def wrong(expected: object, got: object = row, what: str = "") -> BundleError:
        return BundleError(f"{name} row {index}{what}", got=repr(got)[:SHOWN], expected=expected)

    fields: Any = {"name": row} if isinstance(row, str) else row
    own = fields.get("name") if isinstance(fields, dict) else None
    if not isinstance(own, str) or not own:
        raise wrong('a name, or an object with "name"')
    prompt = fields.get("prompt")
    synonyms = fields.get("synonyms") or ()
    is_list = isinstance(synonyms, (list, tuple)) and all(isinstance(t, str) for t in synonyms)
    if not isinstance(prompt, (str, type(None))) or not is_list:
        raise wrong('text in "prompt", a list of text in "synonyms"')
    if fields.get("index", index) != index:
        raise wrong(index, fields["index"], " is out of order")
    if expected := label_fault(own):
        raise wrong(expected, own)
    return Label(own, prompt, tuple(synonyms))
