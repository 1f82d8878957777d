"""An Android project: plain Java that any JVM tests, one activity, the model as an asset.

``core/`` is the logic without Android, ``app/`` reads assets, decodes photos and runs the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.apps.parts import facts, told, write_golden, write_labels, write_prototypes
from export.apps.render import render
from export.apps.source import AppSource, Vendored
from export.apps.tflite_metadata import with_metadata
from export.bundle.write import write_json

ASSETS = "app/src/main/assets"
GOLDEN = "core/src/test/resources/golden"  # for the tests alone
TFLITE = ".tflite"


@dataclass(frozen=True)
class MobileEngine:
    """What runs a model on the device."""

    name: str
    templates: str  # its ModelEngine.java
    library: str  # coordinates of a published version


LITERT = MobileEngine("LiteRT", "android-litert", "com.google.ai.edge.litert:litert:1.4.2")
ONNXRUNTIME = MobileEngine(
    "onnxruntime", "android-onnxruntime", "com.microsoft.onnxruntime:onnxruntime-android:1.30.0"
)
ENGINES = {TFLITE: LITERT, ".onnx": ONNXRUNTIME, ".ort": ONNXRUNTIME}  # the best first


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the project; raises ExportError if the bundle has no golden vectors of the model."""
    suffix = source.model.suffix
    engine = ENGINES[suffix]
    assets = folder / ASSETS
    golden = folder / GOLDEN
    for place in (assets, golden.parent):
        place.mkdir(parents=True)
    images = write_golden(source, golden)
    model = assets / f"model{suffix}"
    data = source.model.read_bytes()
    if suffix == TFLITE:
        about = (source.title, source.labels, source.spec, source.temperature)
        data = with_metadata(data, *about)
    model.write_bytes(data)
    write_labels(source, assets)
    prototypes = write_prototypes(source, assets)
    write_json(assets / "classifier.json", facts(source, model, images, prototypes))
    values = {
        **told(source),
        "engine": engine.name,
        "library": engine.library,
        "model": model.name,
        "prototypes": prototypes,
        "assets": ASSETS,
        "tflite": suffix == TFLITE,
    }
    for template in ("android", engine.templates):
        render(template, folder, values)
