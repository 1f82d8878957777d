"""Readers that meet files from strangers and from editors, and valid files to begin with.

A reader gives nothing, raises ``WrongAnswer``, or refuses with an ExplainedError.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.abuse.mutations import BYTES, JSON, TEXT, ZIP, Mutation
from compress.engine.runs import RunFolder
from compress.report.artifact import JSON as REPORT
from export.bundle.write import file_entry
from runtime import Classifier, PreprocessSpec
from runtime.bundle import GOLDEN, LABELS, MANIFEST, PREPROCESS, labels_from_json, open_bundle
from runtime.files.golden_npz import read as read_golden
from runtime.files.manifest import CHECK, check_manifest, read_manifest, write_manifest
from runtime.files.onnx import check as check_onnx
from runtime.files.strict_json import parse_json
from runtime.preprocess import decode

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO")
MAX_PIXELS = 1_000_000
BUDGETS = {
    "list.yaml": b"- p50<=5ms@orin-nano\n- drop<=2pt\n- size<=6MB\n",
    "mapping.yaml": b'p50@orin-nano: "<=5ms"\nsize: "<=6MB"\ndrop: "<=2pt"\n',
}
CLASSES = "rose\noxeye daisy\nlily, water\n\u82b1\n".encode()


class WrongAnswer(Exception):
    """A reader that reads, but gives something else than it promises."""


@dataclass(frozen=True)
class Kind:
    """A kind of files: how many are tried at full scale, and how they are made invalid."""

    name: str
    cases: int
    mutations: tuple[Mutation, ...]


KINDS = (
    Kind("image", 3000, BYTES),
    Kind("bundle", 1000, BYTES),
    Kind("manifest", 900, JSON),
    Kind("labels", 600, JSON),
    Kind("preprocess", 500, JSON),
    Kind("golden", 900, ZIP),
    Kind("onnx", 900, BYTES),
    Kind("signed", 500, BYTES),
    Kind("zip", 300, ZIP),
    Kind("yaml", 600, TEXT),
    Kind("classes", 300, TEXT),
    Kind("budget", 300, TEXT),
    Kind("report", 200, JSON),
)


@dataclass
class Readers:
    """The readers, each with valid files; ``run`` is the folder of an undisturbed run."""

    run: Path
    scratch: Path
    _seeds: dict[str, Mapping[str, bytes]] = field(default_factory=dict)

    @cached_property
    def bundle(self) -> dict[str, bytes]:
        """The files of the run's bundle."""
        folder = RunFolder(self.run).bundle
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    @cached_property
    def photo(self) -> np.ndarray:
        """What the bundles classify."""
        return np.random.default_rng(0).integers(0, 256, (40, 36, 3), np.uint8)

    @cached_property
    def answers(self) -> list[np.ndarray]:
        """The undisturbed logits, of every model of the bundle."""
        folder = RunFolder(self.run).bundle
        return [
            Classifier.load(folder, name, threads=1).logits(self.photo)
            for name in open_bundle(folder).models
        ]

    def seeds(self, kind: str) -> Mapping[str, bytes]:
        """Valid files of a kind, by name."""
        if kind not in self._seeds:
            self._seeds[kind] = self._make_seeds(kind)
        return self._seeds[kind]

    def _make_seeds(self, kind: str) -> Mapping[str, bytes]:
        names = {
            "manifest": (MANIFEST,),
            "labels": (LABELS,),
            "preprocess": (PREPROCESS,),
            "golden": (GOLDEN,),
            "onnx": tuple(name for name in self.bundle if name.endswith(".onnx")),
            "signed": tuple(open_bundle(RunFolder(self.run).bundle).manifest["models"].values()),
            "bundle": tuple(self.bundle),
        }
        if kind in names:
            return {name: self.bundle[name] for name in names[kind]}
        made: Mapping[str, Callable[[], Mapping[str, bytes]]] = {
            "image": lambda: {f"image.{form.lower()}": self._image(form) for form in FORMATS},
            "zip": lambda: {"bundle.zip": self._zip()},
            "yaml": lambda: {"config.yaml": RunFolder(self.run).config.read_bytes()},
            "classes": lambda: {"classes.txt": CLASSES},
            "budget": lambda: BUDGETS,
            "report": lambda: {REPORT: (self.run / REPORT).read_bytes()},
        }
        return made[kind]()

    def read(self, kind: str, name: str, data: bytes) -> None:
        """Reads a file of a kind."""
        getattr(self, f"_read_{kind}")(name, data)

    def _read_image(self, name: str, data: bytes) -> None:
        image = decode(data, max_pixels=MAX_PIXELS)
        if image.mode != "RGB" or image.width * image.height > MAX_PIXELS:
            raise WrongAnswer(f"{image.mode}, {image.size}")
        if decode(image).tobytes() != image.tobytes() != decode(data, MAX_PIXELS).tobytes():
            raise WrongAnswer("decoded again, it is another image")

    def _read_bundle(self, name: str, data: bytes) -> None:
        self._expect_answer(self._write_bundle({name: data}))

    def _read_manifest(self, name: str, data: bytes) -> None:
        manifest = parse_json(data, name)
        if isinstance(manifest, dict):
            manifest.pop(CHECK, None)  # what lies behind it is tried too
        check_manifest(manifest, Path("bundle"))
        self._expect_answer(self._write_bundle({name: data}))

    def _read_labels(self, name: str, data: bytes) -> None:
        labels = labels_from_json(parse_json(data, name))
        if not all(isinstance(label.name, str) and label.name for label in labels):
            raise WrongAnswer("a label without a name")

    def _read_preprocess(self, name: str, data: bytes) -> None:
        spec = PreprocessSpec.from_json(parse_json(data, name))
        if PreprocessSpec.from_json(spec.to_json()) != spec:
            raise WrongAnswer("not what was written")

    def _read_golden(self, name: str, data: bytes) -> None:
        arrays = read_golden(self._file(name, data))
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise WrongAnswer("not arrays")

    def _read_onnx(self, name: str, data: bytes) -> None:
        check_onnx(self._file("model.onnx", data))

    def _read_signed(self, name: str, data: bytes) -> None:
        folder = self._write_bundle({name: data})
        manifest = read_manifest(folder)
        manifest["files"][name] = file_entry(folder / name)
        write_manifest(folder, manifest)
        logits = Classifier.load(folder, threads=1).logits(self.photo)
        if logits.dtype != np.float32 or not np.isfinite(logits).all():
            raise WrongAnswer("logits that are not finite")

    def _read_zip(self, name: str, data: bytes) -> None:
        self._expect_answer(self._file(name, data))

    def _read_yaml(self, name: str, data: bytes) -> None:
        from compress.api import settings_for
        from compress.engine.config import Settings

        settings = settings_for(config_file=self._file(name, data))
        if not isinstance(settings, Settings) or Settings(**settings.plain()) != settings:
            raise WrongAnswer("settings that do not repeat")

    def _read_classes(self, name: str, data: bytes) -> None:
        from compress.api import settings_for
        from compress.cli.options import class_names

        names = class_names(None, self._file(name, data)) or []
        if not all(isinstance(text, str) and text.strip() == text != "" for text in names):
            raise WrongAnswer("an empty name")
        settings_for(classes=names)

    def _read_budget(self, name: str, data: bytes) -> None:
        from compress.budgets.grammar import parse_budget, read_budget

        parse_budget(*read_budget([str(self._file(name, data))]))

    def _read_report(self, name: str, data: bytes) -> None:
        from compress.report.rerender import load

        load(self._file(name, data).parent)

    def _expect_answer(self, bundle: Path) -> None:
        """A bundle that is accepted gives an answer of the undisturbed one."""
        logits = Classifier.load(bundle, threads=1).logits(self.photo)
        if not any(np.array_equal(logits, wanted) for wanted in self.answers):
            raise WrongAnswer("an accepted bundle gives other logits")

    def _write_bundle(self, changed: Mapping[str, bytes]) -> Path:
        folder = self.scratch / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        for name, data in {**self.bundle, **changed}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def _file(self, name: str, data: bytes) -> Path:
        path = self.scratch / name
        path.write_bytes(data)
        return path

    def _image(self, form: str) -> bytes:
        buffer = io.BytesIO()
        more: dict[str, Any] = {}
        if form == "JPEG":
            exif = Image.Exif()
            exif[0x0112] = 6  # turned by 90 degrees
            more["exif"] = exif
        Image.fromarray(self.photo).save(buffer, form, **more)
        return buffer.getvalue()

    def _zip(self) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in self.bundle.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        return buffer.getvalue()
