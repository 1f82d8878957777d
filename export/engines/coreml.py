"""Core ML's package (.mlpackage), zipped: one file of the bundle, unpacked on a Mac.

An ML program that takes an upright RGB image of the model's size, as Vision hands it over, and
normalizes it by itself. It gives the label and the calibrated probability of each, logits and
features. int8 keeps the quantizers of our file, with the scales of the training; what is float
computes in half precision, but in ``fp32``.
"""

from __future__ import annotations

import contextlib
import io
import json
import uuid
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from onnx import ModelProto
from torch import Tensor, nn

from compress.engine.errors import ExportError
from export.engines.converter import refused
from export.engines.torch_graph import TorchGraph
from export.onnx.graph import OUTPUT
from runtime import PreprocessSpec
from runtime.bundle import labels_from_json
from runtime.classifier import META_LABELS, META_PREPROCESS, META_TEMPERATURE

IMAGE, PROBABILITIES, LABEL = "image", "probabilities", "label"
WHEN = (1980, 1, 1, 0, 0, 0)  # of the zip's entries: the earliest that it can state
ITEMS = "itemInfoEntries"


class Pictures(nn.Module):
    """``pixels (1, 3, S, S) in 0..255`` -> the graph's outputs, then probabilities."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: TorchGraph, spec: PreprocessSpec, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature
        mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (spec.mean, spec.std))
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(pixels * self.scale + self.shift)
        logits = outputs[self.network.outputs.index(OUTPUT)]
        return (*outputs, torch.softmax(logits / self.temperature, dim=1))


def write(model: ModelProto, file: Path, base: str) -> tuple[Path, ...]:
    """Writes ``model`` for one image a call; the same model gives the same bytes.

    Raises:
        ModuleNotFoundError: coremltools is absent.
        ExportError: it refuses the model, or the model does not describe itself.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if missing := sorted({META_LABELS, META_PREPROCESS} - metadata.keys()):
        what = f"{file.name} needs the labels and the preprocessing of a bundle's model"
        raise ExportError(what, got=f"no {', '.join(missing)} in its metadata")
    labels = [row.name for row in labels_from_json(json.loads(metadata[META_LABELS]))]
    spec = PreprocessSpec.from_json(json.loads(metadata[META_PREPROCESS]))
    with quiet(), TemporaryDirectory() as scratch:
        import coremltools
        from coremltools.converters.mil.mil import Builder

        Builder.name_count.clear()  # else names count on from the conversion before
        try:
            temperature = float(metadata.get(META_TEMPERATURE, "1"))
            pictures = Pictures(TorchGraph(model), spec, temperature).eval()
            made = _converted(coremltools, pictures, labels, spec.size, base)
            package = Path(scratch) / "model.mlpackage"
            made.save(str(package))
        except Exception as error:  # its exceptions share no base class of their own
            raise refused(file, error) from error
        _about(coremltools, package, metadata)
        _zip(package, file)
    return (file,)


def _converted(
    coremltools: Any, pictures: Pictures, labels: list[str], size: int, base: str
) -> Any:
    shape = (1, 3, size, size)
    traced = torch.export.export(pictures, (torch.zeros(shape),)).run_decompositions({})
    precision = coremltools.precision
    how = {
        # iOS 17 is the first whose operators round activations to int8
        "minimum_deployment_target": coremltools.target.iOS17,
        "compute_precision": precision.FLOAT32 if base == "fp32" else precision.FLOAT16,
    }
    names = [*pictures.network.outputs, PROBABILITIES]
    color = coremltools.colorlayout.RGB
    program = coremltools.convert(
        traced,
        inputs=[coremltools.ImageType(name=IMAGE, shape=shape, color_layout=color)],
        outputs=[coremltools.TensorType(name=name) for name in names],
        convert_to="milinternal",
        **how,
    )
    # in two steps: with labels it counts one output more than it has types for
    program.functions["main"].output_types = None
    return coremltools.convert(
        program,
        source="milinternal",
        convert_to="mlprogram",
        **how,
        classifier_config=coremltools.ClassifierConfig(labels, LABEL, PROBABILITIES),
    )


def _about(coremltools: Any, package: Path, metadata: dict[str, str]) -> None:
    """States what the bundle's model states, and nothing that differs between two conversions."""
    where = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    spec = coremltools.utils.load_spec(str(where))
    about = spec.description.metadata.userDefined
    for name in list(about):
        if name.endswith("conversion_date"):
            del about[name]
    about.update(metadata)
    where.write_bytes(spec.SerializeToString(deterministic=True))
    manifest = package / "Manifest.json"
    listed = json.loads(manifest.read_text(encoding="utf-8"))
    names = {name: _identifier(item["path"]) for name, item in listed[ITEMS].items()}
    listed[ITEMS] = {names[name]: item for name, item in listed[ITEMS].items()}
    listed["rootModelIdentifier"] = names[listed["rootModelIdentifier"]]
    manifest.write_text(json.dumps(listed, indent=4, sort_keys=True), encoding="utf-8")


def _identifier(path: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, path))


def _zip(package: Path, file: Path) -> None:
    """The package's two parts, and not what it keeps for debugging."""
    parts = [package / "Manifest.json", *sorted((package / "Data").rglob("*"))]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            if part.is_file():
                name = f"{file.name.removesuffix('.zip')}/{part.relative_to(package).as_posix()}"
                entry = zipfile.ZipInfo(name, WHEN)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, part.read_bytes())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences coremltools: its progress, and that no part of macOS is here."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
